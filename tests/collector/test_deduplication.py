"""[I17] Which records of the Data Ingestion API are stored a second time, and which aren't."""

from __future__ import annotations

from uuid import UUID, uuid4

import pytest

from pytest_tdpostback.collector.deduplication import Deduplication
from pytest_tdpostback.collector.events import Events

NOW = 1_700_000_000.0
TABLE = ("web", "pages")
HOUR, REMEMBERED = 3_600, 4_096  # as I17 says, not as the code does


@pytest.fixture
def known():
    return Deduplication()


def test_a_uuid_is_repeated_in_any_letter_case(known):
    first, second = str(UUID(int=0xA)), str(UUID(int=0xA)).upper()
    assert not known.is_repeated(TABLE, first, NOW)
    assert known.is_repeated(TABLE, second, NOW)


def test_a_uuid_is_repeated_in_its_table_alone(known):
    assert not known.is_repeated(TABLE, "u", NOW)
    assert not known.is_repeated(("web", "clicks"), "u", NOW)
    assert not known.is_repeated(("shop", "pages"), "u", NOW)
    assert known.is_repeated(TABLE, "u", NOW)


def test_an_hour_counts_from_the_record_that_was_stored(known):
    assert not known.is_repeated(TABLE, "u", NOW)
    assert known.is_repeated(TABLE, "u", NOW + HOUR - 1)
    assert not known.is_repeated(TABLE, "u", NOW + HOUR)
    assert known.is_repeated(TABLE, "u", NOW + HOUR + 1)


@pytest.mark.parametrize("with_uuid", [True, False])
def test_the_last_4096_records_are_known(known, with_uuid):
    assert REMEMBERED == 4_096
    for repeated in (True, False):
        fresh = str(uuid4())
        assert not known.is_repeated(TABLE, fresh, NOW)
        for _ in range(REMEMBERED - repeated):
            assert not known.is_repeated(TABLE, str(uuid4()) if with_uuid else None, NOW)
        assert known.is_repeated(TABLE, fresh, NOW) == repeated


def test_records_without_a_uuid_are_not_repeated(known):
    assert not known.is_repeated(TABLE, None, NOW)
    assert not known.is_repeated(TABLE, None, NOW)


@pytest.fixture
def collector(make_collector):
    return make_collector(profile="ingestion-v1")


def states(collector):
    return [str(event.state) for event in Events(collector.log)]


RECORD = {"uuid": str(UUID(int=1)), "a": 1}


def test_the_hour_is_that_of_the_clock_of_the_server(collector, send_batch):
    collector.clock.freeze(NOW)
    for seconds in (0, HOUR - 1, 1, HOUR):
        collector.clock.advance(seconds)
        send_batch(collector, [RECORD])
    assert states(collector) == ["ingested", "deduplicated", "ingested", "ingested"]
    repeated = Events(collector.log)[1]
    assert (repeated.status, repeated.rule, repeated.copies) == (200, "I17", 0)
    assert repeated.record is None
    assert str(RECORD["uuid"]) in str(repeated.reason)


def test_a_record_is_repeated_within_its_batch(collector, send_batch):
    exchange = send_batch(collector, [RECORD, {**RECORD, "a": 2}])
    assert exchange.response.status == 200
    assert states(collector) == ["ingested", "deduplicated"]


def test_deduplicate_false_stores_every_record(make_collector, send_batch):
    collector = make_collector(profile="ingestion-v1", deduplicate=False)
    send_batch(collector, [RECORD, RECORD])
    assert states(collector) == ["ingested", "ingested"]


def test_a_rejected_record_can_be_sent_again(collector, send_batch):
    key = collector.keys.add("1/revoked-later")
    collector.hold()
    send_batch(collector, [RECORD], key=key)
    collector.keys.revoke(key)
    collector.release()
    send_batch(collector, [RECORD])
    assert states(collector) == ["rejected", "ingested"]


def test_clear_forgets_what_was_stored(collector, send_batch):
    send_batch(collector, [RECORD])
    collector.clear()
    send_batch(collector, [RECORD])
    assert states(collector) == ["ingested"]


def test_a_record_from_before_clear_is_not_known_after_it(collector, receive_batch, send_batch):
    """Its response may be out only then; its outcome belongs to the log before."""
    late = receive_batch(collector, [RECORD])
    collector.clear()
    collector.response_sent(late)
    send_batch(collector, [RECORD])
    assert states(collector) == ["ingested"]


def test_the_postback_api_does_not_deduplicate(collector, store):
    for _ in range(2):
        store(collector, RECORD)
    assert states(collector) == ["ingested", "ingested"]
    assert [event.columns()["uuid"] for event in Events(collector.log)] == [RECORD["uuid"]] * 2
