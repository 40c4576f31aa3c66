"""What shipped clients of the Data Ingestion API send, over real sockets."""

import gzip
import json
from typing import Any

import pytest
import requests

from pytest_tdpostback import profiles
from tests.http_client import HttpClient

BATCH, BROWSER, PHONE, SINGLE = (
    f"application/vnd.treasuredata.v1{kind}+json" for kind in ("", ".js", ".mobile", ".single")
)
UUID = "6b0cbb0e-4f0f-4f4e-9d2b-2f0a7d1c9e11"
ANDROID = "TD-Android-SDK/1.0.1 (Pixel 7 14)"
IOS = "TD-iOS-SDK/1.0.0 (iOS 17.2)"
LAMBDA = "python-requests/2.32.3"

CLIENTS: dict[str, tuple[dict[str, str], bytes, list[dict[str, Any]]]] = {
    # name: header fields, body, the records
    "browser": (
        {"Content-Type": BROWSER, "Accept": BROWSER, "Origin": "https://shop.example"},
        b'{"events":[{"td_version":"4.4.3","step":1}]}',
        [{"td_version": "4.4.3", "step": 1, "td_ip": "127.0.0.1"}],
    ),
    "Android, compressed": (
        {"Content-Type": PHONE, "User-Agent": ANDROID, "Content-Encoding": "gzip"},
        gzip.compress(json.dumps({"events": [{"uuid": UUID, "k": 1}, {"k": None}]}).encode()),
        [{"k": 1, "td_ip": "127.0.0.1"}, {"k": None, "td_ip": "127.0.0.1"}],
    ),
    "Android, without the address": (
        {"Content-Type": BATCH, "Accept": BATCH, "User-Agent": ANDROID},
        b'{"events":[{"k":1}]}',
        [{"k": 1}],
    ),
    "iOS, compressed": (
        {"Content-Type": BROWSER, "User-Agent": IOS, "Content-Encoding": "gzip"},
        gzip.compress(b'{"events" : [{"td_ip":"10.0.0.1","time":1700000000}]}'),
        [{"td_ip": "10.0.0.1", "time": "1700000000"}],
    ),
    "Lambda": (
        {"Content-Type": BATCH, "User-Agent": LAMBDA, "Accept": "*/*"},
        json.dumps({"events": [{"partition": "p-0", "data": {"a": [1, "é"]}}] * 3}).encode(),
        [{"partition": "p-0", "data": {"a": [1, "é"]}}] * 3,
    ),
    "Responsys": (
        {"Content-Type": SINGLE, "User-Agent": LAMBDA, "Accept": "*/*"},
        b'{"ma": "Responsys", "status": 200, "recipients_batch": [{"email": "a@example.org"}]}',
        [{"ma": "Responsys", "status": 200, "recipients_batch": [{"email": "a@example.org"}]}],
    ),
    "curl": (
        {"content-type": f"{BATCH}; charset=utf-8", "User-Agent": "curl/8.5.0"},
        b'{"events":\n[{"a":1},\n {"a":2}\n]}\n',
        [{"a": 1}, {"a": 2}],
    ),
}


@pytest.fixture
def ingestion(make_tdpostback):
    return make_tdpostback(profile="ingestion-v1")


def send(postback, headers, body, *, path="/shop/orders", key=None):
    fields = {"Authorization": f"TD1 {key or postback.write_key}", **headers}
    lines = [f"POST {path} HTTP/1.1", "Host: us01.records.in.treasuredata.com"]
    lines += [f"{name}: {value}" for name, value in fields.items()]
    lines += [f"Content-Length: {len(body)}", "", ""]
    with HttpClient.to(postback.url) as client:
        client.send("\r\n".join(lines).encode() + body)
        return client.read_response()


@pytest.mark.parametrize("client", CLIENTS)
def test_what_a_client_sends_is_stored_record_by_record(ingestion, client):
    headers, body, records = CLIENTS[client]
    response = send(ingestion, headers, body)
    assert response.status == 200
    receipts = json.loads(response.body)["receipts"]
    assert [receipt["success"] for receipt in receipts] == [True] * len(records)
    ingestion.settle()
    for record, wanted in zip(ingestion.records("shop", "orders"), records, strict=True):
        assert {"time": record["time"]} | wanted == dict(record)
    assert {event.request.body for event in ingestion.events} == {body}


def test_a_uuid_comes_back_in_the_receipt_and_a_repeated_one_is_not_stored_again(ingestion):
    headers, body, _ = CLIENTS["Android, compressed"]
    for _ in range(2):
        response = send(ingestion, headers, body)
        assert json.loads(response.body)["receipts"][0] == {"success": True, "uuid": UUID}
    ingestion.settle()
    assert [str(event.state) for event in ingestion.events] == [
        "ingested",
        "ingested",
        "deduplicated",
        "ingested",
    ]
    assert ingestion.account.balanced
    assert ingestion.account.deduplicated == 1


def test_a_client_that_sends_records_instead_of_events_is_told_so(ingestion):
    response = send(ingestion, {"Content-Type": BATCH}, b'{"records":[{"a":1},{"a":2}]}')
    assert response.status == 422
    (event,) = ingestion.assert_refused("shop", "orders", rule="I7")
    assert "'records', which is not read" in event.reason


@pytest.mark.parametrize(
    ("client", "states"),
    [("iOS, compressed", ["ingested"]), ("browser", ["refused"]), ("Lambda", [])],
)
@pytest.mark.tdpostback(on_finding="ignore")
def test_a_206_is_a_finding_where_the_client_loses_or_repeats_records(ingestion, client, states):
    headers, _, _ = CLIENTS[client]
    body = json.dumps({"events": [{"a": 1}, {"uuid": "none"}]}).encode()
    headers = {name: value for name, value in headers.items() if name != "Content-Encoding"}
    assert send(ingestion, headers, body).status == 206
    ingestion.settle()
    warned = [str(e.state) for e in ingestion.events if any(f.rule == "I13" for f in e.findings)]
    assert warned == states


LEGACY = ["/js/v3/event/shop/orders", "/android/v3/event", "/ios/v3/event"]


@pytest.mark.parametrize("path", LEGACY)
@pytest.mark.parametrize("profile", ["ingestion-v1", "openapi-1.0.0"])
def test_a_path_of_an_older_sdk_is_refused_with_the_name_of_the_sdk(make_tdpostback, path, profile):
    postback = make_tdpostback(profile=profile)
    assert send(postback, {"Content-Type": "application/json"}, b"{}", path=path).status == 404
    (event,) = postback.assert_refused(rule="R6")
    assert f"td-{path.split('/')[1]}-sdk before" in event.reason


@pytest.mark.parametrize(
    ("path", "profile"), [("/shop/orders", "I"), ("/postback/v3/event/shop/orders", "V2")]
)
def test_a_records_host_speaks_both_apis_by_path(tdpostback, path, profile):
    headers = {"Content-Type": BATCH if profile == "I" else "application/json"}
    body = b'{"events":[{"a":1}]}'
    response = send(tdpostback, headers, body, path=path)
    assert response.status == 200
    record = tdpostback.assert_ingested("shop", "orders")
    assert dict(record) == {"time": record["time"]} | (
        {"a": 1} if profile == "I" else {"events": [{"a": 1}]}
    )


@pytest.mark.parametrize("host", sorted(profiles["ingestion-v1"].hosts))
def test_every_records_host_leads_to_the_ingestion_api_inside_a_redirect(tdpostback, host):
    headers = {"Authorization": f"TD1 {tdpostback.write_key}", "Content-Type": BATCH}
    with tdpostback.redirect():
        response = requests.post(
            f"https://{host}/shop/orders", data='{"events":[{"a":1}]}', headers=headers, timeout=9
        )
    assert (response.status_code, response.headers["Content-Type"]) == (200, BATCH)
    tdpostback.assert_ingested("shop", "orders", a=1)
