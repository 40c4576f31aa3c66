"""Checks of the rules of the body (B1 to B11)."""

from __future__ import annotations

import gzip
from typing import TYPE_CHECKING

import pytest

from pytest_tdpostback.conformance.catalogue import checks
from pytest_tdpostback.conformance.target import JSON, MARK, WRONG_KEY, Endpoint

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_tdpostback.conformance.inspection import InspectionClient
    from pytest_tdpostback.conformance.wire import RawConnection, RawResponse

V2_LIMIT = 1_048_064
PATIENCE = 2.0
"""Seconds in which a target may refuse an announced body before it is sent."""
ALLOWED_TYPES = [JSON, "application/json; charset=utf-8", "application/json;", "Application/JSON"]
OTHER_TYPES = ["text/json", "application/jsonx", "application/x-www-form-urlencoded", "text/plain"]
NOT_STRICT = {
    "NaN": b'{"a": NaN}',
    "Infinity": b'{"a": Infinity}',
    "negative infinity": b'{"a": -Infinity}',
    "lone surrogate": b'{"a": "\\ud800"}',
    "byte order mark": b'\xef\xbb\xbf{"a": 1}',
    "trailing comma": b'{"a": 1,}',
    "not UTF-8": b'{"a": "\xff"}',
    "not UTF-8 but UTF-16": '{"a": 1}'.encode("utf-16"),
    "beyond a double": b'{"a": 1e999}',
    "4,301 digits": b'{"a": 1' + 4_300 * b"0" + b"}",
    "no JSON": b"a=1&b=2",
    "cut off": b'{"a": ',
    "more than one": b'{"a": 1} {"b": 2}',
    "single quotes": b"{'a': 1}",
    "control character": b'{"a": "\n"}',
}
STRICT = {
    "surrogate pair": b"\\ud83d\\ude00",
    "escaped backslash": b"\\\\ud800",
    "UTF-8": "\u00e9\U0001f600".encode(),
}


def typed(target: Endpoint, *content_type: str) -> list[tuple[str, str]]:
    """The key, and a content type if one is given."""
    types = [("Content-Type", value) for value in content_type]
    return [*types, ("X-TD-Write-Key", target.key)]


@checks("B1")
@pytest.mark.parametrize("content_type", ALLOWED_TYPES)
def test_json_type_is_accepted(target: Endpoint, content_type: str) -> None:
    assert target.post(headers=typed(target, content_type)).status == 200


@checks("B1")
@pytest.mark.parametrize("content_type", OTHER_TYPES)
def test_other_type_is_refused(target: Endpoint, content_type: str) -> None:
    assert target.post(headers=typed(target, content_type)).status == 400


@checks("B1")
def test_missing_type_is_refused(target: Endpoint) -> None:
    assert target.post(headers=typed(target)).status == 400


@checks("B2")
@pytest.mark.parametrize("body", NOT_STRICT.values(), ids=list(NOT_STRICT))
def test_body_that_is_not_strict_json_is_refused(target: Endpoint, body: bytes) -> None:
    assert target.post(body=body).status == 400


@checks("B2")
@pytest.mark.parametrize("text", STRICT.values(), ids=list(STRICT))
def test_strict_json_is_accepted(target: Endpoint, text: bytes) -> None:
    body = target.body(a="text").replace(b'"text"', b'"' + text + b'"')
    assert target.post(body=body).status == 200


@checks("B2")
@pytest.mark.parametrize("number", [b"1e308", b"1" + 4_299 * b"0"], ids=["1e308", "4,300 digits"])
def test_largest_number_is_accepted(target: Endpoint, number: bytes) -> None:
    assert target.post(body=target.body(a=0).replace(b": 0}", b": " + number + b"}")).status == 200


@checks("B3")
@pytest.mark.parametrize("body", [b"[]", b'[{"a": 1}]', b"null", b'"a"', b"1", b"true"])
def test_body_that_is_not_an_object_is_refused(target: Endpoint, body: bytes) -> None:
    assert target.post(body=body).status == 400


@checks("B4")
def test_empty_body_is_refused(target: Endpoint) -> None:
    assert target.post(body=b"").status == 400


@checks("B5")
def test_last_of_duplicate_keys_counts(target: Endpoint, inspection: InspectionClient) -> None:
    target.post(body=target.body(a=1).replace(b'"a": 1', b'"a": 1, "a": 2'))
    assert inspection.finding("B5")["record"]["a"] == 2


@checks("B6", profiles=("v2-2.0.0",))
def test_largest_body_is_accepted(target: Endpoint, inspection: InspectionClient) -> None:
    body = target.body(filler="")
    body = body.replace(b'""', b'"' + (V2_LIMIT - len(body)) * b"x" + b'"')
    assert len(body) == V2_LIMIT
    assert target.post(body=body).status == 200
    assert inspection.event()["state"] == "ingested"
    inspection.clear()  # or each later check that lists records gets this one too


# With the right key, a service without a limit would store it.
@checks("B6", profiles=("v2-2.0.0",))
def test_larger_body_is_refused(target: Endpoint) -> None:
    body = target.body(filler="")
    body = body.replace(b'""', b'"' + (V2_LIMIT + 1 - len(body)) * b"x" + b'"')
    with target.connect() as connection:
        fields = [("Content-Type", JSON), ("X-TD-Write-Key", WRONG_KEY)]
        fields.append(("Content-Length", str(len(body))))
        target.begin(connection, "POST", headers=fields)
        if not connection.response_begins_within(PATIENCE):
            connection.write(body)
        assert connection.receive().status == 413


@checks("B6")
@pytest.mark.usefixtures("own_connection")
def test_announced_length_decides_before_the_body(
    target: Endpoint, inspection: InspectionClient
) -> None:
    limit = inspection.about()["settings"]["max_body"]
    limit = min(limit, target.postback.body_limit or limit)
    assert announce(target, limit) == 100
    assert announce(target, limit + 1) == 413
    assert inspection.event()["rule"] == "B6"


@checks("B6")
@pytest.mark.usefixtures("own_connection")
def test_length_that_is_not_announced_decides_too(
    target: Endpoint, inspection: InspectionClient
) -> None:
    inspection.configure(max_body=200)
    body = target.body(filler=300 * "x")
    assert chunked(target, body).status == 413
    assert inspection.event()["rule"] == "B6"


@checks("B7")
@pytest.mark.parametrize(("levels", "status"), [(512, 200), (513, 400)])
def test_depth_is_limited(target: Endpoint, levels: int, status: int) -> None:
    inner = (levels - 1) * b"[" + (levels - 1) * b"]"
    assert (
        target.post(body=target.body(a=0).replace(b": 0}", b": " + inner + b"}")).status == status
    )


@checks("B8")
@pytest.mark.parametrize("compress", [gzip.compress, bytes], ids=["compressed", "only declared"])
def test_compressed_body_is_refused(target: Endpoint, compress: Callable[[bytes], bytes]) -> None:
    fields = [*typed(target, JSON), ("Content-Encoding", "gzip")]
    assert target.post(headers=fields, body=compress(target.body())).status == 400


@checks("B8")
def test_identity_is_accepted(target: Endpoint) -> None:
    fields = [*typed(target, JSON), ("Content-Encoding", "identity")]
    assert target.post(headers=fields).status == 200


@checks("B8")
def test_identity_is_a_finding(target: Endpoint, inspection: InspectionClient) -> None:
    target.post(headers=[*typed(target, JSON), ("Content-Encoding", "identity")])
    inspection.finding("B8")


@checks("B9")
@pytest.mark.parametrize("types", [(), ("text/plain",), ("text/plain; charset=utf-8",)])
def test_empty_post_with_parameters_is_accepted(target: Endpoint, types: tuple[str, ...]) -> None:
    response = target.pixel(("a", "1"), method="POST", headers=typed(target, *types))
    assert response.status == 200


@checks("B9")
def test_empty_post_without_parameters_is_refused(target: Endpoint) -> None:
    assert target.post(headers=typed(target), body=b"").status == 400


@checks("B9")
def test_parameters_of_an_empty_post_are_the_record(
    target: Endpoint, inspection: InspectionClient
) -> None:
    target.pixel(("a", "1"), ("td_ua", "td_ua"), method="POST", headers=[("User-Agent", "check")])
    record = inspection.finding("B9")["record"]
    record.pop("time")
    assert record == {MARK: target.run, "a": "1", "td_ua": "check"}


@checks("B10")
def test_parameters_beside_a_body_are_accepted(target: Endpoint) -> None:
    assert target.post(query="extra=1").status == 200


@checks("B10")
def test_parameters_beside_a_body_are_not_stored(
    target: Endpoint, inspection: InspectionClient
) -> None:
    target.post(query="extra=1")
    assert "extra" not in inspection.finding("B10")["record"]


@checks("B10")
def test_parameters_beside_a_body_may_be_stored(
    target: Endpoint, inspection: InspectionClient
) -> None:
    inspection.configure(url_parameters="store")
    target.post({"both": 1}, query="extra=1&both=2")
    event = inspection.event()
    assert (event["record"]["extra"], event["record"]["both"]) == ("1", 1)
    assert "B10" not in [found["rule"] for found in event["findings"]]


@checks("B11")
@pytest.mark.usefixtures("own_connection")
def test_chunked_body_is_accepted(target: Endpoint) -> None:
    assert chunked(target, target.body(a=1)).status == 200


@checks("B11")
@pytest.mark.usefixtures("own_connection")
def test_client_is_told_to_continue(target: Endpoint) -> None:
    body = target.body()
    with target.connect() as connection:
        begin_expecting(target, connection, len(body))
        assert connection.response_begins_within(PATIENCE)
        connection.write(body)
        response = connection.receive()
    assert (response.interim, response.status) == ((100,), 200)


@checks("B11")
@pytest.mark.usefixtures("own_connection")
def test_chunks_are_put_together(target: Endpoint, inspection: InspectionClient) -> None:
    chunked(target, target.body(a="chunk by chunk"))
    assert inspection.record()["a"] == "chunk by chunk"


def announce(target: Endpoint, length: int) -> int:
    """The status of the first response to a body that is announced and never sent."""
    with target.connect() as connection:
        begin_expecting(target, connection, length)
        return connection.interim()


def begin_expecting(target: Endpoint, connection: RawConnection, length: int) -> None:
    """Send a head that announces a body of `length` bytes and waits for `100 Continue`."""
    fields = [("Content-Length", str(length)), ("Expect", "100-continue")]
    target.begin(connection, "POST", headers=[*typed(target, JSON), *fields])


def chunked(target: Endpoint, body: bytes) -> RawResponse:
    """The response to `body` in chunks of seven bytes."""
    pieces = [body[start : start + 7] for start in range(0, len(body), 7)]
    with target.connect() as connection:
        fields = [*typed(target, JSON), ("Transfer-Encoding", "chunked")]
        target.begin(connection, "POST", headers=fields)
        connection.write(b"".join(b"%x\r\n%s\r\n" % (len(each), each) for each in pieces))
        connection.write(b"0\r\n\r\n")
        return connection.receive()
