"""The fake server outside pytest, as a process: what it prints, and how it ends."""

from __future__ import annotations

import http.client
import io
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from contextlib import contextmanager
from types import SimpleNamespace
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest

from pytest_tdpostback.cli import main
from pytest_tdpostback.server.server import CollectorServer

pytestmark = pytest.mark.once

KEY = "12345/abcdefgh"
ROUTE = "/postback/v3/event/database/table"


class Served:
    """A running `tdpostback serve`: where it is, and what it prints."""

    def __init__(self, process):
        self.process = process
        self.first = process.stdout.readline()
        self.url = self.first.split()[-1]

    def post(self, body=b'{"a": 1}', *, key=KEY, query=""):
        fields = {"X-TD-Write-Key": key, "Content-Type": "application/json"}
        try:
            with urlopen(Request(self.url + ROUTE + query, body, fields), timeout=10) as answer:
                return answer.status
        except HTTPError as error:
            with error:
                return error.code

    def line(self):
        return self.process.stdout.readline().rstrip("\n")

    def end(self, number=signal.SIGINT):
        self.process.send_signal(number)
        return self.process.wait(20)


@contextmanager
def served(*options):
    command = [sys.executable, "-m", "pytest_tdpostback.cli", "serve", *options]
    environment = {**os.environ, "PYTHONUNBUFFERED": ""}
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        encoding="utf-8",
        env={**environment, "PYTHONIOENCODING": "utf-8"},
    ) as process:
        # A line that never comes must not hang the run.
        deadline = threading.Timer(60, process.kill)
        deadline.start()
        try:
            yield Served(process)
        finally:
            deadline.cancel()
            process.kill()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_events_and_outcomes_are_told_line_by_line(number):
    with served("--write-key", KEY) as server:
        assert re.fullmatch(r"tdpostback serves http://127\.0\.0\.1:\d+\n", server.first)
        assert server.line() == "profile: chosen by the host of the request, else openapi-1.0.0"
        assert server.line() == "write key: 12345/abc… (as given)"
        assert server.line() == "Ctrl-C ends it"
        assert server.post() == 200
        assert server.line() == f"#1 POST {ROUTE} -> 200, pending"
        assert server.line() == "#1 ingested into database.table"
        assert server.post(key="12345/wrongkey") == 200
        assert server.line() == f"#2 POST {ROUTE} -> 200, pending"
        assert server.line() == "#2 rejected (A5: write key 12345/wro… is unknown)"
        assert server.post(b"[]") == 400
        assert server.line() == (
            f"#3 POST {ROUTE} -> 400, refused (B3: the top level is an array, not an object)"
        )
        assert server.post(b'{"time": 1}') == 200
        assert server.line().startswith("#4 POST")
        assert server.line() == (
            "#4 ingested into database.table; "
            "T6: the column time is replaced by the time of the record"
        )
        assert server.end(number) == 0
        assert server.line() == "4 events = 1 refused + 0 pending + 2 ingested + 1 rejected"
        assert server.process.stderr.read() == ""


def test_without_a_key_one_is_made_and_shown_in_full():
    with served("--profile", "v2-2.0.0") as server:
        assert server.line() == "profile: v2-2.0.0"
        made = re.fullmatch(r"write key: (\d+/\w+) \(made for this run; .*\)", server.line())
        assert made
        server.line()
        assert server.post(key=made[1]) == 200
        server.line()
        assert server.line() == "#1 ingested into database.table"
        assert server.end() == 0


def test_what_is_pending_at_the_end_is_in_the_account():
    with served("--validation-delay=3600", f"--write-key={KEY}") as server:
        assert server.post() == 200
        assert server.end() == 0
        lines = server.process.stdout.read().splitlines()
    assert lines[-2:] == [
        f"#1 POST {ROUTE} -> 200, pending",
        "1 event = 0 refused + 1 pending + 0 ingested + 0 rejected",
    ]


def test_no_line_but_that_of_the_key_made_shows_a_whole_key():
    with served(f"--write-key={KEY}") as server:
        server.post(query=f"?td_write_key={KEY}")
        assert server.end() == 0
        assert "abcdefgh" not in server.process.stdout.read()


def test_settings_are_options_and_the_inspector_shows_them():
    options = ["--explain", "--max-body=10", "--value-types=string", "--inspection"]
    with served(*options, f"--write-key={KEY}") as server:
        assert server.post(b'{"a": 12345}') == 413
        assert server.post(b'{"a": 12}') == 200
        with urlopen(f"{server.url}/.tdpostback/records", timeout=10) as answer:
            (record,) = json.load(answer)
        assert record["columns"]["a"] == "12"
        assert server.end() == 0


def test_events_that_are_forgotten_meanwhile_do_no_harm():
    with served("--inspection", f"--write-key={KEY}", "--validation-delay=3600") as server:
        assert server.post() == 200
        json_type = {"Content-Type": "application/json"}
        url = f"{server.url}/.tdpostback/events"
        urlopen(Request(url, headers=json_type, method="DELETE"), timeout=10).close()
        assert server.post() == 200
        assert server.end() == 0
        lines = server.process.stdout.read().splitlines()
    assert lines[-3:] == [
        f"#1 POST {ROUTE} -> 200, pending",
        f"#2 POST {ROUTE} -> 200, pending",
        "1 event = 0 refused + 1 pending + 0 ingested + 0 rejected",
    ]


@pytest.mark.parametrize(
    ("sent", "reason"),
    [
        (
            b"\x16\x03\x01 hello\r\n\r\n",
            "it is TLS at a port without TLS; send to a URL that begins with http://",
        ),
        (b"GET / HTTP/1.1\r\nCookie: " + b"a" * 70_000, "its head has more than 65536 bytes"),
    ],
)
def test_a_refused_connection_has_a_line(sent, reason):
    with served("--write-key", KEY) as server:
        for _ in range(3):
            server.line()
        port = int(server.url.rpartition(":")[2])
        with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
            connection.sendall(sent)
            line = server.line()
        assert line.startswith("refused connection: 127.0.0.1:")
        assert line.endswith(f" at {server.url}: {reason}")
        assert server.post() == 200
        assert server.line().startswith("#1 POST")
        assert server.end() == 0


def test_the_warning_of_an_exposed_interface_names_no_file_of_the_package():
    with served("--host=0.0.0.0", "--expose", "--inspection") as server:
        assert server.end() == 0
        (warning,) = server.process.stderr.read().splitlines()
    assert warning.startswith("tdpostback serve: warning: expose=True with inspection=True: every ")


def test_taken_port_is_a_clear_error(capsys):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert main(["serve", f"--port={port}"]) == 2
    out, err = capsys.readouterr()
    assert f"tdpostback serve: cannot listen on 127.0.0.1:{port}: " in err
    assert "give port 0 for a free one" in err
    assert not out


class Interrupting(io.StringIO):
    """A standard output at which somebody presses Ctrl-C as soon as they are told to."""

    def write(self, text):
        if "Ctrl-C" in text:
            signal.raise_signal(signal.SIGINT)
        return super().write(text)


def test_signals_are_as_they_were_when_it_has_ended(monkeypatch):
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = [signal.getsignal(number) for number in numbers]
    printed = Interrupting()
    monkeypatch.setattr(sys, "stdout", printed)
    assert main(["serve"]) == 0
    assert printed.getvalue().splitlines()[-1].startswith("0 events = 0 refused + 0 pending")
    assert [signal.getsignal(number) for number in numbers] == before


@pytest.mark.parametrize(
    "numbers",
    [
        [signal.SIGINT],
        [signal.SIGTERM],
        [signal.SIGINT, signal.SIGTERM],
        [signal.SIGTERM, signal.SIGTERM],
    ],
)
def test_a_signal_ends_it_though_nobody_reads_its_output(numbers):
    with served(f"--write-key={KEY}") as server:
        connection = http.client.HTTPConnection(server.url.partition("//")[2], timeout=10)
        fields = {"X-TD-Write-Key": KEY, "Content-Type": "application/json"}
        long_query = "?a=" + "x" * 2_000
        for _ in range(600):  # their lines fill a pipe of 64 KiB
            connection.request("POST", ROUTE + long_query, b"{}", fields)
            connection.getresponse().read()
        connection.close()
        for number in numbers[:-1]:
            server.process.send_signal(number)
        assert server.end(numbers[-1]) == 0
        assert server.process.stderr.read() == ""


def test_a_second_signal_while_it_ends_changes_nothing(monkeypatch):
    reader, writer = os.pipe()
    stop, main_thread = CollectorServer.stop, threading.get_ident()

    def stop_at_a_signal(server):
        signal.raise_signal(signal.SIGTERM)
        stop(server)

    def fill_the_pipe_and_end():
        server = Served(SimpleNamespace(stdout=lines))
        for _ in range(600):
            server.post(query="?a=" + "x" * 2_000)
        signal.pthread_kill(main_thread, signal.SIGTERM)

    monkeypatch.setattr(CollectorServer, "stop", stop_at_a_signal)
    with os.fdopen(reader) as lines, os.fdopen(writer, "w") as output:
        monkeypatch.setattr(sys, "stdout", output)
        thread = threading.Thread(target=fill_the_pipe_and_end)
        thread.start()
        try:
            assert main(["serve", f"--write-key={KEY}"]) == 0
        finally:
            thread.join()


def test_events_that_are_forgotten_while_others_arrive_do_not_end_it():
    """The lines are made from the log while a program clears it."""
    with served("--write-key", KEY, "--inspection") as server:

        def forget():
            for _ in range(20):
                call = Request(server.url + "/.tdpostback/events", b"{}", method="DELETE")
                call.add_header("Content-Type", "application/json")
                with urlopen(call, timeout=10) as answer:
                    assert answer.status == 200

        thread = threading.Thread(target=forget)
        thread.start()
        while thread.is_alive():
            assert server.post() == 200
        thread.join()
        assert server.post() == 200
        assert server.end() == 0
        assert server.process.stderr.read() == ""
