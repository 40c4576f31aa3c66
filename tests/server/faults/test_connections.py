"""What a fault on one event does to its connection, to the others, and to who waits."""

from __future__ import annotations

import re
import socket
import struct
import threading

import pytest

from pytest_tdpostback import PostbackServer
from pytest_tdpostback.server import connection as connections
from tests.server.faults.clients import DEADLINE, ERROR, Sender


def ids(events):
    return [event.payload["id"] for event in events]


def saw(number):
    return lambda event: event.payload["id"] == number


@pytest.mark.parametrize(
    "make",
    [lambda f, n: f.delay(0.02, where={"id": n}), lambda f, n: f.drip(20_000, where={"id": n})],
    ids=["delay", "drip"],
)
@pytest.mark.parametrize("late", [0, 1, 2])
def test_pipelined_responses_stay_in_order(tdpostback, make, late):
    sender = Sender(tdpostback)
    make(tdpostback.faults, late)
    tdpostback.faults.status(503, where={"id": 1}) if late != 1 else None

    with sender.connect() as client:
        client.send(b"".join(sender.request({"id": number}) for number in range(3)))
        seen = [client.read_status() for _ in range(3)]

    assert seen == ([200, 200, 200] if late == 1 else [200, 503, 200])
    assert ids(tdpostback.events) == [0, 1, 2]


@pytest.mark.parametrize("first", [True, False], ids=["new head", "known head"])
def test_requests_behind_a_late_response_are_answered_whatever_their_head(tdpostback, first):
    sender = Sender(tdpostback)
    if not first:
        assert sender.by_socket({"id": 9}) == 200
    tdpostback.faults.delay(0.02, where={"id": 0})

    with sender.connect() as client:
        client.send(sender.request({"id": 0}))
        client.send(sender.request({"id": 1}, table="visits"))
        client.send(sender.request({"id": 2222}))
        assert [client.read_status() for _ in range(3)] == [200, 200, 200]


def test_responses_before_a_broken_one_are_counted_as_sent(tdpostback):
    sender = Sender(tdpostback)
    tdpostback.faults.truncate(after=0, where={"id": 2})

    with sender.connect() as client:
        client.send(b"".join(sender.request({"id": number}) for number in range(5)))
        data = client.read_to_end()

    assert data.count(b"HTTP/1.1 200 OK") == 2
    tdpostback.settle()
    assert [event.status for event in tdpostback.events] == [200, 200, None]
    assert len(tdpostback.records()) == 3


@pytest.mark.parametrize("limits", [{"where": {"id": 1}}, {"after": 1}], ids=str)
def test_reset_comes_after_the_responses_before_it_were_sent(tdpostback, limits):
    sender = Sender(tdpostback)
    tdpostback.faults.reset(**limits)

    with sender.connect() as client:
        client.send(sender.request({"id": 0}) + sender.request({"id": 1}))
        assert client.read_to_end().count(b"HTTP/1.1 200 OK") == 1

    tdpostback.settle()
    assert [str(event.state) for event in tdpostback.events] == ["ingested", "lost"]


def test_the_connection_stays_open_after_a_late_response(tdpostback):
    sender = Sender(tdpostback)
    tdpostback.faults.delay(0.01)
    connection = sender.connection()
    for _ in range(3):
        connection.request("POST", sender.target("orders"), b'{"id": 1}', sender.headers())
        response = connection.getresponse()
        assert (response.status, response.read()) == (200, b"{}")
        assert not response.will_close
    connection.close()

    assert len({event.request.peer for event in tdpostback.events}) == 1


def test_a_late_response_is_the_last_if_the_client_asked_to_close(tdpostback):
    sender = Sender(tdpostback)
    tdpostback.faults.delay(0.01)

    with sender.connect() as client:
        client.send(sender.request({"id": 1}).replace(b"Host", b"Connection: close\r\nHost"))
        assert client.read_to_end().endswith(b"Connection: close\r\n\r\n{}")


@pytest.mark.parametrize(
    "make", [lambda f: f.delay(0.02), lambda f: f.drip(20_000)], ids=["delay", "drip"]
)
def test_a_client_that_ended_sending_still_gets_its_response(tdpostback, make):
    sender = Sender(tdpostback)
    make(tdpostback.faults)

    with sender.connect() as client:
        client.send(sender.request({"id": 1}))
        client.end_sending()
        assert client.read_status() == 200

    assert tdpostback.assert_ingested("shop", "orders").event.status == 200


@pytest.mark.parametrize("way", ["close", "reset"])
def test_a_response_to_a_client_that_is_gone_is_not_counted(tdpostback, way):
    sender = Sender(tdpostback)
    late = tdpostback.faults.delay(0.02, where={"id": 1})

    with sender.connect() as client:
        client.send(sender.request({"id": 1}))
        tdpostback.wait_for(lambda event: event.payload["id"] == 1)
        if way == "reset":
            client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    with tdpostback.faults.delay(0.1, where={"id": 2}):  # answered after the one that nobody takes
        assert sender.by_socket({"id": 2}) == 200

    assert tdpostback.assert_ingested("shop", "orders", id=1).event.status is None
    assert late.events[0].status is None


def test_other_connections_do_not_wait(tdpostback):
    sender = Sender(tdpostback)
    hung = tdpostback.faults.hang(where={"id": 0})
    late = tdpostback.faults.delay(600, where={"id": 1})
    slow = tdpostback.faults.drip(0.001, where={"id": 2})

    with sender.connect() as one, sender.connect() as two, sender.connect() as three:
        for number, client in enumerate((one, two, three)):
            client.send(sender.request({"id": number}))
        assert [sender.by_socket({"id": number}) for number in range(3, 10)] == [200] * 7
        tdpostback.assert_ingested("shop", "orders", count=9)
        tdpostback.settle()

    assert [len(handle.events) for handle in (hung, late, slow)] == [1, 1, 1]


def test_a_late_response_comes_while_others_never_stop_sending(tdpostback):
    """Time passes for the server though there is always a request to serve."""
    sender = Sender(tdpostback)
    tdpostback.faults.delay(0.3, where={"id": 0})
    over = threading.Event()

    def send():
        with sender.connect() as client:
            while not over.is_set():
                client.send(sender.request({"id": 1}) * 50)
                for _ in range(50):
                    client.read_response()

    thread = threading.Thread(target=send)
    thread.start()
    try:
        assert sender.by_socket({"id": 0}) == 200
    finally:
        over.set()
        thread.join(DEADLINE)
    assert not thread.is_alive()


def test_a_hanging_event_is_not_pending(tdpostback):
    sender = Sender(tdpostback)
    tdpostback.faults.hang()

    with sender.connect() as client:
        client.send(sender.request({"id": 1}))
        tdpostback.wait_for(lambda event: event.fault == "hang")
        tdpostback.settle(timeout=0)
        tdpostback.check()


@pytest.mark.parametrize("end", ["remove", "clear", "block"])
def test_hanging_connections_end_with_their_fault(tdpostback, end):
    sender = Sender(tdpostback)
    faults = tdpostback.faults

    with sender.connect() as client:
        with faults.hang(times=1) as handle:
            client.send(sender.request({"id": 1}))
            tdpostback.wait_for(lambda event: event.fault == "hang")
            if end == "remove":
                handle.remove()
            elif end == "clear":
                faults.clear()
        assert client.read_to_end() == b""

    assert sender.by_socket({"id": 2}) == 200


@pytest.mark.parametrize("end", ["remove", "clear", "block"])
@pytest.mark.parametrize(
    "make",
    [
        lambda f: f.delay(600, times=1),
        lambda f: f.drip(0.1, times=1),
        lambda f: f.sequence([f.delay(600)]),
    ],
    ids=["delay", "drip", "sequence"],
)
def test_a_response_that_is_kept_back_comes_when_its_fault_ends(tdpostback, end, make):
    sender = Sender(tdpostback)
    faults = tdpostback.faults

    with sender.connect() as client:
        with make(faults) as handle:
            client.send(sender.request({"id": 1}))
            tdpostback.wait_for(saw(1))
            if end == "remove":
                handle.remove()
            elif end == "clear":
                faults.clear()
        assert client.read_status() == 200
        client.send(sender.request({"id": 2}))
        assert client.read_status() == 200

    assert [event.status for event in tdpostback.events] == [200, 200]


def test_hanging_connections_end_with_a_sequence(tdpostback):
    sender = Sender(tdpostback)
    with sender.connect() as client:
        with tdpostback.faults.sequence(["hang"]):
            client.send(sender.request({"id": 1}))
            tdpostback.wait_for(lambda event: event.fault == "hang")
        assert client.read_to_end() == b""


def test_what_follows_on_a_hanging_connection_is_ignored(tdpostback):
    sender = Sender(tdpostback)
    handle = tdpostback.faults.hang()

    with sender.connect() as client:
        client.send(sender.request({"id": 1}) + sender.request({"id": 2}))
        tdpostback.wait_for(lambda event: event.fault == "hang")
        client.send(sender.request({"id": 3}) * 1000)
        handle.remove()
        client.read_to_end()

    assert ids(tdpostback.events) == [1]


def test_the_server_lets_go_of_a_hanging_connection_that_its_sender_closed():
    with PostbackServer() as server:
        sender = Sender(server.postback)
        server.postback.faults.hang(times=20)
        for number in range(20):
            with sender.connect() as client:
                client.send(sender.request({"id": number}))
                server.postback.wait_for(saw(number))
        assert sender.by_socket({"id": 20}) == 200

        listener = server._listeners[0]
        gone = threading.Event()

        def look():
            if listener.connections:
                server.loop.call_later(0.001, look)
            else:
                gone.set()

        server.loop.call(look)
        assert gone.wait(DEADLINE)


def test_stop_does_not_wait_for_what_a_fault_holds():
    server = PostbackServer()
    server.start()
    sender = Sender(server.postback)
    faults = server.postback.faults
    late, hung = faults.delay(600), faults.hang(times=1)
    with sender.connect() as one, sender.connect() as two:
        one.send(sender.request({"id": 1}))
        server.postback.wait_for(lambda event: event.payload["id"] == 1)
        two.send(sender.request({"id": 2}))
        server.postback.wait_for(lambda event: event.payload["id"] == 2)
        stopping = threading.Thread(target=server.stop, daemon=True)
        stopping.start()
        stopping.join(DEADLINE)
        assert not stopping.is_alive()
        assert (one.read_to_end(), two.read_to_end()) == (b"", b"")
    hung.remove()
    late.remove()
    assert len(server.postback.records()) == 1


def test_a_fault_outlives_a_restart_of_the_server():
    server = PostbackServer()
    handle = server.postback.faults.status(503)
    seen = []
    for number in range(2):
        with server:
            seen.append(Sender(server.postback).by_socket({"id": number}))

    assert seen == [503, 503]
    assert len(handle.events) == 2


def test_held_validation_holds_what_a_fault_let_through(tdpostback):
    tdpostback.faults.reset(before="answer")
    with tdpostback.hold_validation():
        assert Sender(tdpostback).by_socket({"id": 1}) == ERROR
        assert str(tdpostback.events[0].state) == "pending"
    tdpostback.assert_ingested("shop", "orders", id=1)


def test_head_request_under_a_delay_has_no_body(tdpostback):
    sender = Sender(tdpostback)
    tdpostback.faults.delay(0.01)

    with sender.connect() as client:
        client.send(b"HEAD /postback/v3/event/a/b HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        data = client.read_to_end()

    assert data.startswith(b"HTTP/1.1 405 ")
    assert data.endswith(b"\r\n\r\n")


@pytest.mark.parametrize(
    "make", [lambda f: f.reset("storing"), lambda f: f.reset("answer"), lambda f: f.outage(60)]
)
def test_reset_is_a_reset_on_the_wire(tdpostback, make):
    sender = Sender(tdpostback)
    make(tdpostback.faults)

    with sender.connect() as client:
        client.send(sender.request({"id": 1}))
        with pytest.raises(ConnectionResetError):
            client.socket.recv(1)


def test_a_truncated_response_ends_without_a_reset(tdpostback):
    sender = Sender(tdpostback)
    tdpostback.faults.truncate(after=5)

    with sender.connect() as client:
        client.send(sender.request({"id": 1}))
        assert b"".join(iter(lambda: client.socket.recv(1), b"")) == b"HTTP/"


def test_a_request_in_pieces_hangs_as_long_as_one_in_one(tdpostback, monkeypatch):
    sender = Sender(tdpostback)
    tdpostback.faults.hang()
    monkeypatch.setitem(connections.SECONDS, connections.State.BODY, 0.3)
    head, _, body = sender.request({"id": 1}).partition(b"\r\n\r\n")

    with sender.connect() as client:
        client.send(head + b"\r\nExpect: 100-continue\r\n\r\n")
        assert client.read_status() == 100
        client.send(body)
        tdpostback.wait_for(lambda event: event.fault == "hang")
        for _ in range(2):  # two younger ones are given up
            with sender.connect() as impatient:
                impatient.send(head + b"\r\n\r\n")
                assert impatient.read_status() == 408
        client.socket.setblocking(False)
        with pytest.raises(BlockingIOError):
            client.socket.recv(1)


def test_bad_bytes_behind_a_late_response_are_refused_last(tdpostback):
    sender = Sender(tdpostback)
    tdpostback.faults.delay(0.3, times=1)

    with sender.connect() as client:
        client.send(sender.request({"id": 1}) + sender.request({"id": 2}) + b"BAD\x01\r\n\r\n")
        data = client.read_to_end()

    assert [int(status) for status in re.findall(rb"HTTP/1\.1 (\d+)", data)] == [200, 200, 400]


def test_100_continue_comes_after_the_late_response_before_it(tdpostback):
    sender = Sender(tdpostback)
    tdpostback.faults.delay(0.05, times=1)
    head, _, body = sender.request({"id": 2}).partition(b"\r\n\r\n")

    with sender.connect() as client:
        client.send(sender.request({"id": 1}) + head + b"\r\nExpect: 100-continue\r\n\r\n")
        assert client.read_status() == 200
        assert client.read_status() == 100
        client.send(body)
        assert client.read_status() == 200
