"""Measure this project beside its peers, all in one run: `python -m benchmarks [--quick]`.

Prints tables in Markdown. The servers run on one core and the load on another where there are two;
rounds are interleaved, so that a slow moment of the machine hits all alike; figures are medians.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import platform
import statistics
import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

from benchmarks import load, suite
from benchmarks.servers import BATCHES, KEY, PATH, SERVERS

if TYPE_CHECKING:
    from collections.abc import Iterator

OURS, PEER, RAW = "tdpostback", "pytest-httpserver", "raw asyncio + httptools"


class Size(NamedTuple):
    """How much is measured."""

    rounds: int
    seconds: float
    events: int
    tests: int
    suite_rounds: int
    suite_tests: int


FULL = Size(rounds=5, seconds=4, events=1_000_000, tests=10_000, suite_rounds=5, suite_tests=300)
QUICK = Size(rounds=1, seconds=0.3, events=2_000, tests=600, suite_rounds=1, suite_tests=30)


class Server:
    """One of the servers, running in a process of its own."""

    def __init__(self, name: str) -> None:
        """Starts it."""
        command = [sys.executable, "-m", "benchmarks.servers", name]
        self._process = subprocess.Popen(  # noqa: S603
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        answer = self._line()
        if not answer:
            raise RuntimeError(
                f"{name} did not start; is all installed that docs/benchmarks.md names?"
            )
        self.port = int(answer)

    def ask(self, what: str) -> dict[str, Any]:
        """What it says of itself: `"memory"` at once, `"facts"` with what takes a while."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{what}\n")
        self._process.stdin.flush()
        answer: dict[str, Any] = json.loads(self._line())
        return answer

    def stop(self) -> None:
        """End it."""
        self._process.communicate()

    def _line(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline()


@contextmanager
def running(*names: str) -> Iterator[dict[str, Server]]:
    """The servers `names`, on the first core."""
    with _on_core(0):
        servers = {name: Server(name) for name in names}
    try:
        yield servers
    finally:
        for server in servers.values():
            server.stop()


@contextmanager
def _on_core(core: int) -> Iterator[None]:
    if not hasattr(os, "sched_setaffinity") or len(cores := os.sched_getaffinity(0)) < 2:
        yield
        return
    os.sched_setaffinity(0, {sorted(cores)[core]})
    try:
        yield
    finally:
        os.sched_setaffinity(0, cores)


KINDS: dict[str, dict[str, bool]] = {
    "kept alive": {},
    "a head of its own": {"vary": True},
    "new connection": {"close": True},
}


class Measured(NamedTuple):
    """One run of load on one server."""

    rate: float
    p99: float
    processor: float
    """Seconds of processor time of the server for each answer."""


def throughput(size: Size) -> Iterator[str]:
    """Answers a second, their 99th percentile, and what each costs its server."""
    runs: dict[tuple[str, str], list[Measured]] = {
        (name, kind): [] for name in SERVERS for kind in KINDS
    }
    with running(*SERVERS) as servers, _on_core(1):
        for _ in range(size.rounds):
            for (name, kind), measured in runs.items():
                measured.append(_loaded(servers[name], size.seconds, **KINDS[kind]))
    medians = {
        which: Measured(*map(statistics.median, zip(*measured, strict=True)))
        for which, measured in runs.items()
    }
    columns = " | ".join(f"{kind} /s | processor µs" for kind in KINDS)
    yield f"| 8 connections | {columns} | p99 ms |"
    yield "|---" * (2 + 2 * len(KINDS)) + "|"
    for name in SERVERS:
        cells = [name]
        for kind in KINDS:
            one, peer = medians[name, kind], medians[PEER, kind]
            cells.append(f"{one.rate:,.0f} ({one.rate / peer.rate:.1f}x)")
            cells.append(f"{one.processor * 1e6:.0f} ({peer.processor / one.processor:.1f}x)")
        yield f"| {' | '.join(cells)} | {medians[name, 'kept alive'].p99 * 1e3:.2f} |"
    ours, raw = medians[OURS, "kept alive"], medians[RAW, "kept alive"]
    yield ""
    yield (
        f"Kept alive, {ours.rate / raw.rate:.2f} of the raw responder, by processor time "
        f"{raw.processor / ours.processor:.2f} (wanted: at least 0.38)."
    )


def _loaded(server: Server, seconds: float, **options: bool) -> Measured:
    before = server.ask("memory")["processor"]
    one = load.drive(server.port, seconds=seconds, **options)
    used = server.ask("memory")["processor"] - before
    return Measured(one.rate, one.p99, used / one.answers)


def scale(size: Size) -> Iterator[str]:
    """Memory an event, and what looking at many costs."""
    with running(OURS) as servers:
        server = servers[OURS]
        with _on_core(1):
            first = load.drive(server.port, seconds=size.seconds)
            before, known = server.ask("memory"), server.ask("facts")["events"]
            events = known
            while events == known or events < size.events:
                load.drive(server.port, seconds=size.seconds)
                events = server.ask("facts")["events"]
            after = server.ask("memory")
            last = load.drive(server.port, seconds=size.seconds)
        facts = server.ask("facts")
    bytes_each = (after["resident"] - before["resident"]) / (events - known)
    yield f"| with {events:,} events | | wanted |"
    yield "|---|---|---|"
    yield f"| bytes an event | {bytes_each:.0f} | 600 |"
    yield f"| p99 before, after (ms) | {first.p99 * 1e3:.2f}, {last.p99 * 1e3:.2f} | 2 |"
    yield f"| requests a second before, after | {first.rate:,.0f}, {last.rate:,.0f} | alike |"
    yield f"| counted by table inside the log (ms) | {facts['count'] * 1e3:.2f} | 5 |"
    yield f"| `records()` (µs a record) | {facts['records'] * 1e6:.2f} | 1 |"
    yield f"| matched by a column (µs an event) | {facts['match'] * 1e6:.2f} | 6 |"
    yield f"| a full garbage collection (ms) | {facts['collection'] * 1e3:.0f} | |"


def costs(size: Size) -> Iterator[str]:
    """What a suite pays, beside pytest-httpserver."""
    tests = suite.per_test(size.suite_rounds, size.suite_tests)
    calls = suite.in_process(size.suite_rounds * 4)
    nothing = tests["nothing"]
    rows = {
        "fixture": (
            tests["tdpostback fixture"] - nothing,
            tests["httpserver fixture"] - nothing,
            "1.0",
        ),
        "test with one POST": (tests["tdpostback post"], tests["httpserver post"], "1.0"),
        "the same in process, by httpx": (
            tests["tdpostback httpx"],
            tests["httpserver post"],
            "0.5",
        ),
        "the same in process, by requests": (
            tests["tdpostback adapter"],
            tests["httpserver post"],
            "0.5",
        ),
        "first use: import and start": (*suite.first_use(size.suite_rounds), "1.3"),
    }
    for name, wanted in (("further POST", ""), ("first answer", ""), ("stop", "5 ms")):
        rows[name] = (calls["tdpostback"][name], calls["httpserver"][name], wanted)
    yield "| ms | tdpostback | pytest-httpserver | ratio | wanted |"
    yield "|---|---|---|---|---|"
    yield f"| test without anything | {nothing * 1e3:.2f} | | | |"
    for name, (ours, theirs, wanted) in rows.items():
        yield f"| {name} | {ours * 1e3:.2f} | {theirs * 1e3:.2f} | {ours / theirs:.2f} | {wanted} |"
    modules, heavy = suite.at_rest()
    kept = ", ".join(f"{value:+,} {name}" for name, value in suite.leak(size.tests).items())
    yield ""
    named = ", ".join(heavy) or "none"
    yield f"Plugin at rest: {modules} modules (wanted: 12), heavy ones: {named}."
    yield f"Kept by {size.tests:,} tests: {kept}."


def batches(size: Size) -> Iterator[str]:
    """A batch of 500 records beside 500 requests on one connection."""
    rounds = size.rounds * 40
    headers = {"Authorization": f"TD1 {KEY}"}
    memory: dict[str, list[int]] = {name: [] for name in BATCHES}
    processor: dict[str, list[float]] = {name: [] for name in BATCHES}
    with running(*BATCHES) as servers, _on_core(1):
        connections = {
            name: http.client.HTTPConnection("127.0.0.1", server.port)
            for name, server in servers.items()
        }
        for number in range(rounds):
            records = [{"id": number * 500 + place, "name": "ada"} for place in range(500)]
            path, kind, bodies = PATH, "application/json", list(map(json.dumps, records))
            for name, server in servers.items():
                before = server.ask("memory")
                for body in bodies:
                    connection = connections[name]
                    connection.request("POST", path, body, headers | {"Content-Type": kind})
                    connection.getresponse().read()
                after = server.ask("memory")
                processor[name].append(after["processor"] - before["processor"])
                memory[name].append(after["resident"])
                path, kind = "/shop/orders", "application/vnd.treasuredata.v1+json"
                bodies = [json.dumps({"events": records})]
        stored = {name: server.ask("facts")["records"] for name, server in servers.items()}
    yield "| | records | processor µs a record | bytes a record |"
    yield "|---|---|---|---|"
    for name in BATCHES:
        each = statistics.median(processor[name]) / 500
        grown = (memory[name][-1] - memory[name][rounds // 4]) / (500 * (rounds - rounds // 4 - 1))
        yield f"| {name} | {stored[name]:,} | {each * 1e6:.1f} | {grown:.0f} |"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="small, to see that it works")
    parser.add_argument("part", nargs="*", help="throughput, scale, batches, costs (default: all)")
    arguments = parser.parse_args()
    size = QUICK if arguments.quick else FULL
    parts = {"throughput": throughput, "scale": scale, "batches": batches, "costs": costs}
    unknown = [name for name in arguments.part if name not in parts]
    if unknown:
        parser.error(f"{unknown[0]!r} is no part; give {', '.join(parts)}")
    python = f"{platform.python_implementation()} {platform.python_version()}"
    tool = "wrk" if load.WRK else "Python, which may be slower than what it measures"
    print(f"{python}, {platform.system()}, {os.cpu_count()} cores; load by {tool}.")
    for name in arguments.part or parts:
        print()
        for line in parts[name](size):
            print(line, flush=True)


if __name__ == "__main__":
    main()
