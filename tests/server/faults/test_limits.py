"""Which events a fault hits: route, columns, counts, a coin; and for how long it is there."""

from __future__ import annotations

import itertools
import threading
from typing import TYPE_CHECKING

import httpx
import pytest

from pytest_tdpostback import ConfigurationError, Postback, PostbackServer
from tests.server.faults.clients import ERROR, Sender


def hit(handle):
    return [event.payload["id"] for event in handle.events]


def send(postback, count, **kwargs):
    return [Sender(postback).by_socket({"id": number}, **kwargs) for number in range(count)]


def by_httpx(sender, payload):
    with httpx.Client(transport=sender.postback.httpx_transport()) as client:
        url = sender.postback.event_url("shop", "orders")
        return client.post(url, json=payload, headers=sender.headers()).status_code


def test_table_and_database(tdpostback):
    faults = tdpostback.faults
    orders = faults.status(503, table="orders", database="shop")
    other = faults.status(500, database="elsewhere")

    assert send(tdpostback, 1, table="orders") == [503]
    assert send(tdpostback, 1, table="visits") == [200]

    assert (len(orders.events), len(other.events)) == (1, 0)


def test_times_and_after(tdpostback):
    handle = tdpostback.faults.status(503, after=2, times=2)

    assert send(tdpostback, 6) == [200, 200, 503, 503, 200, 200]

    assert hit(handle) == [2, 3]


def test_after_counts_only_what_matches(tdpostback):
    tdpostback.faults.status(503, table="orders", after=1)

    assert send(tdpostback, 2, table="visits") == [200, 200]
    assert send(tdpostback, 2, table="orders") == [200, 503]


def test_columns_of_the_record(tdpostback):
    handle = tdpostback.faults.drop(where={"id": 2})

    send(tdpostback, 4)

    assert hit(handle) == [2]
    tdpostback.settle()
    assert [record["id"] for record in tdpostback.records()] == [0, 1, 3]


def test_predicate_on_what_arrives(tdpostback):
    seen = []

    def odd(arrival):
        seen.append(
            (arrival.database, arrival.table, dict(arrival.payload), arrival.request.method)
        )
        return arrival["id"] % 2

    handle = tdpostback.faults.drop(where=odd)
    send(tdpostback, 4)

    assert hit(handle) == [1, 3]
    assert seen[0] == ("shop", "orders", {"id": 0}, "POST")
    assert set(tdpostback.assert_ingested("shop", "orders", id=0)) == {"time", "id"}


def test_where_sees_the_columns_as_they_are_stored(make_tdpostback):
    postback = make_tdpostback(value_types="string")
    handle = postback.faults.drop(where={"id": "1"})

    send(postback, 2)

    assert hit(handle) == [1]


def test_where_never_meets_what_is_refused(tdpostback):
    handle = tdpostback.faults.status(503, where=lambda _: True)

    assert Sender(tdpostback).by_socket(["no object"]) == 400

    assert not handle.events


def test_an_error_of_a_predicate_fails_the_test(tdpostback):
    tdpostback.faults.status(503, where=lambda arrival: arrival["missing"])

    assert send(tdpostback, 1) == [200]

    with pytest.raises(KeyError, match="missing"):
        tdpostback.check()


@pytest.mark.parametrize("outcome", [pytest.fail, pytest.skip])
@pytest.mark.parametrize("client", [Sender.by_socket, by_httpx])
def test_what_pytest_raises_in_a_predicate_ends_the_test(tdpostback, outcome, client):
    tdpostback.faults.status(503, where=lambda _: outcome("within"))

    assert client(Sender(tdpostback), {"id": 1}) == 200

    assert tdpostback.assert_ingested("shop", "orders").event.status == 200
    with pytest.raises(outcome.Exception, match="within"):
        tdpostback.check()


def test_after_an_error_no_other_fault_is_asked_and_every_error_is_kept(tdpostback):
    first = tdpostback.faults.status(503)
    tdpostback.faults.status(500, where=lambda arrival: arrival["missing"])

    assert send(tdpostback, 2) == [200, 200]

    assert not first.events
    assert first.asked == 0
    assert [type(error) for error in tdpostback._collector.errors] == [KeyError, KeyError]
    tdpostback._collector.errors.clear()


def test_a_handle_counts_what_it_was_asked_and_what_matched(tdpostback):
    handle = tdpostback.faults.status(503, where={"id": 9}, after=1)

    send(tdpostback, 3)
    Sender(tdpostback).by_socket({"id": 9})

    assert (handle.asked, handle.matched, len(handle.events)) == (4, 1, 0)


def test_faults_that_never_matched_are_known(tdpostback):
    tdpostback.faults.status(503, where={"id": 0}, after=1)
    never = tdpostback.faults.status(503, table="visits")

    assert tdpostback.faults.unmatched() == []
    send(tdpostback, 1)

    assert tdpostback.faults.unmatched() == [never]


def test_a_condition_may_send_an_event_itself(tdpostback):
    """It runs without the lock and off the loop, so that the event in between is served."""
    sender, seen = Sender(tdpostback), []

    def condition(arrival):
        if arrival["id"] == 0:
            seen.append(sender.by_socket({"id": 1}))
        return False

    tdpostback.faults.status(503, where=condition)

    assert sender.by_socket({"id": 0}) == 200
    assert seen == [200]


def test_a_condition_that_blocks_stops_nobody_else(tdpostback):
    sender, go = Sender(tdpostback), threading.Event()
    tdpostback.faults.status(503, where=lambda arrival: arrival["id"] == 0 and not go.wait(20))

    with sender.connect() as client:
        client.send(sender.request({"id": 0}) + sender.request({"id": 2}))
        assert sender.by_socket({"id": 1}) == 200
        go.set()
        assert [client.read_status() for _ in range(2)] == [200, 200]


def test_a_fault_ends_with_its_block(tdpostback):
    with tdpostback.faults.status(503):
        assert send(tdpostback, 1) == [503]
    assert send(tdpostback, 1) == [200]


def test_probability_repeats_itself(make_tdpostback):
    def hits(**limits):
        postback = make_tdpostback()
        handle = postback.faults.drop(probability=0.5, **limits)
        send(postback, 40)
        return hit(handle)

    assert hits(seed=1) == hits(seed=1) != hits(seed=2)
    assert hits() == hits(seed=0)
    assert 5 < len(hits()) < 35


def test_an_event_that_probability_spares_does_not_count_in_times(tdpostback):
    handle = tdpostback.faults.drop(probability=0.3, times=4)

    send(tdpostback, 60)

    assert len(handle.events) == 4


@pytest.mark.parametrize(("probability", "hits"), [(0, []), (1, [0, 1, 2])])
def test_probability_at_its_ends(tdpostback, probability, hits):
    handle = tdpostback.faults.drop(probability=probability)

    send(tdpostback, 3)

    assert hit(handle) == hits


def test_fault_ends_with_its_block(tdpostback):
    with tdpostback.faults.status(503) as handle:
        assert send(tdpostback, 1) == [503]

    assert send(tdpostback, 1) == [200]
    assert len(handle.events) == 1


def test_remove_and_clear(tdpostback):
    faults = tdpostback.faults
    first, second = faults.status(503), faults.status(500)
    assert send(tdpostback, 1) == [500]
    second.remove()
    second.remove()
    assert send(tdpostback, 1) == [503]
    faults.clear()
    assert send(tdpostback, 1) == [200]
    assert (len(first.events), len(second.events)) == (1, 1)


def test_a_fault_that_was_removed_is_over(tdpostback):
    with tdpostback.faults.drop() as fault:
        assert not fault.over
    assert fault.over


def test_the_one_added_last_is_asked_first(tdpostback):
    tdpostback.faults.status(503)
    tdpostback.faults.status(500, times=1)

    assert send(tdpostback, 2) == [500, 503]


def test_a_handle_in_a_sequence_acts_there_alone(tdpostback):
    faults = tdpostback.faults

    faults.sequence(["ok", faults.status(502)])

    assert send(tdpostback, 3) == [200, 502, 200]


def test_a_fault_that_was_removed_acts_again_in_a_sequence(tdpostback):
    delay = tdpostback.faults.delay(60)
    delay.remove()
    tdpostback.faults.sequence([delay])

    assert Sender(tdpostback, timeout=0.2).by_socket({"id": 1}) == ERROR


def test_a_limit_of_a_throttle_may_be_of_any_size(tdpostback):
    tdpostback.faults.throttle(10**30, 1)
    tdpostback.faults.throttle(10**5000, 1)

    assert send(tdpostback, 2) == [200, 200]


def test_without_a_fault_left_the_collector_asks_nobody(tdpostback):
    collector = tdpostback._collector
    tdpostback.faults.status(503, times=1)
    tdpostback.faults.sequence(["ok"])
    tdpostback.clock.freeze()
    tdpostback.faults.outage(1)
    assert collector.fault_hook
    tdpostback.clock.advance(1)

    send(tdpostback, 2)

    assert collector.fault_hook is None


def test_clear_forgets_the_events_and_keeps_the_faults(tdpostback):
    handle = tdpostback.faults.status(503)
    send(tdpostback, 2)

    tdpostback.clear()

    assert not handle.events
    assert send(tdpostback, 1) == [503]
    assert [event.seq for event in handle.events] == [3]


def test_the_repr_of_a_handle_names_its_fault(tdpostback):
    handle = tdpostback.faults.truncate(after=3)
    send(tdpostback, 1)

    assert repr(handle) == "<fault truncate(3): 1 hit>"


def test_a_fault_ends_with_its_test(pytester):
    pytester.makepyfile(
        """
        from pathlib import Path
        import pytest
        from tests.server.faults.clients import Sender

        @pytest.fixture
        def flush_at_the_end(tdpostback):
            yield
            assert Sender(tdpostback).by_socket({"id": 2}) == 503

        def test_one(tdpostback, flush_at_the_end, request):
            tdpostback.faults.status(503)
            tdpostback.faults.status(500, times=1)
            assert Sender(tdpostback).by_socket({"id": 1}) == 500
            request.config.first = tdpostback

        def test_two(tdpostback, request):
            assert Sender(tdpostback).by_socket({"id": 1}) == 200
            assert Sender(request.config.first).by_socket({"id": 3}) == 200
        """
    )

    pytester.runpytest_inprocess().assert_outcomes(passed=2)


def test_faults_without_pytest():
    with PostbackServer() as server:
        handle = server.postback.faults.reset(times=1)
        sender = Sender(server.postback)
        assert (sender.by_socket({"id": 1}), sender.by_socket({"id": 2})) == (ERROR, 200)
        assert len(handle.events) == 1
        server.check()


def test_the_named_arguments_are_typed(tdpostback: Postback) -> None:
    """An unknown name is an error for mypy: an ignored error that is not there is one, too."""
    if TYPE_CHECKING:
        tdpostback.faults.reset(before="answer")
        tdpostback.faults.reset(before="response")  # type: ignore[arg-type]
        tdpostback.faults.sequence([503, "drop", "ok", tdpostback.faults.delay(0.2)])
        tdpostback.faults.sequence(["okay"])  # type: ignore[list-item]
    assert tdpostback.empty


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda f: f.status(99), "faults.status(code=99): give an HTTP status from 200 to 599"),
        (lambda f: f.status("503"), "faults.status(code='503'): give an HTTP status"),
        (lambda f: f.status(True), "faults.status(code=True)"),
        (
            lambda f: f.delay(-1),
            "faults.delay(seconds=-1): give a number of seconds from 0 to 3,600",
        ),
        (lambda f: f.delay(float("nan")), "faults.delay(seconds=nan)"),
        (lambda f: f.delay(None), "faults.delay(seconds=None)"),
        (lambda f: f.delay(3601), "faults.delay(seconds=3601)"),
        (lambda f: f.delay(10**400), "faults.delay(seconds=1000"),
        (lambda f: f.delay(10**5000), "faults.delay(seconds=a number of thousands of digits)"),
        (lambda f: f.outage(10**400), "faults.outage(seconds=1000"),
        (lambda f: f.throttle(1, 10**5000), "faults.throttle(per=a number of thousands of digits)"),
        (lambda f: f.drop(probability=10**400), "faults.drop(probability=1000"),
        (lambda f: f.status(10**5000), "faults.status(code=a number of thousands of digits)"),
        (lambda f: f.drop(times=-(10**5000)), "faults.drop(times=a number of thousands of digits)"),
        (
            lambda f: f.outage(1e10),
            "faults.outage(seconds=10000000000.0): give a number of seconds from 0 to 3,600",
        ),
        (lambda f: f.outage(float("inf")), "faults.outage(seconds=inf)"),
        (lambda f: f.outage(float("nan")), "faults.outage(seconds=nan)"),
        (lambda f: f.outage("60"), "faults.outage(seconds='60')"),
        (lambda f: f.throttle(1, 3601), "faults.throttle(per=3601): give a number above 0, up to"),
        (lambda f: f.throttle(1, float("nan")), "faults.throttle(per=nan)"),
        (lambda f: f.drip(float("inf")), "faults.drip(bytes_per_second=inf)"),
        (lambda f: f.drip(10**400), "faults.drip(bytes_per_second=1000"),
        (lambda f: f.drop(probability=float("nan")), "faults.drop(probability=nan)"),
        (lambda f: f.drop(times=1.0), "faults.drop(times=1.0): give a whole number, 1 or more"),
        (lambda f: f.drip(0), "faults.drip(bytes_per_second=0): give a number above 0"),
        (
            lambda f: f.truncate(after=-1),
            "faults.truncate(after=-1): give a whole number, 0 or more",
        ),
        (lambda f: f.truncate(after=1.5), "faults.truncate(after=1.5)"),
        (lambda f: f.throttle(-1, 1), "faults.throttle(limit=-1): give a whole number, 0 or more"),
        (lambda f: f.throttle(1, 0), "faults.throttle(per=0): give a number above 0"),
        (
            lambda f: f.reset(before="x"),
            "faults.reset(before='x'): give one of 'storing', 'answer'",
        ),
        (lambda f: f.drop(times=0), "faults.drop(times=0): give a whole number, 1 or more"),
        (lambda f: f.drop(after=-1), "faults.drop(after=-1): give a whole number, 0 or more"),
        (lambda f: f.drop(probability=2), "faults.drop(probability=2): give a number from 0 to 1"),
        (lambda f: f.drop(seed=1), "faults.drop(seed=...): it needs a probability= as well"),
        (lambda f: f.drop(seed=[]), "faults.drop(seed=[]): give a whole number"),
        (lambda f: f.drop(probability=0.5, seed=[]), "faults.drop(seed=[]): give a whole number"),
        (lambda f: f.drop(table=5), "faults.drop(table=5): give a name as in the URL, or None"),
        (lambda f: f.drop(database=""), "faults.drop(database=''): give a name as in the URL"),
        (lambda f: f.drop(where=3), "faults.drop(where=3): give a mapping of columns"),
        (lambda f: f.drop(tabel="t"), "faults.drop(tabel=...): give one of database, table, where"),
        (lambda f: f.sequence([]), "faults.sequence(entries=[]): give 1 to 100,000 entries"),
        (
            lambda f: f.sequence(itertools.cycle([503, "ok"])),
            "faults.sequence(entries=<itertools.cycle",
        ),
        (
            lambda f: f.sequence(["okay"]),
            "faults.sequence(entry='okay'): give an HTTP status from 200 to 599, one of 'drop',",
        ),
        (lambda f: f.sequence(["delay"]), "faults.sequence(entry='delay'): give an HTTP status"),
        (lambda f: f.sequence([700]), "faults.sequence(entry=700): give an HTTP status"),
        (lambda f: f.sequence([None]), "faults.sequence(entry=None): give an HTTP status"),
        (lambda f: f.sequence([[503]]), "faults.sequence(entry=[503]): give an HTTP status"),
        (lambda f: f.sequence(503), "faults.sequence(entries=503): give a list of entries"),
        (lambda f: f.sequence("drop"), "faults.sequence(entries='drop'): give a list of entries"),
        (
            lambda f: f.sequence([f.status(503, times=2), "ok"]),
            "faults.sequence(entry=<fault status(503): 0 hit>): give an entry",
        ),
        (lambda f: f.sequence([f.drop(table="t")]), "faults.sequence(entry=<fault drop: 0 hit"),
        (
            lambda f: f.sequence([f.sequence(["drop"]), "ok"]),
            "faults.sequence(entry=<fault sequence([drop]): 0 hit>): give its entries",
        ),
    ],
)
def test_wrong_arguments(tdpostback, call, message):
    with pytest.raises(ConfigurationError) as caught:
        call(tdpostback.faults)

    assert str(caught.value).startswith(message)
    assert len(str(caught.value)) < 300
    assert tdpostback._collector.fault_hook is None


@pytest.mark.parametrize("name", ["advance", "freeze"])
def test_a_clock_takes_no_text(tdpostback, name):
    with pytest.raises(ConfigurationError, match="give a number of seconds"):
        getattr(tdpostback.clock, name)("2")
