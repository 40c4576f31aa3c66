"""What a real client sees of each fault, and which events are stored."""

from __future__ import annotations

import pytest

from tests.server.faults.clients import CLIENTS, ERROR, Sender

CASES = {
    "status(503)": (lambda f: f.status(503), 503, "lost", 503, 0),
    "status(200)": (lambda f: f.status(200), 200, "lost", 200, 0),
    "status(204)": (lambda f: f.status(204), 204, "lost", 204, 0),
    "delay(0.01)": (lambda f: f.delay(0.01), 200, "ingested", 200, 1),
    "reset(before='storing')": (lambda f: f.reset(before="storing"), ERROR, "lost", None, 0),
    "reset(before='answer')": (lambda f: f.reset(before="answer"), ERROR, "ingested", None, 1),
    "truncate(0)": (lambda f: f.truncate(after=0), ERROR, "ingested", None, 1),
    "truncate(11)": (lambda f: f.truncate(after=11), ERROR, "ingested", None, 1),
    "truncate(100000)": (lambda f: f.truncate(after=100_000), 200, "ingested", 200, 1),
    "drip(20000)": (lambda f: f.drip(20_000), 200, "ingested", 200, 1),
    "garbage": (lambda f: f.garbage(), ERROR, "ingested", None, 1),
    "throttle(0, 60)": (lambda f: f.throttle(0, 60), 429, "lost", 429, 0),
    "drop": (lambda f: f.drop(), 200, "lost", 200, 0),
    "duplicate": (lambda f: f.duplicate(), 200, "ingested", 200, 2),
    "outage(60)": (lambda f: f.outage(60), ERROR, "lost", None, 0),
    "sequence([status(500), ok])": (lambda f: f.sequence([500, "ok"]), 500, "lost", 500, 0),
}


@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize("name", CASES)
def test_fault(tdpostback, name, client):
    make, seen, state, status, copies = CASES[name]
    handle = make(tdpostback.faults)

    assert client(Sender(tdpostback), {"id": 1}) == seen

    tdpostback.settle()
    (event,) = tdpostback.events
    assert list(handle.events) == [event]
    assert (str(event.state), event.status, event.copies) == (state, status, copies)
    assert event.fault == name.removeprefix("sequence([").removesuffix(", ok])")
    assert [record["id"] for record in tdpostback.records("shop", "orders")] == [1] * copies


@pytest.mark.parametrize("client", CLIENTS)
def test_hang(tdpostback, client):
    handle = tdpostback.faults.hang()

    assert client(Sender(tdpostback, timeout=0.1), {"id": 1}) == ERROR

    (event,) = handle.events
    assert (str(event.state), event.status, event.copies) == ("lost", None, 0)
    tdpostback.assert_nothing_ingested()


@pytest.mark.parametrize("client", CLIENTS)
def test_a_response_that_comes_after_the_client_gave_up(tdpostback, client):
    tdpostback.faults.delay(600)

    assert client(Sender(tdpostback, timeout=0.1), {"id": 1}) == ERROR

    assert tdpostback.assert_ingested("shop", "orders", id=1).event.status is None


@pytest.mark.parametrize(
    "make",
    [
        lambda f: f.delay(0.01),
        lambda f: f.reset(before="answer"),
        lambda f: f.garbage(),
        lambda f: f.drop(),
        lambda f: f.duplicate(),
    ],
)
def test_faults_past_the_service_leave_a_refusal_a_refusal(tdpostback, make):
    make(tdpostback.faults)

    Sender(tdpostback).by_socket(["no object"])

    (event,) = tdpostback.assert_refused(count=1)
    assert event.copies == 0


def test_drop_and_duplicate_do_not_touch_what_is_refused(tdpostback):
    drop, duplicate = tdpostback.faults.drop(), tdpostback.faults.duplicate(times=1)

    assert Sender(tdpostback).by_socket(["no object"]) == 400

    assert (len(drop.events), len(duplicate.events)) == (0, 0)


@pytest.mark.tdpostback(on_auth_failure="ignore")
def test_duplicate_of_an_event_with_an_unknown_key_stores_nothing(tdpostback):
    key = tdpostback.write_key
    tdpostback.faults.duplicate()
    tdpostback.keys.revoke(key)

    assert Sender(tdpostback).by_socket({"id": 1}) == 200

    tdpostback.settle()
    (event,) = tdpostback.auth_failures
    assert event.copies == 0
    assert not tdpostback.records()


def test_the_status_of_a_fault_replaces_that_of_a_refusal(tdpostback):
    tdpostback.faults.status(502)

    assert Sender(tdpostback).by_socket(["no object"]) == 502

    (event,) = tdpostback.events
    assert (str(event.state), event.rule, event.findings) == ("lost", None, [])


def test_a_205_has_no_body(tdpostback):
    tdpostback.faults.status(205)
    sender = Sender(tdpostback)

    with sender.connect() as client:
        client.send(sender.request({"id": 1}) * 2)
        for _ in range(2):
            response = client.read_response()
            assert (response.status, response.raw[-4:]) == (205, b"\r\n\r\n")
            assert response.header("Content-Length") == "0"


def test_throttle_tells_how_long_to_wait(tdpostback):
    tdpostback.clock.freeze(at=1_800_000_000)
    throttled = tdpostback.faults.throttle(2, 30)
    sender = Sender(tdpostback)
    assert sender.by_socket({"id": 1}) == 200
    tdpostback.clock.advance(10.5)
    assert sender.by_socket({"id": 2}) == 200

    with sender.connect() as client:
        client.send(sender.request({"id": 3}))
        assert client.read_response().header("Retry-After") == "20"
    tdpostback.clock.advance(19.25)
    assert sender.by_socket({"id": 4}) == 429
    tdpostback.clock.advance(0.25)
    assert sender.by_socket({"id": 5}) == 200
    assert sender.by_socket({"id": 6}) == 429

    assert [event.payload["id"] for event in throttled.events] == [3, 4, 6]


def test_outage_is_over_by_the_clock(tdpostback):
    tdpostback.clock.freeze()
    tdpostback.faults.outage(30)
    sender = Sender(tdpostback)
    assert sender.by_socket({"id": 1}) == ERROR
    tdpostback.clock.advance(29.9)
    assert sender.by_socket({"id": 2}) == ERROR

    tdpostback.clock.advance(0.1)

    assert sender.by_socket({"id": 3}) == 200
    tdpostback.clock.advance(-30)
    assert sender.by_socket({"id": 4}) == 200


def test_sequence_of_everything(tdpostback):
    faults = tdpostback.faults
    handle = faults.sequence([503, 503, "ok", "reset", faults.delay(0.01), "drop", "duplicate"])
    sender = Sender(tdpostback)

    seen = [sender.by_socket({"id": number}) for number in range(8)]

    assert seen == [503, 503, 200, ERROR, 200, 200, 200, 200]
    assert [event.payload["id"] for event in handle.events] == [0, 1, 3, 4, 5, 6]
    assert [event.fault for event in tdpostback.events][2:5] == [
        None,
        "reset(before='storing')",
        "delay(0.01)",
    ]
    tdpostback.assert_ingested("shop", "orders", count=5)


def test_truncate_cuts_at_the_byte(tdpostback):
    sender = Sender(tdpostback)
    with sender.connect() as client:
        client.send(sender.request({"id": 0}))
        whole = client.read_response().raw
    for after in (1, 16, 17, 60, len(whole) - 1):
        with tdpostback.faults.truncate(after=after) as handle, sender.connect() as client:
            client.send(sender.request({"id": after}))
            response = client.read_response()
        assert (len(response.raw), response.is_complete) == (after, False)
        assert handle.events[0].status == (200 if after >= len(b"HTTP/1.1 200 OK\r\n") else None)


def test_garbage_is_no_http(tdpostback):
    tdpostback.faults.garbage()
    sender = Sender(tdpostback)

    with sender.connect() as client:
        client.send(sender.request({"id": 1}))
        response = client.read_response()

    assert response.raw
    assert not response.raw.startswith(b"HTTP")
    assert not response.is_complete
