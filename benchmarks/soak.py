"""Full load with faults on, from several processes, until every event is accounted for, once.

`python -m benchmarks.soak --minutes 10 --processes 4` sends events with unique ids over loopback in
rounds of some seconds. After each round it compares what every sender saw with what the fake server
says became of the event: each id has to be there exactly once, with the state, the status and the
number of records that follow from its kind and its fault. It prints the differences, and ends with
1 where there is one. Rounds bound the memory; a round ends by time or by count, whichever is first.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import random
import socket
import sys
import threading
import time
from array import array
from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, NamedTuple

from pytest_tdpostback import PostbackServer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from multiprocessing.connection import Connection

    from pytest_tdpostback import Event, Postback
    from pytest_tdpostback.server.faults import Faults, LimitArgumentsWithoutAfter

ROUND_SECONDS = 10.0
ROUND_EVENTS = 400_000
PATIENCE = 3.0
"""Seconds a sender waits for an answer: far more than one that no fault keeps ever takes."""
NO_ANSWER = 0
STRANGER = "1/stranger"
UNUSUAL = {49: "refused", 99: "rejected"}
"""Of a hundred events of a lane, those that come to something else than a record."""
BREAKING = ("reset(before='answer')", "truncate", "garbage", "delay(3600)")
"""Faults that leave the sender without a whole answer to an event that is served as usual."""
LOSING = ("reset(before='storing')", "hang", "outage")


class Order(NamedTuple):
    """What a process is told to do in one round."""

    number: int
    seconds: float
    events: int


class Fate(NamedTuple):
    """What a sender has to have seen of an event, and what has to have become of it."""

    saw: int
    state: str
    records: int


# the senders


class Lane:
    """One connection: sends event after event, and remembers of each what it saw."""

    def __init__(self, name: str, address: tuple[str, int], key: str) -> None:
        self.name = name
        self._address = address
        self._key = key
        self._socket: socket.socket | None = None

    def run(self, order: Order, seen: dict[str, array[int]]) -> None:
        """Send until the time or the count of `order` is used up; fills in `seen`."""
        saw = seen[self.name] = array("H")
        end = time.monotonic() + order.seconds
        while len(saw) < order.events and time.monotonic() < end:
            saw.append(self._send(self._request(order.number, len(saw))))
        self._hang_up()

    def _request(self, round_number: int, index: int) -> bytes:
        kind, name = kind_of(index), f"{self.name}/{round_number}/{index}"
        body = json.dumps([name] if kind == "refused" else {"id": name, "total": 19.5}).encode()
        key = STRANGER if kind == "rejected" else self._key
        head = (
            f"POST /postback/v3/event/soak/{table_of(index)} HTTP/1.1\r\nHost: localhost\r\n"
            f"Content-Type: application/json\r\nX-TD-Write-Key: {key}\r\n"
            f"Content-Length: {len(body)}\r\n\r\n"
        )
        return head.encode() + body

    def _send(self, request: bytes) -> int:
        try:
            if self._socket is None:
                self._socket = socket.create_connection(self._address, timeout=PATIENCE)
                self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._socket.sendall(request)
            return self._answer(self._socket)
        except OSError:
            self._hang_up()
            return NO_ANSWER

    def _answer(self, sock: socket.socket) -> int:
        data, end = b"", time.monotonic() + PATIENCE
        while not data.endswith(b"\r\n\r\n{}"):
            more = sock.recv(4096)
            if not more or time.monotonic() > end:
                raise ConnectionError
            data += more
        return int(data[9:12])

    def _hang_up(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None


def send(pipe: Connection, name: str, lanes: int, address: tuple[str, int], key: str) -> None:
    """A sending process: does what `pipe` orders and answers what was seen, until `None` comes."""
    mine = [Lane(f"{name}.{number}", address, key) for number in range(lanes)]
    while (order := pipe.recv()) is not None:
        seen: dict[str, array[int]] = {}
        threads = [threading.Thread(target=lane.run, args=(order, seen)) for lane in mine]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        pipe.send({lane: saw.tobytes() for lane, saw in seen.items()})


def kind_of(index: int) -> str:
    """What becomes of a lane's event `index` where no fault hits it."""
    return UNUSUAL.get(index % 100, "ingested")


def table_of(index: int) -> str:
    """Where a lane's event `index` goes: few to the tables whose faults count."""
    return {7: "throttled", 57: "in_sequence"}.get(index % 100, "orders")


# what goes wrong


def faults_of_a_round(faults: Faults, dice: random.Random) -> ExitStack:
    """All faults at once, each for a small share of the events."""
    stack = ExitStack()

    def rare() -> LimitArgumentsWithoutAfter:
        return {"probability": 0.002, "seed": dice.randrange(1000)}

    handles = [
        faults.throttle(2, 1, table="throttled"),
        faults.sequence([503, 503, "ok", "reset", "drop"] * 20, table="in_sequence"),
        faults.hang(times=1, after=dice.randrange(2000)),
        faults.delay(3600, times=1, after=dice.randrange(2000)),
        faults.outage(3600, times=20, after=dice.randrange(2000)),
        faults.status(500, **rare()),
        faults.delay(0.005, **rare()),
        faults.reset("storing", **rare()),
        faults.reset("answer", **rare()),
        faults.truncate(dice.randrange(100), **rare()),
        faults.drip(20_000, **rare()),
        faults.garbage(**rare()),
        faults.drop(**rare()),
        faults.duplicate(**rare()),
    ]
    for handle in handles:
        stack.enter_context(handle)
    return stack


@cache
def fate_of(kind: str, fault: str | None) -> Fate:
    """What has to follow from the kind of an event and the fault that hit it."""
    usual = {
        "ingested": Fate(200, "ingested", 1),
        "refused": Fate(400, "refused", 0),
        "rejected": Fate(200, "rejected", 0),
    }[kind]
    name = fault or ""
    if name.startswith(BREAKING):
        return usual._replace(saw=NO_ANSWER)
    if name.startswith(LOSING):
        return Fate(NO_ANSWER, "lost", 0)
    if name.startswith("status("):
        return Fate(int(name[7:10]), "lost", 0)
    if name.startswith("throttle("):
        return Fate(429, "lost", 0)
    if name == "drop":
        return Fate(200, "lost", 0)
    if name == "duplicate":
        return usual._replace(records=2 * usual.records)
    return usual


# the account


@dataclass
class Ledger:
    """What was sent, what became of it, and where the two do not agree."""

    sent: int = 0
    states: Counter[str] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    differences: list[str] = field(default_factory=list)

    def close_round(self, number: int, seen: dict[str, array[int]], postback: Postback) -> None:
        """Hold what was `seen` in round `number` against `postback`, event by event."""
        postback.settle(60)
        records = Counter(record.event.seq for record in postback.records())
        told = {lane: bytearray(len(saw)) for lane, saw in seen.items()}
        self.sent += sum(len(saw) for saw in seen.values())
        for event in postback.events:
            self._enter(event, number, seen, told, records[event.seq])
        for lane, times in told.items():
            wrong = len(times) - times.count(1)
            if wrong:
                self._differ(f"{wrong} events of {lane} are not there once, in round {number}")

    def _enter(
        self,
        event: Event,
        number: int,
        seen: dict[str, array[int]],
        told: dict[str, bytearray],
        records: int,
    ) -> None:
        payload = json.loads(event.request.body)
        name = payload[0] if isinstance(payload, list) else payload["id"]
        lane, sent_in, index = name.split("/")
        if lane not in seen or int(sent_in) != number or int(index) >= len(seen[lane]):
            self._differ(f"{event!r} was never sent in round {number}: {name}")
            return
        place = int(index)
        told[lane][place] = min(told[lane][place] + 1, 255)
        saw, state = seen[lane][place], str(event.state)
        wanted = fate_of(kind_of(place), event.fault)
        if (saw, state, records) != wanted or event.copies != records:
            self._differ(f"{event!r} {event.fault}: {Fate(saw, state, records)}, not {wanted}")
        elif saw not in (NO_ANSWER, event.status):
            self._differ(f"{event!r} was seen as {saw}")
        self.states[state] += 1
        self.faults[(event.fault or "none").partition("(")[0]] += 1

    def _differ(self, text: str) -> None:
        self.differences.append(text)
        print(text, file=sys.stderr)

    def lines(self) -> Iterator[str]:
        """The result in words."""
        states = " + ".join(f"{number} {state}" for state, number in sorted(self.states.items()))
        yield f"{self.sent} sent = {states}"
        faults = ", ".join(f"{name} {number}" for name, number in sorted(self.faults.items()))
        yield f"by fault: {faults}"
        yield f"difference: {len(self.differences)}"


def soak(minutes: float, processes: int, lanes: int, seed: int) -> Ledger:
    """Load a fake server for `minutes` of sending; returns the account of it."""
    ledger, dice, number, load = Ledger(), random.Random(seed), 0, 0.0
    context = multiprocessing.get_context("spawn")
    with PostbackServer(on_auth_failure="ignore") as server:
        postback = server.postback
        pipes = []
        for name in range(processes):
            ours, theirs = context.Pipe()
            address, key = (server.host, server.port), str(postback.write_key)
            arguments = (theirs, str(name), lanes, address, key)
            context.Process(target=send, args=arguments, daemon=True).start()
            pipes.append(ours)
        while load < 60 * minutes:
            seconds = min(ROUND_SECONDS, 60 * minutes - load)
            order = Order(number, seconds, ROUND_EVENTS // (processes * lanes))
            began = time.monotonic()
            with faults_of_a_round(postback.faults, dice):
                for pipe in pipes:
                    pipe.send(order)
                answers = [pipe.recv() for pipe in pipes]
            load += time.monotonic() - began
            seen = {lane: array("H", saw) for answer in answers for lane, saw in answer.items()}
            ledger.close_round(number, seen, postback)
            postback.clear()
            number += 1
            say(f"round {number}: {load:.0f} s, {ledger.sent / load:.0f} events a second")
        for pipe in pipes:
            pipe.send(None)
        server.check()
    return ledger


def say(text: str) -> None:
    """Print a line at once."""
    print(text, flush=True)


def main() -> int:
    """Read the command line, soak, and tell the result: 0 where every event is accounted for."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.soak", description=__doc__)
    parser.add_argument(
        "--minutes",
        type=float,
        default=10.0,
        help="time of sending, in rounds of ten seconds; accounting comes on top (10)",
    )
    parser.add_argument("--processes", type=int, default=4, help="sending processes (4)")
    parser.add_argument("--connections", type=int, default=8, help="of each process (8)")
    parser.add_argument("--seed", type=int, default=0, help="of the faults (0)")
    asked = parser.parse_args()
    ledger = soak(asked.minutes, asked.processes, asked.connections, asked.seed)
    for line in ledger.lines():
        say(line)
    return 1 if ledger.differences or ledger.sent != sum(ledger.states.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
