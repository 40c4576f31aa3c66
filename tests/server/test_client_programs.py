"""Programs in other languages and a browser send to the fake server; their events are stored."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest

from pytest_tdpostback import PostbackServer
from tests.server.client_programs import ENVIRONMENT, PROGRAMS

pytestmark = pytest.mark.once

DEADLINE = 120
"""Seconds that a program may take, a compiler on a busy machine included."""


@pytest.fixture
def postback():
    with PostbackServer() as server:
        yield server.postback


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: program.name)
def test_program(program, postback, tmp_path):
    url = postback.event_url("test_db", "test_tbl")
    command = program.command_for(url, postback.write_key)
    (tmp_path / program.file).write_text(program.source)
    done = subprocess.run(
        command,
        cwd=tmp_path,
        env={**ENVIRONMENT, "GOFLAGS": "-mod=mod", "no_proxy": "127.0.0.1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=DEADLINE,
        check=False,
    )
    assert done.stdout.strip().endswith("200"), done.stdout
    record = postback.assert_ingested("test_db", "test_tbl", event="signup", n=1)
    assert record.event.findings == []
    assert len(postback.events) == 1


@pytest.fixture
def browse(tmp_path):
    """Open a page in Chromium; the page comes from another origin than the fake server."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        pytest.skip("chromium is not installed")
    options = "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run"
    options += " --disable-background-networking --disable-component-update --disable-sync"
    options += " --disable-dev-shm-usage"

    @contextmanager
    def browse(html):
        (tmp_path / "page.html").write_text(html)
        with serving(tmp_path) as origin:
            process = subprocess.Popen(
                [
                    chromium,
                    *options.split(),
                    f"--user-data-dir={tmp_path / 'profile'}",
                    "--remote-debugging-port=0",
                    f"{origin}/page.html",
                ],
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
            try:
                yield origin
            finally:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait(DEADLINE)

    return browse


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


@contextmanager
def serving(folder):
    """The files of a folder on a port of their own."""
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=folder)) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join(DEADLINE)


def test_chromium_fetch(postback, browse):
    """[R5] a browser asks first, sends, and lets the page read the answer."""
    url = postback.event_url("test_db", "test_tbl")
    key = {"Content-Type": "application/json", "X-TD-Write-Key": str(postback.write_key)}
    page = f"""
        <!doctype html><script>
        const send = (body) => fetch("{url}", {{method: "POST", headers: {key}, body}});
        send('{{"step":1}}').then((answer) => answer.text())
            .then((text) => send(JSON.stringify({{step: 2, answer: text}})));
        </script>
    """
    with browse(page) as origin:
        postback.assert_ingested("test_db", "test_tbl", count=2, timeout=DEADLINE)
    first, second = postback.records("test_db", "test_tbl")
    assert first["step"] == 1
    assert second["answer"] == "{}"
    assert first.event.request.headers["Origin"] == origin
    assert len(postback.events) == 2


def test_chromium_pixel(postback, browse):
    """[P1 P3 P4 P7] an image that is a tracking pixel; the page sees that it is an image."""
    pixel = postback.event_url(
        "test_db", "test_tbl", td_format="pixel", td_write_key=postback.write_key, td_ua="td_ua"
    )
    page = f"""
        <!doctype html><img src="{pixel}&step=1"
            onload="new Image().src = '{pixel}&step=' + this.naturalWidth + 'x1'">
    """
    with browse(page):
        postback.assert_ingested("test_db", "test_tbl", count=2, timeout=DEADLINE)
    first, second = postback.records("test_db", "test_tbl")
    assert (first["step"], second["step"]) == ("1", "1x1")
    assert "Mozilla/5.0" in first["td_ua"]


def test_chromium_beacon(postback, browse):
    """[B1 B9] a beacon of text is refused, one of nothing but URL parameters is stored."""
    keyed = partial(postback.event_url, "test_db", "test_tbl", td_write_key=postback.write_key)
    page = f"""
        <!doctype html><script>
        navigator.sendBeacon("{keyed()}", '{{"lost":1}}');
        navigator.sendBeacon("{keyed(kept="1")}");
        </script>
    """
    with browse(page):
        record = postback.assert_ingested("test_db", "test_tbl", kept="1", timeout=DEADLINE)
        refused = postback.wait_for(lambda event: event.status == 400, timeout=DEADLINE)
    assert [finding.rule for finding in record.event.findings] == ["B9"]
    assert refused.rule == "B1"


def test_chromium_with_credentials(postback, browse):
    """[R5] a beacon of JSON always sends credentials, and a page may have them sent."""
    url = postback.event_url("test_db", "test_tbl")
    keyed = postback.event_url("test_db", "test_tbl", td_write_key=postback.write_key)
    key = {"Content-Type": "application/json", "X-TD-Write-Key": str(postback.write_key)}
    page = f"""
        <!doctype html><script>
        const json = new Blob(['{{"by":"beacon"}}'], {{type: "application/json"}});
        navigator.sendBeacon("{keyed}", json);
        fetch("{url}", {{method: "POST", headers: {key}, body: "{{}}", credentials: "include"}})
            .then((answer) => answer.text())
            .then((body) => fetch("{url}", {{
                method: "POST", headers: {key}, body: JSON.stringify({{by: "page", read: body}}),
            }}));
        </script>
    """
    with browse(page):
        postback.assert_ingested("test_db", "test_tbl", by="beacon", timeout=DEADLINE)
        postback.assert_ingested("test_db", "test_tbl", by="page", read="{}", timeout=DEADLINE)
