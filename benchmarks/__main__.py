"""Measure this project beside its peers, all in one run: `python -m benchmarks [--quick]`.

Prints tables in Markdown. The servers run on one core and the load on another where there are two;
rounds are interleaved, so that a slow moment of the machine hits all alike; figures are medians.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

from benchmarks import load, suite
from benchmarks.servers import SERVERS

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
QUICK = Size(rounds=1, seconds=1, events=20_000, tests=600, suite_rounds=1, suite_tests=30)


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
        self.port = int(self._line())

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


def throughput(size: Size) -> Iterator[str]:
    """Answers a second and their 99th percentile."""
    kinds: dict[str, dict[str, Any]] = {
        "kept alive": {},
        "head of its own": {"vary": True},
        "new connection": {"close": True},
    }
    found: dict[str, dict[str, list[load.Load]]] = {
        name: {kind: [] for kind in kinds} for name in SERVERS
    }
    with running(*SERVERS) as servers, _on_core(1):
        for _ in range(size.rounds):
            for name, server in servers.items():
                for kind, options in kinds.items():
                    result = load.drive(server.port, seconds=size.seconds, **options)
                    found[name][kind].append(result)
    rate = {
        name: {kind: statistics.median(each.rate for each in runs) for kind, runs in by.items()}
        for name, by in found.items()
    }
    yield "| 8 connections | kept alive /s | p99 ms | a head of its own /s | new connection /s |"
    yield "|---|---|---|---|---|"
    for name in SERVERS:
        shown = [
            f"{each:,.0f} ({each / rate[PEER][kind]:.1f}x)" for kind, each in rate[name].items()
        ]
        p99 = statistics.median(each.p99 for each in found[name]["kept alive"]) * 1000
        yield f"| {name} | {shown[0]} | {p99:.2f} | {shown[1]} | {shown[2]} |"
    share = rate[OURS]["kept alive"] / rate[RAW]["kept alive"]
    yield ""
    yield f"Kept alive, {share:.2f} of the raw responder (wanted: at least 0.40)."


def scale(size: Size) -> Iterator[str]:
    """Memory an event, and what looking at many costs."""
    with running(OURS) as servers:
        server = servers[OURS]
        with _on_core(1):
            first = load.drive(server.port, seconds=size.seconds)
            before, known = server.ask("memory"), server.ask("facts")["events"]
            events = known
            while events < size.events:
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
    yield f"| counted by table (ms) | {facts['count'] * 1e3:.2f} | 5 |"
    yield f"| matched by a column (s) | {facts['match']:.2f} | 2 |"
    yield f"| a full garbage collection (ms) | {facts['collection'] * 1e3:.0f} | |"


def costs(size: Size) -> Iterator[str]:
    """What a suite pays, beside pytest-httpserver."""
    tests = suite.per_test(size.suite_rounds, size.suite_tests)
    calls = suite.in_process(size.suite_rounds * 4)
    nothing = tests["nothing"]
    rows = {
        "fixture": (tests["tdpostback fixture"], tests["httpserver fixture"], "0.80"),
        "test with one POST": (tests["tdpostback post"], tests["httpserver post"], "0.80"),
    }
    for name, wanted in (("further POST", "0.68"), ("first answer", "0.60"), ("stop", "5 ms")):
        rows[name] = (calls["tdpostback"][name], calls["httpserver"][name], wanted)
    yield "| ms | tdpostback | pytest-httpserver | ratio | wanted |"
    yield "|---|---|---|---|---|"
    yield f"| test without anything | {nothing * 1e3:.2f} | | | |"
    for name, (ours, theirs, wanted) in rows.items():
        yield f"| {name} | {ours * 1e3:.2f} | {theirs * 1e3:.2f} | {ours / theirs:.2f} | {wanted} |"
    modules, heavy = suite.at_rest()
    kept = ", ".join(f"{value:+,} {name}" for name, value in suite.leak(size.tests).items())
    yield ""
    yield f"Plugin at rest: {modules} modules (wanted: 12), heavy ones: {', '.join(heavy) or 'none'}."
    yield f"Kept by {size.tests:,} tests: {kept}."


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "--quick", action="store_true", help="see that it works; figures mean little"
    )
    parser.add_argument("part", nargs="*", help="throughput, scale, costs (default: all)")
    arguments = parser.parse_args()
    size = QUICK if arguments.quick else FULL
    parts = {"throughput": throughput, "scale": scale, "costs": costs}
    python = f"{platform.python_implementation()} {platform.python_version()}"
    tool = "wrk" if load.WRK else "Python, which may be slower than what it measures"
    print(f"{python}, {platform.system()}, {os.cpu_count()} cores; load by {tool}.")
    for name in arguments.part or parts:
        print()
        for line in parts[name](size):
            print(line, flush=True)


if __name__ == "__main__":
    main()
