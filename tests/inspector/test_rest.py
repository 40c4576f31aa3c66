"""The inspection interface: there only when it was asked for, and silent about keys."""

from __future__ import annotations

import http.client
import json
from contextlib import closing

import pytest
import requests
from werkzeug.test import Client

from pytest_tdpostback import PostbackServer
from pytest_tdpostback.conformance.target import Endpoint
from pytest_tdpostback.conformance.wire import RawConnection
from pytest_tdpostback.inspector.rest import inspected
from pytest_tdpostback.protocol.profiles import DEFAULT

KEY = "1/secret-of-the-test"


@pytest.fixture
def server():
    with PostbackServer(write_keys=[KEY], inspection=True) as running:
        yield running


def ask(url, method, name, body=b""):
    with RawConnection(url) as connection:
        fields = [("Content-Type", "application/json"), ("Content-Length", str(len(body)))]
        connection.send(method, f"/.tdpostback/{name}", fields)
        connection.write(body)
        reply = connection.receive(method)
    return reply.status, reply.body


def told(server, method, name, **members):
    status, body = ask(server.url, method, name, json.dumps(members).encode())
    assert status == 200, body
    return json.loads(body)


def send(server, key=KEY, **columns):
    target = Endpoint(server.url, key, "web", "clicks", DEFAULT, "run")
    return target.post(columns)


def test_the_interface_is_off_unless_the_setting_asks_for_it() -> None:
    with PostbackServer() as server:
        assert ask(server.url, "GET", "") == (404, b"{}")
        assert [event.rule for event in server.postback.events] == ["R6"]


def test_a_call_of_the_interface_is_no_event(server) -> None:
    assert told(server, "GET", "")["seq"] == 0
    assert len(server.postback.events) == 0


def test_a_response_to_head_has_no_body(server) -> None:
    with RawConnection(server.url) as connection:
        for method, status in (("HEAD", 404), ("GET", 200)):
            connection.send(method, "/.tdpostback/", [])
            assert connection.receive(method).status == status


def test_events_and_records_as_json(server) -> None:
    send(server, a=1)
    assert told(server, "POST", "settle") == {"pending": []}
    (event,) = told(server, "GET", "events?since=0")
    assert (event["seq"], event["state"], event["database"]) == (1, "ingested", "web")
    assert told(server, "GET", "events?since=1") == []
    (row,) = told(server, "GET", "records?database=web&table=clicks")
    assert row["columns"]["a"] == 1
    assert told(server, "GET", "records?database=other") == []
    told(server, "DELETE", "events")
    assert told(server, "GET", "events") == []


def test_no_response_holds_a_whole_key(server) -> None:
    send(server)
    send(server, key="1/unknown-key-of-somebody")
    told(server, "POST", "settle")
    server.postback.assert_auth_failed(count=1)
    for name in ("", "events", "records"):
        _, body = ask(server.url, "GET", name)
        assert b"secret-of-the-test" not in body
        assert b"unknown-key-of-somebody" not in body
        assert str(server.write_key).encode() not in body


def test_settle_waits_for_what_is_held(server) -> None:
    told(server, "POST", "hold")
    send(server)
    assert told(server, "POST", "settle?timeout=0.01") == {"pending": [1]}
    told(server, "POST", "release")
    assert told(server, "POST", "settle") == {"pending": []}


def test_what_the_test_holds_only_the_test_releases(server):
    with server.postback.hold_validation():
        send(server)
        status, body = ask(server.url, "POST", "release")
        assert (status, b"not held by the REST interface, only by the test" in body) == (400, True)
        told(server, "POST", "hold")
        told(server, "POST", "release")
        assert told(server, "POST", "settle?timeout=0.01") == {"pending": [1]}
    assert told(server, "POST", "settle") == {"pending": []}


@pytest.mark.parametrize("chunked", [False, True])
def test_max_body_is_about_events_alone(chunked):
    body = json.dumps({"max_body": 1_000}).encode()
    with PostbackServer(write_keys=[KEY], inspection=True, max_body=10) as server:
        headers = {"Content-Type": "application/json"}
        url = f"{server.url}/.tdpostback/settings"
        sent = iter([body]) if chunked else body
        response = requests.patch(url, data=sent, headers=headers, timeout=20)
        assert (response.status_code, server.postback.settings.max_body) == (200, 1_000)


def test_the_server_responds_while_settle_waits(server) -> None:
    told(server, "POST", "hold")
    send(server)
    with RawConnection(server.url) as waiting:
        fields = [("Content-Type", "application/json"), ("Content-Length", "0")]
        waiting.send("POST", "/.tdpostback/settle?timeout=30", fields)
        told(server, "POST", "release")
        assert json.loads(waiting.receive().body) == {"pending": []}


def test_keys_clock_and_settings_can_be_changed(server) -> None:
    told(server, "POST", "keys", key="1/b", tables=["clicks"])
    assert "1/b" in server.postback.keys
    told(server, "DELETE", "keys", key="1/b")
    assert "1/b" not in server.postback.keys
    told(server, "PUT", "clock", at=1000)
    assert told(server, "GET", "")["now"] == server.postback.clock.now() == 1000
    told(server, "DELETE", "clock")
    assert server.postback.clock.now() > 1000
    told(server, "PATCH", "settings", value_types="string", explain=True)
    assert server.postback.settings.value_types == "string"
    send(server, a=1)
    told(server, "POST", "settle")
    assert told(server, "GET", "records")[0]["columns"]["a"] == "1"


def test_a_changed_setting_applies_to_requests_like_earlier_ones(server) -> None:
    assert send(server, key="malformed").status == 200
    told(server, "PATCH", "settings", malformed_key="refuse")
    assert send(server, key="malformed").status == 403
    server.postback.assert_auth_failed(count=1)


@pytest.mark.parametrize(
    ("question", "status", "text"),
    [
        (("GET", "nothing", b""), 404, "GET /.tdpostback/events"),
        (("PUT", "events", b""), 404, "no such call"),
        (("POST", "release", b""), 400, "validation is not held"),
        (("POST", "settle?timeout=soon", b""), 400, "a number of seconds"),
        (("POST", "keys", b"{"), 400, "Expecting"),
        (("POST", "keys", b"[]"), 400, "JSON object"),
        (("POST", "keys", b"{}"), 400, "'key' is missing"),
        (("POST", "keys", b'{"key": "1/a", "table": "x"}'), 400, "'table' is unknown"),
        (("POST", "keys", b'{"key": "no-slash"}'), 400, "account/secret"),
        (("POST", "keys", b'{"key": "1/\\ud800abc"}'), 400, "account/secret"),
        (("DELETE", "keys", b'{"key": "1/never"}'), 400, "is not valid here"),
        (("POST", "keys", b" " * (1 << 20) + b"{}"), 413, "the body has 1048578 bytes"),
        (("PATCH", "settings", b'{"value_type": "json"}'), 400, "did you mean value_types"),
        *(
            (("PATCH", "settings", f'{{"{name}": {value}}}'.encode()), 400, "max_body, explain, in")
            for name, value in (("tls", "true"), ("redirect", "true"), ("extra_hosts", '["a"]'))
        ),
        *(
            (("GET", f"events?since={since}", b""), 400, "is not a sequence number")
            for since in ("nan", "inf", "-1", "x", "1.5", "", "9" * 5_000)
        ),
        (("GET", "events?sinse=1", b""), 400, "'sinse' is unknown; known: since"),
        (("POST", "hold?table=a", b""), 400, "'table' is unknown; known: none"),
    ],
)
def test_a_wrong_call_is_refused_with_the_reason(server, question, status, text) -> None:
    answered, told_body = ask(server.url, *question)
    assert (answered, text in told_body.decode()) == (status, True)


def test_an_error_inside_a_call_reaches_the_check(server, monkeypatch) -> None:
    def breaks(*_):
        raise RuntimeError("broken")

    monkeypatch.setattr(PostbackServer, "inspection", breaks)
    assert ask(server.url, "GET", "")[0] == 500
    with pytest.raises(RuntimeError, match="broken"):
        server.check()


def test_the_interface_works_as_a_wsgi_application() -> None:
    server = PostbackServer()
    client = Client(inspected(server.collector, server.postback.wsgi_app))
    assert '"seq": 0' in client.get("/.tdpostback/").text
    assert client.get("/elsewhere").status_code == 404
    assert '"seq": 1' in client.get("/.tdpostback/").text


def call(server, method, name, body=b"{}", **headers):
    fields = {"Host": server.url.partition("//")[2], "Content-Type": "application/json"}
    fields |= {key.replace("_", "-"): value for key, value in headers.items()}
    with closing(http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)) as connection:
        connection.putrequest(method, f"/.tdpostback/{name}", skip_host=True)
        for key, value in {**fields, "Content-Length": str(len(body))}.items():
            connection.putheader(key, value)
        connection.endheaders(body)
        with connection.getresponse() as response:
            return response.status


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost:8470", "LOCALHOST.", "[::1]:80"])
def test_a_loopback_host_may_call(server, host) -> None:
    assert call(server, "GET", "events", Host=host) == 200


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "", "10.0.0.1"])
def test_another_host_may_not_call(server, host) -> None:
    """A name of another site can resolve to this machine (DNS rebinding)."""
    assert call(server, "GET", "events", Host=host) == 403
    assert call(server, "POST", "hold", Host=host) == 403
    assert not server.collector.holds


def test_a_page_of_another_origin_may_not_call(server) -> None:
    assert call(server, "POST", "hold", Origin="https://evil.example") == 403
    assert call(server, "POST", "hold", Origin="null") == 403
    assert not server.collector.holds
    assert call(server, "POST", "hold", Origin=server.url) == 200
    assert server.collector.holds
    assert call(server, "POST", "release") == 200


@pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded", ""])
def test_a_simple_request_changes_nothing(server, content_type) -> None:
    """A page may send these to any site without asking it first."""
    assert call(server, "POST", "keys", b'{"key": "1/a"}', Content_Type=content_type) == 415
    assert "1/a" not in server.postback.keys


@pytest.mark.parametrize(
    "body", [b"[" * 5_000 + b"]" * 5_000, b'{"a":' * 5_000 + b"1" + b"}" * 5_000]
)
def test_nested_brackets_are_a_bad_request(server, body) -> None:
    assert call(server, "POST", "keys", body) == 400


@pytest.mark.parametrize("timeout", ["nan", "inf", "1e10", "-1"])
def test_a_timeout_out_of_range_is_a_bad_request(server, timeout) -> None:
    assert call(server, "POST", f"settle?timeout={timeout}") == 400


def test_a_key_that_was_sent_as_data_is_shortened_too(server):
    """A key of any shape that is registered is found by value, as a value and as a name."""
    key = server.postback.keys.add("1/a-key-of-another-shape")
    requests.post(
        server.postback.event_url("db", "tbl"),
        json={"sent": key, "a-key-of-another-shape": 1},
        headers={"X-TD-Write-Key": str(server.write_key)},
        timeout=20,
    )
    for path in ("events", "records"):
        response = requests.get(f"{server.url}/.tdpostback/{path}", timeout=20)
        assert response.status_code == 200
        assert "another-shape" not in response.text


def test_a_host_that_is_no_address_is_forbidden(server):
    response = requests.get(
        f"{server.url}/.tdpostback/events", headers={"Host": "[::1"}, timeout=20
    )
    assert response.status_code == 403


def test_no_response_holds_a_character_that_a_terminal_acts_on(server):
    send(server, **{"\x7f\x9b\u202e": "\x1b\u2028"})
    told(server, "POST", "settle")
    _, body = ask(server.url, "GET", "records")
    assert body.isascii()
    assert body.decode().isprintable()
    assert json.loads(body)[0]["columns"]["\x7f\x9b\u202e"] == "\x1b\u2028"
