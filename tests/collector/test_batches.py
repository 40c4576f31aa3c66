"""Each record of a batch is an event of its own, and shares its request with the others."""

from __future__ import annotations

import copy
import gzip
import json
import logging
import pickle
import tracemalloc
import zlib
from typing import Any

import pytest

from pytest_tdpostback import PostbackServer
from pytest_tdpostback.collector.collector import Effect
from pytest_tdpostback.collector.events import Events
from pytest_tdpostback.protocol.response import empty
from pytest_tdpostback.protocol.rules import WITH_FINDING
from pytest_tdpostback.recording.export import exported
from tests.collector.conftest import BATCH, KEY

JS = "application/vnd.treasuredata.v1.js+json"
MOBILE = "application/vnd.treasuredata.v1.mobile+json"
SINGLE = "application/vnd.treasuredata.v1.single+json"
UUID = "0b9c5a4e-3d43-4b67-9d8f-6d0e5f1a2b3c"


@pytest.fixture
def collector(make_collector):
    return make_collector(profile="ingestion-v1")


def events(collector):
    return list(Events(collector.log))


def states(collector):
    return [str(event.state) for event in events(collector)]


def receipts(exchange):
    return json.loads(exchange.response.body)["receipts"]


def test_each_record_is_an_event(collector, send_batch):
    exchange = send_batch(collector, [{"n": 0}, {"n": 1}, {"n": 2}])
    assert exchange.response.status == 200
    assert [receipt["success"] for receipt in receipts(exchange)] == [True, True, True]
    found = events(collector)
    assert [event.seq for event in found] == [1, 2, 3]
    assert [event.batch for event in found] == [(0, 3), (1, 3), (2, 3)]
    assert (found[1].batch.index, found[1].batch.size) == (1, 3)
    assert [event.payload for event in found] == [{"n": 0}, {"n": 1}, {"n": 2}]
    assert [event.record["n"] for event in found] == [0, 1, 2]
    assert {(event.database, event.table, event.status) for event in found} == {
        ("web", "pages", 200)
    }


def test_a_failed_record_is_refused_beside_the_others(collector, send_batch):
    exchange = send_batch(collector, [{"n": 0}, 5, {"uuid": "x"}, {"": 1}])
    assert exchange.response.status == 206
    names = [receipt.get("error", {}).get("name") for receipt in receipts(exchange)]
    value = "InvalidPropertyValueError"
    assert names == [None, value, value, "InvalidPropertyNameError"]
    found = events(collector)
    assert [str(event.state) for event in found] == ["ingested", "refused", "refused", "refused"]
    assert [event.rule for event in found] == [None, "I13", "I16", "I13"]
    assert {event.status for event in found} == {206}
    assert [event.payload for event in found] == [{"n": 0}, 5, {"uuid": "x"}, {"": 1}]
    assert all(event.reason for event in found[1:])
    assert collector.account().balanced


def test_a_batch_whose_records_all_fail_is_answered_206(collector, send_batch):
    assert send_batch(collector, [5, None]).response.status == 206
    assert states(collector) == ["refused", "refused"]
    assert collector.settled()
    assert collector.log.in_progress == 0


@pytest.mark.parametrize(
    ("how", "status", "reason"),
    [
        ({"key": "1/unknown"}, 401, "(the batch has 2 records)"),
        ({"content_type": "application/json"}, 400, "(the batch has 2 records)"),
        ({"text": b'{"events":[]}'}, 422, "the batch has 0 records"),
        ({"text": b'{"records":[{}]}'}, 422, "it has 'records'"),
        ({"text": b"{"}, 400, "the body is not JSON"),
        ({"Content-Encoding": "br"}, 400, "Content-Encoding 'br'"),
    ],
)
def test_a_refused_batch_is_one_event(collector, send_batch, how, status, reason):
    exchange = send_batch(collector, [{}, {}], **how)
    (event,) = events(collector)
    assert exchange.response.status == event.status == status
    assert (str(event.state), event.batch) == ("refused", None)
    assert reason in event.reason
    told = json.loads(exchange.response.body)
    assert told == {"error": told["message"], "message": told["error"]}


def test_a_key_outside_its_scope_is_forbidden_and_a_revoked_one_unknown(collector, send_batch):
    key = collector.keys.add("1/scoped", tables=["clicks"])
    assert send_batch(collector, [{}], key=key).response.status == 403
    collector.keys.revoke(key)
    assert send_batch(collector, [{}], key=key).response.status == 401
    assert [event.rule for event in events(collector)] == ["I4", "I4"]


def test_every_key_that_is_accepted_may_ask_for_a_global_id(collector, ask_for_global_id):
    collector.keys.add("1/scoped", tables=["clicks"])
    assert ask_for_global_id(collector, key="1/scoped").response.status == 200
    assert ask_for_global_id(collector, key="1/other").response.status == 401
    collector.keys.accept_any()
    assert ask_for_global_id(collector, key="1/other").response.status == 200
    assert [event.rule for event in events(collector)] == ["I4"]


def test_a_request_for_a_global_id_is_no_event_and_keeps_the_id_of_its_cookie(
    collector, ask_for_global_id
):
    ids = []
    for cookie in ("", "", "_td_global=mine; a=b"):
        exchange = ask_for_global_id(collector, Cookie=cookie)
        ids.append(json.loads(exchange.response.body)["global_id"])
        fields = dict(exchange.response.headers)
        assert fields["Set-Cookie"].startswith(f"_td_global={ids[-1]}; ")
        assert fields["Set-Cookie"].endswith("; SameSite=None; Secure; HttpOnly")
    assert ids[2] == "mine"
    assert len(set(ids)) == 3
    assert not collector.log


def test_receipts_have_the_uuid_of_the_record_or_one_of_their_own(collector, send_batch):
    given = [
        receipt["uuid"] for receipt in receipts(send_batch(collector, [{"uuid": UUID}, {}, {}]))
    ]
    assert given[0] == UUID
    assert len(set(given)) == 3
    assert "uuid" not in events(collector)[0].record


def test_records_are_pending_while_validation_is_held(collector, send_batch):
    collector.hold()
    send_batch(collector, [{}, 5, {}])
    assert states(collector) == ["pending", "refused", "pending"]
    assert not collector.settled()
    collector.release()
    assert states(collector) == ["ingested", "refused", "ingested"]


def test_records_are_pending_until_the_response_is_out(collector, receive_batch):
    exchange = receive_batch(collector, [{}, 5])
    assert states(collector) == ["pending", "refused"]
    assert collector.log.in_progress == 1
    collector.response_sent(exchange)
    assert states(collector) == ["ingested", "refused"]
    assert collector.log.in_progress == 0


def test_a_key_that_is_revoked_meanwhile_rejects_the_accepted_records(collector, send_batch):
    collector.hold()
    send_batch(collector, [{}, 5, {}])
    collector.keys.revoke(KEY)
    collector.release()
    assert states(collector) == ["rejected", "refused", "rejected"]
    assert [event.rule for event in events(collector)] == ["I14", "I13", "I14"]


def test_stale_time_has_no_meaning_for_a_batch(make_collector, send_batch):
    collector = make_collector(profile="ingestion-v1", stale_time="drop")
    send_batch(collector, [{"time": 1, "td_record_time": 1}])
    (event,) = events(collector)
    assert dict(event.record) == {"time": "1", "td_record_time": 1}


def test_each_event_is_logged_once(collector, send_batch, caplog):
    caplog.set_level(logging.INFO, "pytest_tdpostback")
    collector.hold()
    send_batch(collector, [{"uuid": UUID}, 5, {"uuid": UUID}])
    collector.release()
    assert [each.getMessage().split()[1] for each in caplog.records] == ["#2", "#3"]


BODIES = {
    "compact": b'{"events":[{"a":1},{"a":2}]}',
    "white space": b' {\n "x" : [1], "events" : [\t{"a":1} \r\n,\n {"a" : 2} ] , "y": 1 } \n',
    "not ASCII": '{"é":"€","events":[{"a":1,"ü":"日本"}, {"a":2,"b":"😀"}]}'.encode(),
}
CODINGS = [("", bytes), ("gzip", gzip.compress), ("deflate", zlib.compress)]


@pytest.mark.parametrize("body", BODIES.values(), ids=list(BODIES))
@pytest.mark.parametrize("coded", CODINGS, ids=["plain", "gzip", "deflate"])
def test_the_body_of_the_request_is_what_was_sent(collector, send_batch, body, coded):
    coding, encode = coded
    sent = encode(body)
    send_batch(collector, [{"a": 0}])
    send_batch(collector, None, text=sent, **{"Content-Encoding": coding})
    send_batch(collector, [{"a": 3}])
    first, second = events(collector)[1:3]
    assert first.request.body == second.request.body == sent
    assert first.request is second.request
    assert [first.payload["a"], second.payload["a"]] == [1, 2]
    assert [event.payload["a"] for event in events(collector)] == [0, 1, 2, 3]


@pytest.mark.parametrize(
    "made", [copy.copy, copy.deepcopy, lambda e: pickle.loads(pickle.dumps(e))]
)
def test_a_copy_of_a_record_says_the_same(collector, send_batch, made):
    send_batch(collector, [{"n": 0}, {"n": 1}])
    body = gzip.compress(b'{"events":[ {"Bad-Name":1}, 5, {"uuid":"%s"} ,{"n":3}]}' % UUID.encode())
    send_batch(collector, None, text=body, content_type=JS, **{"Content-Encoding": "gzip"})
    send_batch(collector, [{"uuid": UUID}])
    for event in events(collector):
        twin = made(event)
        assert twin == event
        assert exported(twin) == exported(event)
        assert (twin.batch, twin.request) == (event.batch, event.request)
    record = events(collector)[5].record
    assert made(record) == record
    assert made(record).event.batch == (3, 4)


def test_records_of_a_browser_share_one_global_id(collector, send_batch):
    placeholder = {"td_global_id": "td_global_id"}
    send_batch(collector, [placeholder, placeholder, {"td_global_id": "mine"}], content_type=JS)
    send_batch(collector, [placeholder], content_type=MOBILE)
    first, second, third, fourth = (event.record for event in events(collector))
    assert first["td_global_id"] == second["td_global_id"] != "td_global_id"
    assert third["td_global_id"] == "mine"
    assert fourth["td_global_id"] == "td_global_id"
    assert [record["td_ip"] for record in (first, fourth)] == ["127.0.0.1", "127.0.0.1"]


FINDINGS = [
    (b'{"events":[{"a":1}]}', {}, []),
    (b'{"events":[{"a":1,"a":2}]}', {}, ["I11"]),
    (b'{"events":[{"b":{"a":1,"a":2}}]}', {}, ["I11"]),
    (b'{"events":[{"a":1}],"events":[{"a":2}]}', {}, ["I11"]),
    (b'{"x":1,"events":[{"a":1}],"x":2}', {}, ["I11"]),
    (b'{"events":[{"time":1700000000000}]}', {}, ["I15"]),
    (b'{"events":[{"time":"x"}]}', {}, ["I15"]),
    (b'{"events":[{"time":5,"td_record_time":"x"}]}', {}, []),
    (b'{"events":[{"Bad":1}]}', {}, ["C1"]),
    (b'{"events":[{"a":1}]}', {"path": "/web/pages?modified=1&time=2"}, []),
    (b'{"events":[{"a":1}]}', {"path": "/web/pages?td_format=pixel"}, ["I3"]),
    (b'{"events":[{"a":1}]}', {"Content-Encoding": "identity"}, ["I10"]),
]


@pytest.mark.parametrize(("text", "how", "rules"), FINDINGS)
def test_what_the_service_changes_in_silence_is_found(collector, send_batch, text, how, rules):
    send_batch(collector, None, text=text, **how)
    (event,) = events(collector)
    assert str(event.state) == "ingested"
    assert [found.rule for found in event.findings] == rules
    assert WITH_FINDING.issuperset(rules)


def test_names_that_stand_twice_in_a_batch_are_found_once(collector, send_batch):
    send_batch(collector, None, text=b'{"events":[1],"events":[{"a":1},{"a":2}]}')
    assert [[each.rule for each in event.findings] for event in events(collector)] == [["I11"], []]


@pytest.mark.parametrize(
    ("how", "found"),
    [
        ({"content_type": JS}, [[], ["I13"]]),
        ({"User-Agent": "Mozilla/5.0 (X11)"}, [[], ["I13"]]),
        ({"content_type": MOBILE, "User-Agent": "app/1 CFNetwork/1 Darwin/1"}, [["I13"], []]),
        ({}, [[], []]),
    ],
)
def test_what_a_client_does_with_a_206_is_found(collector, send_batch, how, found):
    send_batch(collector, [{}, 5], **how)
    assert [[each.rule for each in event.findings] for event in events(collector)] == found


FAULTS = [
    (Effect("drop", stored=False), (["lost", "refused"], 206, 1)),
    (Effect("duplicate", copies=2), (["ingested", "refused"], 206, 0)),
    (Effect("status", response=empty(503), stored=False), (["lost", "lost"], 503, 0)),
    (Effect("late status", response=empty(503)), (["ingested", "refused"], 503, 0)),
    (Effect("reset", responded=False, stored=False), (["lost", "lost"], None, 0)),
]


@pytest.mark.parametrize(("effect", "outcome"), FAULTS, ids=[effect.fault for effect, _ in FAULTS])
def test_a_fault_hits_the_whole_batch(collector, send_batch, effect, outcome):
    expected, status, lost = outcome
    collector.fault_hook = lambda _: effect
    send_batch(collector, [{}, 5])
    found = events(collector)
    assert [str(event.state) for event in found] == expected
    assert [event.fault for event in found] == [effect.fault] * 2
    assert [event.status for event in found] == [status] * 2
    assert found[0].copies == (effect.copies if expected[0] == "ingested" else 0)
    assert len(collector.log.records()) == found[0].copies
    account = collector.account()
    assert account.balanced
    assert account.lost_after_200 == lost


@pytest.mark.parametrize(
    ("records", "columns", "payload"),
    [([{"n": 1}, {"n": 2}], {"n": 1}, {"n": 1}), ([5, {"n": 2}], {}, None)],
)
def test_a_fault_sees_the_first_record(collector, send_batch, records, columns, payload):
    seen = []
    collector.fault_hook = lambda arrival: seen.append((arrival.payload, dict(arrival)))
    send_batch(collector, records)
    ((first, stored),) = seen
    assert first == payload
    assert {name: stored[name] for name in stored if name != "time"} == columns


def test_clear_forgets_batches_and_numbers_go_on(collector, send_batch):
    send_batch(collector, [{}, {}])
    collector.clear()
    send_batch(collector, [{}])
    (event,) = events(collector)
    assert (event.seq, event.batch) == (3, (0, 1))


def test_the_account_of_a_batch_has_every_state(collector, send_batch):
    send_batch(collector, [{"uuid": UUID}, {"uuid": UUID}, 5])
    account = collector.account()
    assert (account.sent, account.ingested, account.deduplicated, account.refused) == (3, 1, 1, 1)
    assert account.balanced
    assert "1 deduplicated" in str(account)


def test_a_compressed_single_record_says_what_it_holds(collector, send_batch):
    body = gzip.compress(b' {"a": 1} ')
    send_batch(collector, None, text=body, content_type=SINGLE, **{"Content-Encoding": "gzip"})
    (event,) = events(collector)
    assert (event.payload, event.columns()["a"], event.request.body) == ({"a": 1}, 1, body)


def test_a_single_record_is_no_batch(collector, send_batch):
    send_batch(collector, None, text=b'{"events":[1]}', content_type=SINGLE)
    (event,) = events(collector)
    assert event.batch is None
    assert event.record["events"] == [1]


@pytest.fixture
def postback():
    with PostbackServer(profile="ingestion-v1", write_keys=[KEY]) as server:
        yield server.postback


def test_assertions_work_on_the_records_of_a_batch(postback, send_batch):
    send_batch(postback._collector, [{"n": 1}, {"n": 2, "uuid": UUID}, {"uuid": UUID}, 5])
    assert postback.assert_ingested("web", "pages", n=2).event.batch.index == 1
    assert len(postback.assert_ingested("web", "pages", count=2)) == 2
    (failed,) = postback.assert_refused("web", "pages", status=206, rule="I13", count=1)
    assert [event.batch.index for event in postback.refused] == [failed.batch.index] == [3]
    postback.assert_nothing_ingested("web", "pages", n=3)
    assert postback.account.deduplicated == 1


def test_a_missing_record_that_was_not_stored_again_is_explained(postback, send_batch):
    send_batch(
        postback._collector, [{"uuid": UUID, "n": 1}, {"uuid": UUID, "n": 2}, {"": 3, "n": 3}]
    )
    with pytest.raises(AssertionError, match=r"not stored again by I17: the uuid .* last hour"):
        postback.assert_ingested("web", "pages", n=2, timeout=0)
    with pytest.raises(AssertionError, match=r"refused in its receipt with 206 by I13"):
        postback.assert_ingested("web", "pages", n=3, timeout=0)


def test_each_record_is_claimed_by_itself(send_batch):
    server = PostbackServer(profile="ingestion-v1", write_keys=[KEY], on_unasserted="fail")
    send_batch(server.postback._collector, [{"n": 1}, {"n": 2}])
    server.postback.assert_ingested("web", "pages", n=1)
    with pytest.raises(AssertionError, match="#2"):
        server.check()
    server.postback.claim(server.postback.events[1])
    server.check()


def test_a_batch_is_kept_in_less_memory_than_its_requests(make_collector, send_batch):
    records = [{"n": number} for number in range(500)]
    kept = []
    for single in (False, True):
        collector = make_collector(profile="ingestion-v1")
        tracemalloc.start()
        for _ in range(10):
            if single:
                for record in records:
                    text = json.dumps(record).encode()
                    send_batch(collector, None, text=text, content_type=SINGLE)
            else:
                send_batch(collector, records)
        kept.append(tracemalloc.get_traced_memory()[0])
        tracemalloc.stop()
        assert len(collector.log) == 5_000
    assert kept[0] < 0.9 * kept[1]


def test_each_event_has_the_request_that_it_came_with(collector, send_batch):
    collector.clock.freeze(1_700_000_000)
    alone = {"path": "/postback/v3/event/web/pages", "content_type": "application/json"}
    expected = []
    for number, size in enumerate([1, 3, 1, 1, 2, 1]):
        options: dict[str, Any] = {"X-Number": str(number)}
        if size == 1:
            options |= {**alone, "text": b"{}"}
        send_batch(collector, [{}] * size, **options)
        expected += [(str(number), 1_700_000_000 + number)] * size
        collector.clock.advance(1)
    found = events(collector)
    assert [(e.request.head.field("x-number"), e.received_at) for e in found] == expected
    assert [event.columns()["time"] for event in found] == [str(when) for _, when in expected]


def test_the_type_of_the_response_is_that_of_the_request(collector, send_batch):
    exchange = send_batch(collector, [{}], content_type=f"{BATCH.upper()}; a=b")
    assert dict(exchange.response.headers)["Content-Type"] == f"{BATCH.upper()}; a=b"


@pytest.mark.parametrize(
    ("fault", "expected", "stored"),
    [
        ("drop", ["lost", "lost", "refused"], 0),
        ("duplicate", ["ingested", "ingested", "refused"], 4),
    ],
)
def test_a_fault_chooses_a_batch_by_its_first_record(postback, send_batch, fault, expected, stored):
    handle = getattr(postback.faults, fault)(times=1, where={"n": 1})
    for first in (2, 1, 1):
        send_batch(postback._collector, [{"n": first}, {"n": 3}, 5])
    found = [str(event.state) for event in postback.events]
    spared = ["ingested", "ingested", "refused"]
    assert found == [*spared, *expected, *spared]
    assert len(postback.records()) == 4 + stored
    assert [event.seq for event in handle.events] == [4, 5, 6]
    assert postback.account.balanced


def test_a_fault_with_a_status_answers_the_whole_batch(postback, send_batch):
    with postback.faults.status(503):
        exchange = send_batch(postback._collector, [{"n": 1}, 5])
    assert exchange.response.status == 503
    assert {(event.status, str(event.state)) for event in postback.events} == {(503, "lost")}
