"""The event loop of a server: what it makes until its end, and what it keeps."""

from __future__ import annotations

import socket
import threading
import weakref
from contextlib import contextmanager
from functools import partial
from selectors import EVENT_READ

import pytest

from pytest_tdpostback import PostbackServer
from pytest_tdpostback.server.loop import Loop
from tests.http_client import DEADLINE, HttpClient
from tests.server.raw_connections import KEY, request


@contextmanager
def busy(loop, first=lambda: None):
    """Have the loop call `first` and then do nothing else: what comes waits for its next round."""
    waiting, gate = threading.Event(), threading.Event()

    def wait():
        first()
        waiting.set()
        gate.wait(DEADLINE)

    loop.call(wait)
    assert waiting.wait(DEADLINE)
    try:
        yield
    finally:
        gate.set()


def test_what_a_loop_takes_it_makes_though_it_ends_meanwhile():
    for _ in range(100):
        errors: list[BaseException] = []
        made: list[int] = []
        loop, gate = Loop(errors.append), threading.Event()
        loop.call(gate.wait)
        loop.call(partial(loop.call, partial(made.append, 1)))
        stopping = threading.Thread(target=loop.stop)
        stopping.start()
        gate.set()
        stopping.join(DEADLINE)
        assert made == [1]
        assert not errors


def test_a_loop_that_was_just_woken_stops_without_an_error():
    for _ in range(200):
        loop = Loop(lambda _: None)
        loop.call(lambda: None)
        loop.stop()


def test_a_call_after_the_end_is_an_error_and_is_not_made():
    loop, made = Loop(lambda _: None), []
    loop.stop()
    with pytest.raises(RuntimeError, match="the event loop has ended"):
        loop.call(lambda: made.append(1))
    assert not made


def test_a_step_is_over_before_what_it_asked_for_begins():
    loop, order, done = Loop(lambda _: None), [], threading.Event()

    def judge(name):
        order.append(f"judge {name}")
        loop.soon(partial(order.append, f"send {name}"))

    def read(name):
        order.append(f"read {name}")
        loop.soon(partial(judge, name))

    with busy(loop):
        loop.call(partial(read, 1))  # what is asked for meanwhile is one step
        loop.call(partial(read, 2))
    loop.call(done.set)
    assert done.wait(DEADLINE)
    loop.stop()
    assert order == ["read 1", "read 2", "judge 1", "judge 2", "send 1", "send 2"]


def test_what_a_socket_asks_for_comes_before_timers_and_calls():
    loop, done = Loop(lambda _: None), threading.Event()
    order: list[str] = []
    mine, theirs = socket.socketpair()

    def read():
        theirs.recv(1)
        loop.soon(partial(order.append, "socket"))

    def begin():
        loop.selector.register(theirs, EVENT_READ, read)
        loop.call_later(0.0, partial(order.append, "timer"))

    with mine, theirs:
        with busy(loop, begin):
            loop.call(partial(order.append, "call"))
            loop.call(done.set)
            mine.send(b"x")
        assert done.wait(DEADLINE)
        loop.stop()
    assert order == ["socket", "timer", "call"]


@pytest.mark.parametrize("end", ["close", "close_connections"])
def test_requests_that_have_arrived_are_served_before_their_connection_ends(end):
    with PostbackServer(write_keys=[KEY]) as server, HttpClient("127.0.0.1", server.port) as sender:
        sender.send(request())
        assert sender.statuses(1) == [200]
        with busy(server.loop):
            sender.send(request() * 3)
            server.loop.call(getattr(server._listeners[0], end))
        assert sender.statuses() == [200, 200, 200]
        assert server.postback.account.sent == 4


def test_a_response_that_is_ready_is_sent_before_its_connection_ends():
    asked, go_on, workers = threading.Event(), threading.Event(), []

    def slow(_):
        workers.append(threading.current_thread())
        asked.set()
        return not go_on.wait(DEADLINE)

    with PostbackServer(write_keys=[KEY]) as server, HttpClient("127.0.0.1", server.port) as sender:
        server.postback.faults.status(503, where=slow)
        sender.send(request())
        assert asked.wait(DEADLINE)
        with busy(server.loop):
            go_on.set()
            workers[0].join(DEADLINE)
            server.loop.call(server._listeners[0].close)
        assert sender.statuses() == [200]


def test_timers_that_were_cancelled_do_not_pile_up():
    loop, done = Loop(lambda _: None), threading.Event()

    def set_and_cancel():
        for _ in range(20_000):
            loop.call_later(3600, lambda: None).cancel()
        done.set()

    loop.call(set_and_cancel)
    assert done.wait(DEADLINE)
    assert len(loop._timers) < 2_000
    loop.stop()


def test_an_event_has_its_outcome_though_the_server_stopped_while_a_thread_judged_it():
    asked, go_on = threading.Event(), threading.Event()

    def slow(_):
        asked.set()
        return not go_on.wait(DEADLINE)

    with PostbackServer(write_keys=[KEY]) as server:
        server.postback.faults.status(503, where=slow)
        with HttpClient("127.0.0.1", server.port) as sender:
            sender.send(request())
            assert asked.wait(DEADLINE)
            server.stop()
            go_on.set()
            collector = server.collector
            assert collector.wait_until(lambda: collector.account().ingested == 1, DEADLINE)


def test_a_connection_that_has_ended_is_freed_while_the_loop_sleeps():
    with PostbackServer(write_keys=[KEY]) as server:
        (listener,) = server._listeners
        freed = threading.Event()
        faults = server.postback.faults
        hang = faults.hang(times=1)
        delay = faults.delay(0.001, times=1)  # asked first
        with HttpClient("127.0.0.1", server.port) as sender:
            sender.send(request() * 2)
            assert sender.statuses(1) == [200]
            server.postback.wait_for(lambda event: event.fault == hang.name, timeout=DEADLINE)
            weakref.finalize(next(iter(listener.connections)), freed.set)
        assert freed.wait(DEADLINE)  # neither the garbage collector nor another event is needed
        assert len(hang.events) == len(delay.events) == 1


def test_a_response_is_not_kept_back_for_others_to_follow():
    """Nagle's algorithm would do that, for 40 ms."""
    with PostbackServer(write_keys=[KEY]) as server, HttpClient("127.0.0.1", server.port) as sender:
        sender.send(request())
        assert sender.statuses(1) == [200]
        (connection,) = server._listeners[0].connections
        assert connection.socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
