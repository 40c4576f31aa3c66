"""Events and records: views of the log that can be copied, pickled and compared."""

from __future__ import annotations

import copy
import json
import pickle

import pytest

from pytest_tdpostback.collector.events import Event, Events, Record, SettleTimeout
from pytest_tdpostback.collector.waiting import real_time

COPIES = {
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
    "pickle": lambda each: pickle.loads(pickle.dumps(each)),
}


def plain(event):
    """All that an event says, as values."""
    names = "seq received_at key database table status copies fault state rule reason payload"
    values = {name: getattr(event, name) for name in names.split()}
    record = event.record
    request = event.request
    return {
        **values,
        "record": record if record is None else dict(record),
        "findings": event.findings,
        "request": (request.method, request.target, request.headers.pairs, request.body),
        "peer": request.peer,
    }


@pytest.fixture
def different(make_collector, store, receive):
    """A collector with an event of each kind."""
    collector = make_collector(value_types="string")
    store(collector, {"Bad-Name": 1, "nested": {"a": [1, 2]}})
    store(collector, key="1/unknown")
    store(collector, [])
    store(collector, path="/elsewhere")
    receive(collector)
    return collector


@pytest.mark.parametrize("how", COPIES)
def test_a_copied_event_says_the_same(different, how):
    for event in Events(different.log):
        copied = COPIES[how](event)
        assert plain(copied) == plain(event)
        assert copied == event
        assert hash(copied) == hash(event)
        assert repr(copied) == repr(event)


@pytest.mark.parametrize("how", COPIES)
def test_a_copied_record_says_the_same(different, how):
    record = Record(different.log, 0)
    copied = COPIES[how](record)
    assert type(copied) is Record
    assert copied == record == dict(record)
    assert (copied.database, copied.table) == ("web", "visits")
    assert plain(copied.event) == plain(record.event)


def test_a_pickled_event_keeps_its_state_while_the_event_changes(collector, receive):
    exchange = receive(collector)
    event = Events(collector.log)[0]
    kept = pickle.loads(pickle.dumps(event))
    collector.response_sent(exchange)
    collector.settle(0)
    assert (str(kept.state), str(event.state)) == ("pending", "ingested")


def test_a_pickled_event_keeps_the_finding_about_too_many_columns(collector, store):
    """[C2] only the log knows that the table was full."""
    store(collector, {f"a{number}": 1 for number in range(512)})
    store(collector, {"one_more": 1})
    event = Events(collector.log)[1]
    assert [finding.rule for finding in pickle.loads(pickle.dumps(event)).findings] == ["C2"]


def test_a_target_with_raw_utf_8_is_shown_as_it_was_meant(collector, store):
    """[P10] the target itself stays the bytes that were sent."""
    query = "name=\u00c3\u00a9&odd=\u00ff&esc=\u001b&td_write_key=%E6%97%A5/abc"
    target = f"/postback/v3/event/web/visits?{query}"
    exchange = store(collector, path=target)
    event = Event(exchange.log, exchange.indexes[0])
    assert event.request.target == target
    for shown in (repr(event), repr(event.request)):
        assert "?name=é&odd=\\xff&esc=\\x1b&td_write_key=日/a… " in shown


def test_events_of_different_logs_differ(make_collector, store):
    collectors = make_collector(), make_collector()
    for collector in collectors:
        store(collector)
    one, other = (Events(collector.log)[0] for collector in collectors)
    assert one != other


def test_lists_of_records_and_events_can_be_copied(different):
    records = [Record(different.log, index) for index in different.log.records()]
    for copied in (copy.copy(records), copy.deepcopy(records), pickle.loads(pickle.dumps(records))):
        assert copied == records
        assert len(copied) == 1
    events = Events(different.log)
    assert pickle.loads(pickle.dumps(events)) == events == copy.deepcopy(events)


def test_a_record_is_json_as_a_dictionary(different):
    record = Record(different.log, 0)
    assert json.loads(json.dumps(dict(record))) == record


def test_an_error_that_carries_events_can_be_pickled(different):
    error = SettleTimeout("1 event is still pending", Events(different.log)[4:])
    copied = pickle.loads(pickle.dumps(error))
    assert str(copied) == str(error)
    assert copied.events == error.events


def test_counting_records_and_events_looks_at_the_log_alone(collector, store):
    for _ in range(3):
        store(collector)
    assert len(collector.log.records("web", "visits")) == 3
    assert len(Events(collector.log)) == 3


def test_real_time_goes_on_while_the_clock_is_frozen(collector, store):
    collector.clock.freeze(at=1_700_000_000)
    before = real_time()
    store(collector)
    assert Events(collector.log)[0].received_at == 1_700_000_000
    assert real_time() >= before


def test_what_is_no_event_has_no_place(different):
    with pytest.raises(IndexError, match=r"^\[9\]: there are 5 events$"):
        Events(different.log)[9]
    assert Events(different.log)[-1] == Event(different.log, 4)


def test_the_payload_of_a_body_of_another_type_is_what_the_body_holds(collector, store):
    store(collector, {"id": 7}, **{"Content-Type": "text/plain"})
    (event,) = Events(collector.log)
    assert (event.rule, event.payload) == ("B1", {"id": 7})
