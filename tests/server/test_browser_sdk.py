"""The published browser SDK, unchanged, in a browser: it sends to the Data Ingestion API."""

import base64
import hashlib
import json
import os
import shutil
import signal
import ssl
import subprocess
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from queue import Queue
from threading import Thread
from typing import Any
from urllib.parse import unquote

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509 import load_pem_x509_certificate

SDK = Path(__file__).parent / "browser_sdk/node_modules/td-js-sdk/dist/td.min.js"
HOST = "us01.records.in.treasuredata.com"
DEADLINE = 30
OPTIONS = """--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-sync
--disable-background-networking --disable-component-update --disable-dev-shm-usage
--remote-debugging-port=0"""
# The page tells its server what happens: the callbacks of the SDK, and whatever the console gets.
PAGE = """<!doctype html><meta charset="utf-8"><link rel="icon" href="data:,">
<script>
const tell = (what, value) => fetch("/told?" + encodeURIComponent(JSON.stringify([what, value])));
for (const level of ["error", "warn"]) console[level] = (...all) => tell("console", all.join(" "));
window.onerror = (message) => tell("console", message);
const callbacks = (name) => [
  (value) => tell(name, ["success", value]), (error) => tell(name, ["error", String(error)]),
];
</script>
<script src="td.min.js"></script>
<script>
const settings = {database: "web", writeKey: "KEY", host: "HOST"};
SCRIPT
</script>"""

pytestmark = pytest.mark.once


@pytest.fixture
def run_page(tdpostback, tmp_path):
    """Open a page with the SDK and a script; `told()` is what it tells next, in order."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        pytest.skip("chromium is not installed")
    if not SDK.exists():
        pytest.skip("td-js-sdk is not installed: npm install --prefix tests/server/browser_sdk")
    told: Queue[list[Any]] = Queue()

    class Handler(SimpleHTTPRequestHandler):
        def do_GET(self):
            if self.path.startswith("/told?"):
                told.put(json.loads(unquote(self.path.partition("?")[2])))
                self.send_response(204)
                self.end_headers()
            else:
                super().do_GET()

        def log_message(self, *_):
            pass

    @contextmanager
    def run(script, *, key=None, host=HOST, trust="--ignore-certificate-errors", env=None):
        page = PAGE.replace("SCRIPT", script).replace("HOST", host)
        (tmp_path / "page.html").write_text(page.replace("KEY", key or str(tdpostback.write_key)))
        (tmp_path / "empty.html").write_text('<!doctype html><link rel="icon" href="data:,">')
        shutil.copy(SDK, tmp_path)
        # Third-party cookies, without which the service cannot know a browser again (I20).
        preferences = tmp_path / "profile/Default/Preferences"
        preferences.parent.mkdir(parents=True)
        preferences.write_text('{"profile": {"cookie_controls_mode": 0}}')
        handler = partial(Handler, directory=tmp_path)
        with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
            Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}).start()
            url = f"http://127.0.0.1:{server.server_port}/page.html"
            browser = subprocess.Popen(
                [chromium, *OPTIONS.split(), trust, f"--user-data-dir={tmp_path / 'profile'}", url],
                env=env or tdpostback.proxy_environ(),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
            try:
                yield partial(told.get, timeout=DEADLINE)
            finally:
                os.killpg(browser.pid, signal.SIGKILL)
                browser.wait(DEADLINE)
                server.shutdown()
        assert told.empty(), f"the page told more: {list(told.queue)}"

    return run


def test_a_record_and_events_of_the_sdk_are_stored_and_reported_as_success(run_page, tdpostback):
    script = """
    const td = new Treasure(settings);
    td.addRecord("clicks", {id: 7, tags: ["a"]}, ...callbacks("record"));
    td.trackEvent("events", {step: "é"}, ...callbacks("event"));
    td.trackPageview("views", ...callbacks("view"));
    """
    with run_page(script) as told:
        reported = dict(told() for _ in range(3))
    assert {name: outcome for name, (outcome, _) in reported.items()} == dict.fromkeys(
        ["record", "event", "view"], "success"
    )
    record = tdpostback.assert_ingested("web", "clicks", id=7, tags=["a"])
    assert reported["record"][1] == {
        "receipts": [{"success": True, "uuid": reported["record"][1]["receipts"][0]["uuid"]}]
    }
    assert "td_ip" not in record
    tdpostback.assert_ingested("web", "events", step="é", td_path="/page.html")
    tdpostback.assert_ingested("web", "views", td_title="")
    assert {event.findings == [] for event in tdpostback.events} == {True}


def test_the_sdk_sends_to_an_https_url_of_the_fake_server(run_page, make_tdpostback):
    server = make_tdpostback(tls=True, profile="ingestion-v1")
    host = server.url.removeprefix("https://")
    certificate = load_pem_x509_certificate(
        ssl.get_server_certificate(tuple(host.split(":"))).encode()
    )
    public_key = certificate.public_key().public_bytes(
        Encoding.DER, PublicFormat.SubjectPublicKeyInfo
    )
    pin = base64.b64encode(hashlib.sha256(public_key).digest()).decode()
    script = 'new Treasure(settings).addRecord("clicks", {id: 7}, ...callbacks("record"));'
    with run_page(
        script,
        key=server.write_key,
        host=host,
        trust=f"--ignore-certificate-errors-spki-list={pin}",
        env=dict(os.environ),
    ) as told:
        assert told()[1][0] == "success"
    server.assert_ingested("web", "clicks", id=7)


def test_in_signed_mode_records_carry_the_address_and_the_global_id(run_page, tdpostback):
    script = """
    const td = new Treasure({...settings, startInSignedMode: true});
    td.set("$global", "td_global_id", "td_global_id");
    const [success, error] = callbacks("id");
    td.fetchGlobalID((id) => {
        success(id);
        td.trackEvent("events", {step: 1}, ...callbacks("event"));
    }, error);
    """
    with run_page(script) as told:
        reported = dict(told() for _ in range(2))  # each by a request of its own: in any order
    global_id = reported["id"][1]
    assert [reported[name][0] for name in ("id", "event")] == ["success", "success"]
    record = tdpostback.assert_ingested("web", "events", step=1)
    assert record["td_ip"] == "127.0.0.1"
    assert record["td_global_id"] == global_id
    assert len(tdpostback.events) == 1


def test_an_event_that_is_sent_while_the_page_unloads_is_stored(run_page, tdpostback):
    script = """
    const td = new Treasure(settings);
    addEventListener("beforeunload", () => td.trackEvent("events", {step: "unload"}));
    onload = () => { location.href = "/empty.html"; };
    """
    with run_page(script):
        tdpostback.assert_ingested("web", "events", step="unload", timeout=DEADLINE)


def test_a_wrong_key_reaches_the_error_callback_and_the_console(run_page, tdpostback):
    script = 'new Treasure(settings).addRecord("clicks", {id: 7}, ...callbacks("record"));'
    with run_page(script, key="1/of-somebody-else") as told:
        name, (outcome, _) = told()
    assert (name, outcome) == ("record", "error")
    (event,) = tdpostback.assert_refused("web", "clicks", status=401, rule="I4")
    assert event.payload == {"events": [{"id": 7}]}


@pytest.mark.tdpostback(on_finding="ignore")
def test_a_record_that_fails_alone_reaches_the_success_callback_and_is_a_finding(
    run_page, tdpostback
):
    script = 'new Treasure(settings).addRecord("clicks", {uuid: "none"}, ...callbacks("record"));'
    with run_page(script) as told:
        assert told()[1][0] == "success"
    (event,) = tdpostback.assert_refused("web", "clicks", status=206, rule="I16")
    assert [finding.rule for finding in event.findings] == ["I13"]
