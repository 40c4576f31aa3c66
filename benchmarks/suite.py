"""What a test suite pays: the same tests with this project and with pytest-httpserver."""

from __future__ import annotations

import json
import logging
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import requests

if TYPE_CHECKING:
    from collections.abc import Callable

PEERS = ("tdpostback", "httpserver")
HEADERS = '{"X-TD-Write-Key": KEY}'
IMPORTS = """
import json, os, time
import pytest, requests
PATH = "/postback/v3/event/shop/orders"
"""
TESTS = {
    "nothing": "def test(number): pass",
    "tdpostback fixture": "def test(number, tdpostback): pass",
    "httpserver fixture": "def test(number, httpserver): pass",
    "tdpostback post": """
def test(number, tdpostback):
    headers = {"X-TD-Write-Key": tdpostback.write_key}
    requests.post(tdpostback.event_url("shop", "orders"), json={"id": number}, headers=headers)
    tdpostback.assert_ingested("shop", "orders", id=number)
""",
    "httpserver post": """
def test(number, httpserver):
    expected = httpserver.expect_ordered_request(PATH, method="POST", json={"id": number})
    expected.respond_with_json({})
    requests.post(httpserver.url_for(PATH), json={"id": number})
    httpserver.check()
    assert len(httpserver.log) == 1
""",
}
CONFTEST = """
import json, os, threading, gc
tests = 0
def pytest_runtest_teardown(item, nextitem):
    global tests
    tests += 1
    if tests in (int(os.environ["EARLY"]), int(os.environ["LATE"])):
        gc.collect()
        with open("/proc/self/statm") as file:
            resident = int(file.read().split()[1]) * 4096
        fds = len(os.listdir("/proc/self/fd"))
        with open(os.environ["FACTS"], "a") as file:
            print(json.dumps([tests, resident, threading.active_count(), fds]), file=file)
"""
AT_REST = """
import sys, pytest
before = set(sys.modules)
import pytest_tdpostback.plugin
new = set(sys.modules) - before
heavy = sorted(new & {"asyncio", "ssl", "http", "http.client", "http.server"})
print(len(new), *heavy)
"""


def run(test: str, count: int, *, conftest: str = "", **environment: str) -> float:
    """Seconds that pytest takes for `count` runs of `test`."""
    with tempfile.TemporaryDirectory() as folder:
        mark = f"@pytest.mark.parametrize('number', range({count}))\n"
        Path(folder, "test_it.py").write_text(IMPORTS + mark + test.lstrip())
        Path(folder, "conftest.py").write_text(conftest)
        plugins = ["-p", "no:cacheprovider", "-p", "no:randomly"]
        command = [sys.executable, "-m", "pytest", "-q", *plugins, "--rootdir", folder, folder]
        begin = time.perf_counter()
        done = subprocess.run(  # noqa: S603
            command,
            env=os.environ | environment,
            capture_output=True,
            text=True,
            check=False,
            cwd=folder,
        )
        took = time.perf_counter() - begin
    if done.returncode:
        raise RuntimeError(done.stdout + done.stderr)
    return took


def per_test(rounds: int, count: int) -> dict[str, float]:
    """Seconds a test of each kind, above an empty one where it is a fixture's."""
    times: dict[str, list[float]] = {name: [] for name in TESTS}
    for _ in range(rounds):
        for name, test in TESTS.items():
            long, short = run(test, count), run(test, 1)
            times[name].append((long - short) / (count - 1))
    return {name: statistics.median(each) for name, each in times.items()}


def servers() -> dict[str, Callable[[], Any]]:
    """For each peer, what makes a server that is not running yet."""
    from pytest_httpserver import HTTPServer

    from pytest_tdpostback import PostbackServer

    def httpserver() -> HTTPServer:
        server = HTTPServer(port=0)
        server.expect_request("/postback/v3/event/shop/orders").respond_with_json({})
        return server

    return {
        "tdpostback": lambda: PostbackServer(write_keys=["1/benchmark"]),
        "httpserver": httpserver,
    }


def in_process(rounds: int) -> dict[str, dict[str, float]]:
    """Seconds from start to the first answer, for each further POST, and to stop, for each peer."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    times: dict[str, dict[str, list[float]]] = {
        peer: {"first answer": [], "further POST": [], "stop": []} for peer in PEERS
    }
    for _ in range(rounds):
        for peer, make in servers().items():
            _measure(make(), times[peer])
    return {
        peer: {name: statistics.median(each) for name, each in found.items()}
        for peer, found in times.items()
    }


def _measure(server: Any, times: dict[str, list[float]]) -> None:
    with requests.Session() as session:
        session.headers["X-TD-Write-Key"] = "1/benchmark"
        begin = time.perf_counter()
        server.start()
        url = f"http://127.0.0.1:{server.port}/postback/v3/event/shop/orders"
        session.post(url, json={"id": 0}).raise_for_status()
        times["first answer"].append(time.perf_counter() - begin)
        for number in range(50):
            begin = time.perf_counter()
            session.post(url, json={"id": number}).raise_for_status()
            times["further POST"].append(time.perf_counter() - begin)
        begin = time.perf_counter()
        server.stop()  # the session keeps its connection open
        times["stop"].append(time.perf_counter() - begin)


def at_rest() -> tuple[int, list[str]]:
    """How many modules loading the plugin adds to pytest's, and the heavy ones among them."""
    command = [sys.executable, "-c", AT_REST]
    count, *heavy = subprocess.check_output(command, text=True).split()  # noqa: S603
    return int(count), heavy


def leak(count: int) -> dict[str, int]:
    """What a run of `count` tests keeps: growth of bytes, threads and descriptors after a tenth."""
    with tempfile.TemporaryDirectory() as folder:
        facts = Path(folder, "facts")
        early, late = str(max(400, count // 10)), str(count)
        run(
            TESTS["tdpostback post"],
            count,
            conftest=CONFTEST,
            EARLY=early,
            LATE=late,
            FACTS=str(facts),
        )
        first, last = map(json.loads, facts.read_text().splitlines())
    return {
        "bytes a test": (last[1] - first[1]) // (last[0] - first[0]),
        "threads": last[2] - first[2],
        "descriptors": last[3] - first[3],
    }
