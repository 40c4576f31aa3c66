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
    "tdpostback httpx": """
def test(number, tdpostback):
    import httpx
    headers = {"X-TD-Write-Key": tdpostback.write_key}
    with httpx.Client(transport=tdpostback.httpx_transport()) as client:
        client.post(tdpostback.event_url("shop", "orders"), json={"id": number}, headers=headers)
    tdpostback.assert_ingested("shop", "orders", id=number)
""",
    "tdpostback adapter": """
def test(number, tdpostback):
    headers = {"X-TD-Write-Key": tdpostback.write_key}
    with requests.Session() as session:
        session.mount("http://", tdpostback.requests_adapter())
        session.post(tdpostback.event_url("shop", "orders"), json={"id": number}, headers=headers)
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
IN_TURN = """
import json, os, statistics, time
took, last = {}, None
def pytest_collection_modifyitems(items):
    items.sort(key=lambda item: item.callspec.params["number"])
def pytest_runtest_logfinish(nodeid):
    global last
    if last is not None:
        name = nodeid.partition("::")[2].partition("[")[0]
        took.setdefault(name, []).append(time.perf_counter() - last)
    last = time.perf_counter()
def pytest_unconfigure():
    with open(os.environ["FACTS"], "w") as file:
        json.dump({name: statistics.median(each) for name, each in took.items()}, file)
"""
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
ONLY_THE_PEERS = {
    "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
    "PYTEST_ADDOPTS": "-p pytest_tdpostback.plugin -p pytest_httpserver.pytest_plugin",
}
"""Other plugins that are installed cost every test the same, and hide the differences."""
AT_REST = """
import sys, pytest
before = set(sys.modules)
import pytest_tdpostback.plugin
new = set(sys.modules) - before
heavy = sorted(new & {"asyncio", "ssl", "http", "http.client", "http.server"})
print(len(new), *heavy)
"""


def run(count: int, *tests: str, conftest: str, **environment: str) -> list[Any]:
    """What `conftest` writes, a JSON value a line, while pytest runs each of `tests` so often."""
    mark = f"@pytest.mark.parametrize('number', range({count}))\n"
    functions = [
        mark + test.strip().replace("def test(", f"def test_{place}(")
        for place, test in enumerate(tests)
    ]
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "test_it.py").write_text("\n\n".join([IMPORTS, *functions]))
        Path(folder, "conftest.py").write_text(conftest)
        facts = Path(folder, "facts")
        plugins = ["-p", "no:cacheprovider", "-p", "no:randomly"]
        command = [sys.executable, "-m", "pytest", "-q", *plugins, "--rootdir", folder, folder]
        done = subprocess.run(  # noqa: S603
            command,
            env=os.environ | environment | {"FACTS": str(facts)} | ONLY_THE_PEERS,
            capture_output=True,
            text=True,
            check=False,
            cwd=folder,
        )
        if done.returncode:
            raise RuntimeError(done.stdout + done.stderr)
        return [json.loads(line) for line in facts.read_text().splitlines()]


def per_test(rounds: int, count: int) -> dict[str, float]:
    """Seconds a test of each kind: those that send in turn in one run, the others in another.

    What follows a test that sends pays for the caches that it filled.
    """
    found: dict[str, list[float]] = {}
    for _ in range(rounds):
        for sends in (False, True):
            names = [name for name in TESTS if name.endswith(("nothing", "fixture")) != sends]
            (medians,) = run(count, *(TESTS[name] for name in names), conftest=IN_TURN)
            for place, name in enumerate(names):
                found.setdefault(name, []).append(medians[f"test_{place}"])
    return {name: statistics.median(each) for name, each in found.items()}


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


FIRST_USE = {
    "tdpostback": "from pytest_tdpostback import PostbackServer as Server",
    "httpserver": "from pytest_httpserver import HTTPServer as Server",
}


def first_use(rounds: int) -> tuple[float, float]:
    """Seconds from an empty interpreter to a running server of each peer, without the start of it.

    The interpreter measures itself; `socket` and `threading` are there already, as in a test.
    """
    found: dict[str, list[float]] = {peer: [] for peer in PEERS}
    for _ in range(rounds * 2):
        for peer in PEERS:
            code = (
                "import time, pytest; begin = time.perf_counter()\n"
                f"{FIRST_USE[peer]}\n"
                "server = Server(port=0); server.start(); print(time.perf_counter() - begin)\n"
                "server.stop()"
            )
            printed = subprocess.check_output([sys.executable, "-c", code], text=True)  # noqa: S603
            found[peer].append(float(printed))
    ours, theirs = (statistics.median(found[peer]) for peer in PEERS)
    return ours, theirs


def at_rest() -> tuple[int, list[str]]:
    """How many modules loading the plugin adds to pytest's, and the heavy ones among them."""
    command = [sys.executable, "-c", AT_REST]
    count, *heavy = subprocess.check_output(command, text=True).split()  # noqa: S603
    return int(count), heavy


def leak(count: int) -> dict[str, int]:
    """What a run of `count` tests keeps: growth of bytes, threads and descriptors after a tenth.

    The bytes are those above a test without anything, of which pytest keeps its report.
    """
    early, late = max(400, count // 10), count
    environment = {"EARLY": str(early), "LATE": str(late)}
    kept = {}
    for name in ("nothing", "tdpostback post"):
        first, last = run(count, TESTS[name], conftest=CONFTEST, **environment)
        kept[name] = [after - before for before, after in zip(first, last, strict=True)]
    _, resident, threads, descriptors = kept["tdpostback post"]
    return {
        "bytes a test": (resident - kept["nothing"][1]) // (late - early),
        "threads": threads,
        "descriptors": descriptors,
    }
