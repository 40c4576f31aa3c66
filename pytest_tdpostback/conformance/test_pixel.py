"""Checks of the rules of the tracking pixel (P1 to P10)."""

from __future__ import annotations

import struct
import time
from typing import TYPE_CHECKING
from urllib.parse import quote

import pytest

from pytest_tdpostback.conformance.catalogue import checks
from pytest_tdpostback.conformance.target import JSON, MARK, Endpoint

if TYPE_CHECKING:
    from pytest_tdpostback.conformance.inspection import InspectionClient

PIXEL = ("td_format", "pixel")
PAGE = "https://shop.example/thanks?td_global_id=td_global_id&b=1"


def cookie_of(target: Endpoint) -> str:
    """The cookie that a first response sets, as `name=value`."""
    return (target.pixel(PIXEL).header("Set-Cookie") or "").partition(";")[0]


@checks("P1")
def test_pixel_is_accepted(target: Endpoint) -> None:
    assert target.pixel(PIXEL, ("a", "1")).status == 200


@checks("P1")
def test_parameters_are_columns_of_strings(target: Endpoint, inspection: InspectionClient) -> None:
    target.pixel(PIXEL, ("a", "1"), ("b", "x y\u00e9"), ("c", ""))
    record = inspection.record()
    record.pop("time")
    assert record == {MARK: target.run, "a": "1", "b": "x y\u00e9", "c": ""}


@checks("P2")
def test_parameters_for_the_service_are_not_columns(
    target: Endpoint, inspection: InspectionClient
) -> None:
    when = str(int(time.time()) - 60)
    target.pixel(PIXEL, ("td_record_time", when), ("td_redirect", PAGE))
    assert inspection.record() == {"time": when, MARK: target.run}


@checks("P3")
def test_placeholders_are_filled_in(target: Endpoint, inspection: InspectionClient) -> None:
    cookie = cookie_of(target)
    inspection.begin()
    names = ("td_ip", "td_ua", "td_global_id")
    with target.connect() as connection:
        fields = [("User-Agent", "contract check"), ("Cookie", cookie)]
        pairs = [(name, name) for name in names]
        target.pixel(PIXEL, *pairs, headers=fields, connection=connection)
        address = connection.address
    record = inspection.record()
    expected = (address, "contract check", cookie.partition("=")[2])
    assert tuple(record[name] for name in names) == expected


@checks("P3")
def test_other_values_are_stored_as_they_are(
    target: Endpoint, inspection: InspectionClient
) -> None:
    sent = {"td_ip": "10.0.0.1", "td_ua": "td_ip", "td_global_id": "x", "other": "td_ip"}
    target.pixel(PIXEL, *sent.items())
    record = inspection.record()
    assert {name: record[name] for name in sent} == sent


@checks("P4")
def test_response_is_an_image_of_one_pixel(target: Endpoint) -> None:
    response = target.pixel(PIXEL)
    assert (response.status, response.header("Content-Type")) == (200, "image/gif")
    assert response.body[:3] == b"GIF"
    assert struct.unpack("<HH", response.body[6:10]) == (1, 1)
    assert response.header("Content-Length") == str(len(response.body))


@checks("P5")
def test_redirect_leads_to_the_page_with_the_global_id(target: Endpoint) -> None:
    cookie = cookie_of(target)
    response = target.pixel(PIXEL, ("td_redirect", PAGE), headers=[("Cookie", cookie)])
    assert response.status == 302
    expected = PAGE.replace("=td_global_id", f"={cookie.partition('=')[2]}")
    assert response.header("Location") == expected


@checks("P5")
def test_redirect_is_an_event_all_the_same(target: Endpoint, inspection: InspectionClient) -> None:
    target.pixel(PIXEL, ("td_redirect", PAGE), ("a", "1"))
    assert inspection.record()["a"] == "1"


@checks("P6")
def test_get_without_format_is_answered_like_a_post(target: Endpoint) -> None:
    response = target.pixel(("a", "1"))
    assert (response.status, response.header("Content-Type"), response.body) == (200, JSON, b"{}")


@checks("P6")
def test_get_without_format_is_a_finding(target: Endpoint, inspection: InspectionClient) -> None:
    target.pixel(("a", "1"), ("td_redirect", PAGE))
    record = inspection.finding("P6")["record"]
    record.pop("time")
    assert record == {MARK: target.run, "a": "1"}


@checks("P7")
def test_global_id_is_made_up_and_set(target: Endpoint) -> None:
    first, second = cookie_of(target), cookie_of(target)
    assert first.partition("=")[2]
    assert first.partition("=")[0] == second.partition("=")[0]
    assert first != second


@checks("P7")
def test_global_id_of_the_cookie_is_used(target: Endpoint, inspection: InspectionClient) -> None:
    cookie = cookie_of(target)
    inspection.begin()
    how = {"headers": [("Cookie", f"other=1; {cookie}")]}
    target.pixel(PIXEL, ("td_global_id", "td_global_id"), **how)
    assert inspection.record()["td_global_id"] == cookie.partition("=")[2]


@checks("P7")
def test_made_up_global_id_is_the_stored_one(
    target: Endpoint, inspection: InspectionClient
) -> None:
    response = target.pixel(PIXEL, ("td_global_id", "td_global_id"))
    stored = inspection.record()["td_global_id"]
    assert f"={stored};" in (response.header("Set-Cookie") or "")


@checks("P8")
def test_ping_of_a_link_is_a_pixel(target: Endpoint) -> None:
    response = target.pixel(
        PIXEL, method="POST", headers=[("Content-Type", "text/ping")], body=b"PING"
    )
    assert (response.status, response.header("Content-Type")) == (200, "image/gif")


@checks("P8")
@pytest.mark.parametrize("content_type", ["text/ping", JSON])
def test_body_of_a_ping_is_not_a_record(
    target: Endpoint, inspection: InspectionClient, content_type: str
) -> None:
    how = {"headers": [("Content-Type", content_type)], "body": b'{"b": 1}'}
    target.pixel(PIXEL, ("a", "1"), method="POST", **how)
    record = inspection.record()
    assert (record["a"], "b" in record) == ("1", False)


@checks("P9", profiles=("openapi-1.0.0", "article-2015"))
def test_last_of_repeated_parameters_counts(target: Endpoint, inspection: InspectionClient) -> None:
    target.pixel(PIXEL, ("a", "1"), ("a", "2"))
    assert inspection.finding("P9")["record"]["a"] == "2"


@checks("P9")
def test_last_of_repeated_parameters_beside_a_body_counts(
    target: Endpoint, inspection: InspectionClient
) -> None:
    inspection.configure(url_parameters="store")
    target.post(query="a=1&a=2")
    assert inspection.finding("P9")["record"]["a"] == "2"


PARAMETERS = {
    "not UTF-8": ("a=%FF", "\ufffd"),
    "half an escape": ("a=1%2", "1%2"),
    "no escape": ("a=%ZZ", "%ZZ"),
}


@checks("P10", profiles=("openapi-1.0.0", "article-2015"))
@pytest.mark.parametrize(("query", "value"), PARAMETERS.values(), ids=list(PARAMETERS))
def test_parameter_that_decoding_changes_is_a_finding(
    target: Endpoint, inspection: InspectionClient, query: str, value: str
) -> None:
    key = quote(target.key, safe="")
    target.send("GET", query=f"td_format=pixel&td_write_key={key}&{MARK}={target.run}&{query}")
    assert inspection.finding("P10")["record"]["a"] == value


@checks("P10")
@pytest.mark.parametrize(("query", "value"), PARAMETERS.values(), ids=list(PARAMETERS))
def test_parameter_beside_a_body_that_decoding_changes_is_a_finding(
    target: Endpoint, inspection: InspectionClient, query: str, value: str
) -> None:
    inspection.configure(url_parameters="store")
    target.post(query=query)
    assert inspection.finding("P10")["record"]["a"] == value
