"""Checks of the rules of the tracking pixel (P1 to P9)."""

from __future__ import annotations

import struct
import time
from typing import TYPE_CHECKING

import pytest

from pytest_tdpostback.conformance.catalogue import checks
from pytest_tdpostback.conformance.target import JSON, MARK, Target

if TYPE_CHECKING:
    from pytest_tdpostback.conformance.inspection import Inspection

PIXEL = ("td_format", "pixel")
PAGE = "https://shop.example/thanks?td_global_id=td_global_id&b=1"


def cookie_of(target: Target) -> str:
    """The cookie that a first answer sets, as `name=value`."""
    return (target.pixel(PIXEL).header("Set-Cookie") or "").partition(";")[0]


@checks("P1")
def test_pixel_is_accepted(target: Target) -> None:
    assert target.pixel(PIXEL, ("a", "1")).status == 200


@checks("P1")
def test_parameters_are_columns_of_strings(target: Target, inspection: Inspection) -> None:
    target.pixel(PIXEL, ("a", "1"), ("b", "x y\u00e9"), ("c", ""))
    record = inspection.record()
    record.pop("time")
    assert record == {MARK: target.run, "a": "1", "b": "x y\u00e9", "c": ""}


@checks("P2")
def test_parameters_for_the_service_are_no_columns(target: Target, inspection: Inspection) -> None:
    when = str(int(time.time()) - 60)
    target.pixel(PIXEL, ("td_record_time", when), ("td_redirect", PAGE))
    assert inspection.record() == {"time": when, MARK: target.run}


@checks("P3")
def test_placeholders_are_filled_in(target: Target, inspection: Inspection) -> None:
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
def test_other_values_are_stored_as_they_are(target: Target, inspection: Inspection) -> None:
    sent = {"td_ip": "10.0.0.1", "td_ua": "td_ip", "td_global_id": "x", "other": "td_ip"}
    target.pixel(PIXEL, *sent.items())
    record = inspection.record()
    assert {name: record[name] for name in sent} == sent


@checks("P4")
def test_answer_is_an_image_of_one_pixel(target: Target) -> None:
    reply = target.pixel(PIXEL)
    assert (reply.status, reply.header("Content-Type")) == (200, "image/gif")
    assert reply.body[:3] == b"GIF"
    assert struct.unpack("<HH", reply.body[6:10]) == (1, 1)
    assert reply.header("Content-Length") == str(len(reply.body))


@checks("P5")
def test_redirect_leads_to_the_page_with_the_global_id(target: Target) -> None:
    cookie = cookie_of(target)
    reply = target.pixel(PIXEL, ("td_redirect", PAGE), headers=[("Cookie", cookie)])
    assert reply.status == 302
    expected = PAGE.replace("=td_global_id", f"={cookie.partition('=')[2]}")
    assert reply.header("Location") == expected


@checks("P5")
def test_redirect_is_an_event_all_the_same(target: Target, inspection: Inspection) -> None:
    target.pixel(PIXEL, ("td_redirect", PAGE), ("a", "1"))
    assert inspection.record()["a"] == "1"


@checks("P6")
def test_get_without_format_is_answered_like_a_post(target: Target) -> None:
    reply = target.pixel(("a", "1"))
    assert (reply.status, reply.header("Content-Type"), reply.body) == (200, JSON, b"{}")


@checks("P6")
def test_get_without_format_is_a_finding(target: Target, inspection: Inspection) -> None:
    target.pixel(("a", "1"), ("td_redirect", PAGE))
    record = inspection.finding("P6")["record"]
    record.pop("time")
    assert record == {MARK: target.run, "a": "1"}


@checks("P7")
def test_global_id_is_made_up_and_set(target: Target) -> None:
    first, second = cookie_of(target), cookie_of(target)
    assert first.partition("=")[2]
    assert first.partition("=")[0] == second.partition("=")[0]
    assert first != second


@checks("P7")
def test_global_id_of_the_cookie_is_used(target: Target, inspection: Inspection) -> None:
    cookie = cookie_of(target)
    inspection.begin()
    how = {"headers": [("Cookie", f"other=1; {cookie}")]}
    target.pixel(PIXEL, ("td_global_id", "td_global_id"), **how)
    assert inspection.record()["td_global_id"] == cookie.partition("=")[2]


@checks("P7")
def test_made_up_global_id_is_the_stored_one(target: Target, inspection: Inspection) -> None:
    reply = target.pixel(PIXEL, ("td_global_id", "td_global_id"))
    stored = inspection.record()["td_global_id"]
    assert f"={stored};" in (reply.header("Set-Cookie") or "")


@checks("P8")
def test_ping_of_a_link_is_a_pixel(target: Target) -> None:
    reply = target.pixel(
        PIXEL, method="POST", headers=[("Content-Type", "text/ping")], body=b"PING"
    )
    assert (reply.status, reply.header("Content-Type")) == (200, "image/gif")


@checks("P8")
@pytest.mark.parametrize("content_type", ["text/ping", JSON])
def test_body_of_a_ping_is_no_record(
    target: Target, inspection: Inspection, content_type: str
) -> None:
    how = {"headers": [("Content-Type", content_type)], "body": b'{"b": 1}'}
    target.pixel(PIXEL, ("a", "1"), method="POST", **how)
    record = inspection.record()
    assert (record["a"], "b" in record) == ("1", False)


@checks("P9", profiles=("openapi-1.0.0", "article-2015"))
def test_last_of_repeated_parameters_counts(target: Target, inspection: Inspection) -> None:
    target.pixel(PIXEL, ("a", "1"), ("a", "2"))
    assert inspection.finding("P9")["record"]["a"] == "2"


@checks("P9")
def test_last_of_repeated_parameters_beside_a_body_counts(
    target: Target, inspection: Inspection
) -> None:
    inspection.configure(url_parameters="store")
    target.post(query="a=1&a=2")
    assert inspection.finding("P9")["record"]["a"] == "2"
