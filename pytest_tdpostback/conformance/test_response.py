"""Checks of the rules of the response (W1 to W4)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from pytest_tdpostback.conformance.catalogue import checks
from pytest_tdpostback.conformance.target import JSON, Endpoint

if TYPE_CHECKING:
    from pytest_tdpostback.conformance.inspection import InspectionClient
    from pytest_tdpostback.conformance.wire import RawResponse

DATE = re.compile(
    r"(Mon|Tue|Wed|Thu|Fri|Sat|Sun), \d\d "
    r"(Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec) \d{4} \d\d:\d\d:\d\d GMT"
)
REFUSED = {
    "bad request": (400, {"body": b"[]"}),
    "forbidden": (403, {"headers": [("Content-Type", JSON)]}),
}


def assert_shaped(target: Endpoint, response: RawResponse, length: int = 2) -> None:
    """Check that the fields are those of the documented response, in its order.

    A server in front of the service may add fields, and `Date` and `Connection` are its own.
    """
    fields = {name.lower(): value for name, value in response.headers}
    expected = ["content-type", "date", "strict-transport-security", "content-length", "connection"]
    if not target.profile.strict_transport_security:
        expected.remove("strict-transport-security")
    assert fields.get("content-type") == JSON
    assert DATE.fullmatch(fields.get("date", ""))
    assert fields.get("content-length") == str(length)
    assert fields.get("strict-transport-security", "max-age=31536000") == "max-age=31536000"
    if response.proxy_server:
        own = ("date", "connection", "server")
        expected = [name for name in expected if name not in own]
        assert [name for name in fields if name not in own] == expected
    else:
        assert [name.lower() for name, _ in response.headers] == expected
        assert fields.get("connection") == "keep-alive"


@checks("W1")
def test_response_is_the_documented_one(target: Endpoint) -> None:
    response = target.post()
    assert (response.status, response.body) == (200, b"{}")
    assert_shaped(target, response)


@checks("W2")
@pytest.mark.parametrize(("status", "how"), REFUSED.values(), ids=list(REFUSED))
def test_refusal_has_the_shape_of_the_response(
    target: Endpoint, status: int, how: dict[str, object]
) -> None:
    response = target.post(**how)
    assert (response.status, response.body) == (status, b"{}")
    assert_shaped(target, response)


@checks("W3")
@pytest.mark.usefixtures("own_connection")
def test_connection_serves_the_next_request(target: Endpoint) -> None:
    with target.connect() as connection:
        for rejected in (False, True, False):
            body = b"[]" if rejected else target.body()
            response = target.post(connection=connection, body=body)
            assert response.header("Connection") == "keep-alive"


@checks("W3")
@pytest.mark.usefixtures("own_connection")
@pytest.mark.parametrize(("version", "fields"), [("1.1", [("Connection", "close")]), ("1.0", [])])
def test_connection_ends_where_the_client_wants_it(
    target: Endpoint, version: str, fields: list[tuple[str, str]]
) -> None:
    headers = [("Content-Type", JSON), ("X-TD-Write-Key", target.key), *fields]
    with target.connect() as connection:
        response = target.post(connection=connection, headers=headers, version=version)
        assert (response.status, response.header("Connection")) == (200, "close")
        assert connection.ended()


@checks("W4")
@pytest.mark.parametrize(("status", "how"), REFUSED.values(), ids=list(REFUSED))
def test_reason_is_not_in_the_response(
    target: Endpoint, status: int, how: dict[str, object]
) -> None:
    response = target.post(**how)
    assert (response.status, response.body) == (status, b"{}")


@checks("W4")
def test_reason_is_on_the_event(target: Endpoint, inspection: InspectionClient) -> None:
    target.post(body=b"[]")
    event = inspection.event()
    assert event["rule"] == "B3"
    assert event["reason"]


@checks("W4")
def test_reason_may_be_in_the_response(target: Endpoint, inspection: InspectionClient) -> None:
    inspection.configure(explain=True)
    assert b"B3" in target.post(body=b"[]").body
