"""Checks of the rules of the Data Ingestion API (I1 to I23)."""

from __future__ import annotations

import gzip
import json
import uuid
import zlib
from typing import TYPE_CHECKING, Any

import pytest

from pytest_tdpostback.conformance.catalogue import checks
from pytest_tdpostback.conformance.target import JSON, WRONG_KEY, Endpoint

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_tdpostback.conformance.inspection import InspectionClient
    from pytest_tdpostback.conformance.wire import RawResponse

BATCH = "application/vnd.treasuredata.v1+json"
BROWSER = "application/vnd.treasuredata.v1.js+json"
PHONE = "application/vnd.treasuredata.v1.mobile+json"
SINGLE = "application/vnd.treasuredata.v1.single+json"
ORIGIN = ("Origin", "https://shop.example")
MIB = 1024 * 1024
PATIENCE = 1.0
"""Seconds that a target has to refuse what it was not sent yet."""
NOW = 1_700_000_000
KEY = "1/limited-by-the-ingestion-check"
FAILS = 5
"""A record that fails by itself, so that a target without a limit stores nothing either."""


def ingest(target: Endpoint, *records: Any, **how: Any) -> RawResponse:
    """The response to a batch of `records`; `how` overrides `body`, or changes the header."""
    body = json.dumps({"events": list(records)}).encode()
    return send(target, **{"body": body, **how})


def send(
    target: Endpoint,
    *,
    content_type: str = BATCH,
    key: str | None = None,
    fields: tuple[tuple[str, str], ...] = (),
    path: str | None = None,
    **how: Any,
) -> RawResponse:
    """The response to a `POST` with the right key, unless `key` is another."""
    headers = [
        ("Content-Type", content_type),
        ("Authorization", f"TD1 {target.key if key is None else key}"),
        *fields,
    ]
    return target.send("POST", path or route(target), headers=headers, **how)


def route(target: Endpoint, table: str | None = None) -> str:
    """The path of the table of the run, or of another one of its database."""
    return f"/{target.database}/{table or target.table}"


def receipts(response: RawResponse) -> list[dict[str, Any]]:
    """The receipts in a response."""
    found: list[dict[str, Any]] = json.loads(response.body)["receipts"]
    return found


def succeeded(response: RawResponse) -> list[bool]:
    """Which records of a batch succeeded."""
    return [receipt["success"] for receipt in receipts(response)]


def outcomes(inspection: InspectionClient) -> list[tuple[str, str | None]]:
    """State and rule of each event since the last call."""
    pending = inspection.settle()
    assert not pending, "an event is still pending"
    return [(event["state"], event["rule"]) for event in inspection.events()]


@checks("I1")
@pytest.mark.parametrize("content_type", [BATCH, SINGLE])
def test_records_are_accepted_at_the_path_of_their_table(
    target: Endpoint, content_type: str
) -> None:
    record = target.columns(rule="I1")
    sent = record if content_type == SINGLE else {"events": [record]}
    response = send(target, body=json.dumps(sent).encode(), content_type=content_type)
    assert (response.status, succeeded(response)) == (200, [True])


@checks("I1")
def test_records_are_stored_in_the_table_of_the_path(
    target: Endpoint, inspection: InspectionClient
) -> None:
    ingest(target, target.columns(table="other"), target.columns(database="other"))
    assert not inspection.settle(), "an event is still pending"
    events = inspection.events()
    assert [event["state"] for event in events] == ["ingested", "ingested"]
    assert {(event["database"], event["table"]) for event in events} == {
        (target.database, target.table)
    }


# The names, methods and paths are judged before the key, so a wrong key protects the service.
@checks("I2")
@pytest.mark.parametrize("table", ["ab", "Upper", "a-b", "x" * 129])
def test_name_against_the_platform_is_refused(target: Endpoint, table: str) -> None:
    path = f"/{target.database}/{table}"
    assert ingest(target, FAILS, path=path, key=WRONG_KEY).status == 400
    path = f"/{table}/{target.table}"
    assert ingest(target, FAILS, path=path, key=WRONG_KEY).status == 400


@checks("I2")
@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH", "HEAD"])
def test_other_method_is_not_allowed(target: Endpoint, method: str) -> None:
    response = target.send(method, route(target), headers=[("Authorization", f"TD1 {WRONG_KEY}")])
    allowed = set((response.header("Allow") or "").split(", "))
    assert (response.status, allowed) == (405, {"POST", "OPTIONS"})


@checks("I2")
@pytest.mark.parametrize("path", ["/{}", "/{}/{}/{}", "/{}/{}/"])
def test_other_path_is_not_found(target: Endpoint, path: str) -> None:
    path = path.replace("{}", target.table)
    assert ingest(target, FAILS, path=path, key=WRONG_KEY).status == 404


@checks("I3")
def test_query_of_the_browser_sdk_is_accepted(target: Endpoint) -> None:
    assert ingest(target, target.columns(), query="modified=1&time=2&x=y").status == 200


@checks("I3")
def test_query_is_not_stored(target: Endpoint, inspection: InspectionClient) -> None:
    ingest(target, target.columns(), query="modified=1&time=2")
    event = inspection.event()
    assert (event["state"], event["findings"]) == ("ingested", [])
    assert "modified" not in event["record"]
    assert event["record"]["time"] != "2"
    ingest(target, target.columns(), query="x=y")
    assert "x" not in inspection.finding("I3")["record"]


@checks("I4")
@pytest.mark.parametrize(
    "fields",
    [
        [],
        [("Authorization", "")],
        [("Authorization", "TD1")],
        [("Authorization", "Basic YTpi")],
        [("Authorization", f"TD1 {WRONG_KEY}")],
    ],
    ids=["none", "empty", "no key", "another scheme", "unknown key"],
)
@pytest.mark.parametrize("body", [b'{"events":[{}]}', b"["], ids=["batch", "not JSON"])
def test_request_without_a_valid_key_is_refused(
    target: Endpoint, fields: list[tuple[str, str]], body: bytes
) -> None:
    headers = [("Content-Type", BATCH), *fields]
    assert target.send("POST", route(target), headers=headers, body=body).status == 401


@checks("I4")
def test_key_in_the_header_of_the_postback_api_does_not_count(target: Endpoint) -> None:
    headers = [("Content-Type", BATCH), ("X-TD-Write-Key", target.key)]
    body = b'{"events":[5]}'
    assert target.send("POST", route(target), headers=headers, body=body).status == 401


@checks("I4")
def test_key_outside_its_scope_is_forbidden(target: Endpoint, inspection: InspectionClient) -> None:
    inspection.add_key(KEY, tables=[target.table])
    assert ingest(target, target.columns(), key=KEY).status == 200
    assert inspection.record()
    other = route(target, f"{target.table}_other")
    assert ingest(target, target.columns(), key=KEY, path=other).status == 403
    assert outcomes(inspection) == [("refused", "I4")]


@checks("I4")
def test_revoked_key_is_refused(target: Endpoint, inspection: InspectionClient) -> None:
    inspection.add_key(KEY)
    inspection.revoke(KEY)
    assert ingest(target, target.columns(), key=KEY).status == 401


@checks("I5")
@pytest.mark.parametrize(
    "content_type", [BATCH, BROWSER, PHONE, f"{BATCH}; charset=utf-8", BATCH.upper(), f"{PHONE} ;x"]
)
def test_types_of_batches_are_accepted(target: Endpoint, content_type: str) -> None:
    response = ingest(target, target.columns(), content_type=content_type)
    assert (response.status, succeeded(response)) == (200, [True])


@checks("I5")
@pytest.mark.parametrize(
    "content_type", ["", JSON, "text/plain", "application/vnd.treasuredata.v2+json", f"{BATCH}x"]
)
def test_other_type_is_refused(target: Endpoint, content_type: str) -> None:
    assert ingest(target, target.columns(), content_type=content_type).status == 400


@checks("I6")
@pytest.mark.parametrize("accept", ["text/html", "application/json", "*/*", "x"])
def test_any_accept_gets_the_type_of_the_request(target: Endpoint, accept: str) -> None:
    response = ingest(target, target.columns(), content_type=BROWSER, fields=(("Accept", accept),))
    assert (response.status, response.header("Content-Type")) == (200, BROWSER)


@checks("I7")
@pytest.mark.parametrize(
    "body",
    [b"[{}]", b"{}", b"5", b'{"records":[{}]}', b'{"events":{}}', b'{"events":null}'],
)
def test_batch_without_a_list_of_events_is_refused(target: Endpoint, body: bytes) -> None:
    assert send(target, body=body).status == 422


@checks("I7")
def test_records_beside_the_events_are_not_read(target: Endpoint) -> None:
    body = json.dumps({"records": [{}, {}], "events": [target.columns()], "more": 1}).encode()
    assert succeeded(send(target, body=body)) == [True]


@checks("I8")
@pytest.mark.parametrize(("number", "refused"), [(0, True), (500, False), (501, True)])
def test_number_of_records_is_limited(target: Endpoint, number: int, *, refused: bool) -> None:
    body = b'{"events":[' + b",".join(number * [b"5"]) + b"]}"
    assert (send(target, body=body).status == 422) == refused


@checks("I8")
def test_batch_with_too_many_records_is_one_refused_event(
    target: Endpoint, inspection: InspectionClient
) -> None:
    body = b'{"events":[' + b",".join(501 * [b"{}"]) + b"]}"
    send(target, body=body)
    event = inspection.event()
    assert (event["state"], event["rule"], event["batch"]) == ("refused", "I8", None)


# A service without a limit cannot store white space.
@checks("I9")
def test_larger_batch_is_refused(target: Endpoint) -> None:
    headers = [("Content-Type", BATCH), ("Authorization", f"TD1 {target.key}")]
    headers.append(("Content-Length", str(5 * MIB + 1)))
    with target.connect() as connection:
        target.begin(connection, "POST", route(target), headers=headers)
        if not connection.response_begins_within(PATIENCE):
            connection.write(b" " * (5 * MIB + 1))
        assert connection.receive().status == 413


@checks("I9")
@pytest.mark.parametrize(("size", "status"), [(5 * MIB, 400), (5 * MIB + 1, 413)])
def test_decoded_size_decides(target: Endpoint, size: int, status: int) -> None:
    body = gzip.compress(b" " * size)
    assert send(target, body=body, fields=(("Content-Encoding", "gzip"),)).status == status


@checks("I9")
def test_large_record_fails_alone(target: Endpoint) -> None:
    large = json.dumps(target.columns(filler=MIB * "x"))
    body = f'{{"events":[{large},{json.dumps(target.columns())}]}}'.encode()
    response = send(target, body=gzip.compress(body), fields=(("Content-Encoding", "gzip"),))
    assert (response.status, succeeded(response)) == (206, [False, True])


@checks("I10")
@pytest.mark.parametrize(
    ("coding", "encode"),
    [("gzip", gzip.compress), ("GZIP", gzip.compress), ("deflate", zlib.compress)],
)
def test_compressed_batch_is_accepted(
    target: Endpoint, coding: str, encode: Callable[[bytes], bytes]
) -> None:
    body = encode(json.dumps({"events": [target.columns()]}).encode())
    response = send(target, body=body, fields=(("Content-Encoding", coding),))
    assert (response.status, succeeded(response)) == (200, [True])


@checks("I10")
@pytest.mark.parametrize("coding", ["br", "gzip", "deflate", "x-unknown"])
def test_bytes_that_do_not_decode_are_refused(target: Endpoint, coding: str) -> None:
    fields = (("Content-Encoding", coding),)
    assert ingest(target, target.columns(), fields=fields).status == 400


@checks("I10")
def test_incomplete_compressed_batch_is_refused(target: Endpoint) -> None:
    body = gzip.compress(json.dumps({"events": [target.columns()]}).encode())
    response = send(target, body=body[:-4], fields=(("Content-Encoding", "gzip"),))
    assert response.status == 400


@checks("I10")
def test_uncompressed_batch_may_say_so(target: Endpoint, inspection: InspectionClient) -> None:
    fields = (("Content-Encoding", "identity"),)
    assert ingest(target, target.columns(), fields=fields).status == 200
    inspection.finding("I10")


@checks("I11")
@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b'{"events":[{"a":NaN}]}',
        b'{"events":[{"a":"\xff"}]}',
        b'{"events":[{"a":"\\ud800"}]}',
        b'{"events":[{"a":1}],}',
        b'{"events":[{"a":' + b"[" * 510 + b"]" * 510 + b"}]}",
    ],
    ids=["empty", "cut off", "NaN", "not UTF-8", "half a character", "comma", "513 levels"],
)
def test_body_that_is_not_strict_json_is_refused(target: Endpoint, body: bytes) -> None:
    assert send(target, body=body).status == 400


@checks("I11")
def test_single_record_may_have_a_list_of_events(target: Endpoint) -> None:
    body = json.dumps(target.columns(events=[1, 2])).encode()
    assert succeeded(send(target, body=body, content_type=SINGLE)) == [True]


@checks("I11")
def test_last_of_equal_names_counts(target: Endpoint, inspection: InspectionClient) -> None:
    send(target, body=b'{"events":[{"a":1,"a":2}]}')
    assert inspection.finding("I11")["record"]["a"] == 2
    send(target, body=b'{"events":[{"a":1}],"events":[{"a":2}]}')
    assert inspection.finding("I11")["record"]["a"] == 2


@checks("I12")
@pytest.mark.parametrize("number", [1, 3])
def test_each_record_has_a_receipt(target: Endpoint, number: int) -> None:
    uuids = [str(uuid.uuid4()) for _ in range(number)]
    response = ingest(target, *(target.columns(uuid=each) for each in uuids))
    assert response.status == 200
    assert receipts(response) == [{"success": True, "uuid": each} for each in uuids]


@checks("I12")
def test_each_record_is_an_event(target: Endpoint, inspection: InspectionClient) -> None:
    ingest(target, target.columns(number=0), target.columns(number=1))
    assert not inspection.settle(), "an event is still pending"
    events = inspection.events()
    assert [event["record"]["number"] for event in events] == [0, 1]
    assert [event["batch"] for event in events] == [
        {"index": 0, "size": 2},
        {"index": 1, "size": 2},
    ]


@checks("I13")
def test_failed_record_makes_the_status_206(target: Endpoint) -> None:
    response = ingest(target, target.columns(), FAILS, target.columns())
    assert (response.status, succeeded(response)) == (206, [True, False, True])


@checks("I13")
@pytest.mark.parametrize(
    ("record", "name"),
    [
        (None, "InvalidPropertyValueError"),
        ([], "InvalidPropertyValueError"),
        ("text", "InvalidPropertyValueError"),
        ({"uuid": "5"}, "InvalidPropertyValueError"),
        ({"": 1}, "InvalidPropertyNameError"),
    ],
)
def test_failed_record_has_an_error_in_its_receipt(
    target: Endpoint, record: object, name: str
) -> None:
    response = ingest(target, record)
    (receipt,) = receipts(response)
    assert response.status == 206
    assert receipt == {
        "success": False,
        "error": {"name": name, "description": receipt["error"]["description"]},
    }
    assert receipt["error"]["description"]


@checks("I13")
def test_failed_record_is_refused_alone(target: Endpoint, inspection: InspectionClient) -> None:
    ingest(target, FAILS, target.columns())
    assert outcomes(inspection) == [("refused", "I13"), ("ingested", None)]


@checks("I14")
def test_accepted_record_is_pending_first(target: Endpoint, inspection: InspectionClient) -> None:
    inspection.hold()
    assert ingest(target, target.columns(), target.columns()).status == 200
    assert [event["state"] for event in inspection.events()] == ["pending", "pending"]
    inspection.release()


@checks("I14")
def test_key_that_is_revoked_after_the_response_rejects(
    target: Endpoint, inspection: InspectionClient
) -> None:
    inspection.add_key(KEY)
    inspection.hold()
    assert ingest(target, target.columns(), key=KEY).status == 200
    inspection.revoke(KEY)
    inspection.release()
    assert outcomes(inspection) == [("rejected", "I14")]


@checks("I15")
@pytest.mark.parametrize("time", [NOW, str(NOW), 0, 1, "0001"])
def test_time_of_the_record_counts(
    target: Endpoint, inspection: InspectionClient, time: object
) -> None:
    ingest(target, target.columns(time=time, td_record_time=5))
    event = inspection.event()
    assert event["findings"] == []
    assert event["record"]["time"] == str(int(str(time)))
    assert event["record"]["td_record_time"] == 5


@checks("I15")
@pytest.mark.parametrize("time", [NOW * 1000, f"{NOW}000", 1.5, "now", None, True, [], "-1"])
def test_time_that_is_not_in_seconds_is_ignored(
    target: Endpoint, inspection: InspectionClient, time: object
) -> None:
    inspection.freeze(NOW)
    ingest(target, target.columns(time=time))
    assert inspection.finding("I15")["record"]["time"] == str(NOW)


@checks("I16")
def test_uuid_is_in_the_receipt(target: Endpoint) -> None:
    mine = str(uuid.uuid4())
    response = ingest(target, target.columns(uuid=mine), target.columns(), target.columns())
    given = [receipt["uuid"] for receipt in receipts(response)]
    assert given[0] == mine
    assert len({uuid.UUID(each) for each in given}) == 3


@checks("I16")
@pytest.mark.parametrize("value", ["", "5", 5, None, f"{uuid.UUID(int=5)}0"])
def test_uuid_that_is_none_fails(target: Endpoint, value: object) -> None:
    assert succeeded(ingest(target, {"uuid": value})) == [False]


@checks("I16")
def test_uuid_is_not_stored(target: Endpoint, inspection: InspectionClient) -> None:
    ingest(target, target.columns(uuid=str(uuid.uuid4())))
    assert "uuid" not in inspection.record()


@checks("I17")
def test_repeated_uuid_is_accepted_and_not_stored_again(
    target: Endpoint, inspection: InspectionClient
) -> None:
    record = target.columns(uuid=str(uuid.uuid4()))
    inspection.freeze(NOW)
    first, second = ingest(target, record), ingest(target, record)
    assert (first.status, first.body) == (second.status, second.body)
    assert outcomes(inspection) == [("ingested", None), ("deduplicated", "I17")]
    inspection.freeze(NOW + 3_599)
    ingest(target, record)
    assert outcomes(inspection) == [("deduplicated", "I17")]
    inspection.freeze(NOW + 3_600)
    ingest(target, record)
    assert outcomes(inspection) == [("ingested", None)]


@checks("I17")
def test_uuid_counts_in_its_table_alone(target: Endpoint, inspection: InspectionClient) -> None:
    record = target.columns(uuid=str(uuid.uuid4()))
    ingest(target, record)
    ingest(target, record, path=route(target, f"{target.table}_other"))
    assert outcomes(inspection) == [("ingested", None), ("ingested", None)]


@checks("I17")
def test_deduplication_can_be_turned_off(target: Endpoint, inspection: InspectionClient) -> None:
    inspection.configure(deduplicate=False)
    record = target.columns(uuid=str(uuid.uuid4()))
    ingest(target, record, record)
    assert outcomes(inspection) == [("ingested", None), ("ingested", None)]


@checks("I18")
@pytest.mark.parametrize(("types", "kept"), [("json", True), ("string", False)])
def test_values_keep_their_types(
    target: Endpoint, inspection: InspectionClient, types: str, *, kept: bool
) -> None:
    inspection.configure(value_types=types)
    values = {"number": 1.5, "yes": True, "nested": {"a": [1, None]}, "none": None}
    ingest(target, target.columns(**values))
    record = inspection.record()
    assert ({name: record[name] for name in values} == values) == kept


@checks("I19")
@pytest.mark.parametrize(
    ("content_type", "added"), [(BATCH, False), (BROWSER, True), (PHONE, True)]
)
def test_address_of_the_sender_is_added(
    target: Endpoint, inspection: InspectionClient, content_type: str, *, added: bool
) -> None:
    ingest(target, target.columns(), target.columns(td_ip="mine"), content_type=content_type)
    assert not inspection.settle(), "an event is still pending"
    first, second = (event["record"] for event in inspection.events())
    assert bool(first.get("td_ip")) == added
    assert second["td_ip"] == "mine"


@checks("I19")
def test_global_id_of_the_browser_is_filled_in(
    target: Endpoint, inspection: InspectionClient
) -> None:
    records = [target.columns(td_global_id=value) for value in ("td_global_id", "mine")]
    cookie = (("Cookie", "_td_global=of-the-browser"),)
    ingest(target, *records, content_type=BROWSER, fields=cookie)
    assert not inspection.settle(), "an event is still pending"
    stored = [event["record"]["td_global_id"] for event in inspection.events()]
    assert stored == ["of-the-browser", "mine"]
    ingest(target, records[0], content_type=PHONE, fields=cookie)
    assert inspection.record()["td_global_id"] == "td_global_id"


def global_id(target: Endpoint, *fields: tuple[str, str], key: str | None = None) -> RawResponse:
    """The response to a request for the global id."""
    headers = [("Authorization", f"TD1 {key or target.key}"), *fields]
    return target.send("GET", "/", headers=headers)


@checks("I20")
def test_browser_keeps_its_global_id_by_a_cookie(target: Endpoint) -> None:
    first = global_id(target)
    cookie, *attributes = (first.header("Set-Cookie") or "").split("; ")
    assert first.status == 200
    assert {"SameSite=None", "Secure", "HttpOnly"} <= {*attributes}
    again = global_id(target, ("Cookie", cookie))
    assert json.loads(again.body) == json.loads(first.body)
    assert json.loads(global_id(target).body) != json.loads(first.body)


@checks("I20")
def test_global_id_needs_a_key(target: Endpoint) -> None:
    assert global_id(target, key=WRONG_KEY).status == 401


@checks("I20")
def test_request_for_a_global_id_is_no_event(
    target: Endpoint, inspection: InspectionClient
) -> None:
    assert global_id(target).status == 200
    assert inspection.events() == []


@checks("I21")
@pytest.mark.parametrize("method", ["POST", "GET"])
def test_preflight_allows_what_it_asks_for(target: Endpoint, method: str) -> None:
    asked = [
        ORIGIN,
        ("Access-Control-Request-Method", method),
        ("Access-Control-Request-Headers", "authorization,content-type"),
    ]
    path = route(target) if method == "POST" else "/"
    response = target.send("OPTIONS", path, headers=asked)
    allowed = (response.header("Access-Control-Allow-Headers") or "").replace(" ", "").lower()
    methods = (response.header("Access-Control-Allow-Methods") or "").replace(" ", "")
    assert response.status == 204
    assert response.header("Access-Control-Allow-Origin") == ORIGIN[1]
    assert response.header("Access-Control-Allow-Credentials") == "true"
    assert method in methods.split(",")
    assert {"authorization", "content-type"} <= {*allowed.split(",")}


@checks("I21")
@pytest.mark.parametrize(
    ("record", "how", "status"),
    [
        ({}, {}, 200),
        (FAILS, {}, 206),
        (FAILS, {"key": WRONG_KEY}, 401),
        (FAILS, {"content_type": JSON}, 400),
        (FAILS, {"path": "/no-such-path", "key": WRONG_KEY}, 404),
    ],
)
def test_page_may_read_every_response(
    target: Endpoint, record: Any, how: dict[str, Any], status: int
) -> None:
    sent = target.columns() if record == {} else record
    response = ingest(target, sent, fields=(ORIGIN,), **how)
    assert response.status == status
    assert response.header("Access-Control-Allow-Origin") == ORIGIN[1]
    assert response.header("Access-Control-Allow-Credentials") == "true"


@checks("I22")
@pytest.mark.parametrize(
    "how",
    [{"key": WRONG_KEY}, {"content_type": JSON}, {"body": b"{}"}, {"path": "/x", "key": WRONG_KEY}],
    ids=["key", "type", "shape", "path"],
)
def test_refusal_says_what_is_wrong(target: Endpoint, how: dict[str, Any]) -> None:
    response = ingest(target, FAILS, **how)
    told = json.loads(response.body)
    assert response.status >= 400
    assert response.header("Content-Type") == JSON
    assert isinstance(told["error"], str)
    assert isinstance(told["message"], str)


@checks("I22")
def test_reason_may_be_in_the_refusal(target: Endpoint, inspection: InspectionClient) -> None:
    inspection.configure(explain=True)
    told = json.loads(send(target, body=b"{}").body)
    assert (told["rule"], told["message"]) == ("I7", inspection.event()["reason"])


@checks("I23")
def test_preflight_to_a_path_that_is_not_served_is_not_found(target: Endpoint) -> None:
    assert target.send("OPTIONS", f"/{target.table}", headers=[ORIGIN]).status == 404


@checks("I23")
def test_preflight_to_a_path_that_is_not_served_is_a_refused_event(
    target: Endpoint, inspection: InspectionClient
) -> None:
    target.send("OPTIONS", f"/{target.table}", headers=[ORIGIN])
    event = inspection.event()
    assert (event["state"], event["rule"]) == ("refused", "R6")
