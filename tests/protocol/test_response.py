"""Parts of the response: phrases, dates, cookies, redirects."""

from __future__ import annotations

import locale

import pytest
from hypothesis import given

from pytest_tdpostback import profiles
from pytest_tdpostback.protocol.response import (
    GIF,
    Response,
    empty,
    http_date,
    preflight,
    redirect_target,
    refused_by_browser,
    sent_global_id,
)
from tests.protocol.requests import head, texts, unhurried


def test_date():
    """[W1] as HTTP writes it."""
    assert http_date(1449109892) == "Thu, 03 Dec 2015 02:31:32 GMT"
    assert locale.setlocale(locale.LC_TIME)  # whatever it is, it has no part in it


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        pytest.param("http://x/?a=1", "http://x/?a=1", id="P5-as-it-is"),
        pytest.param("http://x/?td_global_id=old&b=1", "http://x/?td_global_id=me&b=1", id="P5-id"),
        pytest.param("http://x/?uid=td_global_id", "http://x/?uid=me", id="P5-placeholder"),
        pytest.param("http://x/?td_global_id=#f", "http://x/?td_global_id=me#f", id="P5-empty"),
        pytest.param("http://x/td_global_id=1", "http://x/td_global_id=1", id="P5-not-in-the-path"),
        pytest.param("http://x/?xtd_global_id=1", "http://x/?xtd_global_id=1", id="P5-other-name"),
        pytest.param("http://x/\r\nA: b", "http://x/%0D%0AA:%20b", id="P5-line-break"),
        pytest.param("http://x/é%20", "http://x/%C3%A9%20", id="P5-letters"),
    ],
)
def test_redirect_target(url, expected):
    assert redirect_target(url, "me") == expected


@unhurried
@given(texts(max_size=20), texts(max_size=5))
def test_redirect_is_one_line(url, global_id):
    """[P5] whatever is asked for, the response stays one field of ASCII."""
    target = redirect_target(url, global_id)
    assert target.isascii()
    assert target.isprintable()
    assert " " not in target


@pytest.mark.parametrize(
    ("cookies", "expected"),
    [
        pytest.param([], None, id="P7-none"),
        pytest.param(["a=1; _td_global=me-1; b=2"], "me-1", id="P7-among-others"),
        pytest.param(["a=1", "_td_global=me"], "me", id="P7-second-field"),
        pytest.param(["_td_global="], None, id="P7-empty"),
        pytest.param(['_td_global="me"'], None, id="P7-quoted"),
        pytest.param(["_td_global=" + "x" * 201], None, id="P7-too-long"),
        pytest.param(["_TD_GLOBAL=me; x_td_global=me"], None, id="P7-other-name"),
    ],
)
def test_cookie(cookies, expected):
    assert sent_global_id(head(headers=[("Cookie", cookie) for cookie in cookies])) == expected


def test_wire():
    """[W3] ``Connection`` comes last; the response to ``HEAD`` has no body."""
    response = Response(299, (("A", "b"),), b"xy")
    assert (
        response.kept_alive == b"HTTP/1.1 299 Unknown\r\nA: b\r\nConnection: keep-alive\r\n\r\nxy"
    )
    assert response.to_bytes(keep_alive=False, head_only=True).endswith(
        b"Connection: close\r\n\r\n"
    )


@pytest.mark.parametrize(
    ("profile", "asked", "refused"),
    [
        ("openapi-1.0.0", "PUT", True),
        ("openapi-1.0.0", "patch", True),
        ("openapi-1.0.0", "POST", False),
        ("openapi-1.0.0", None, False),
        ("v2-2.0.0", "DELETE", True),
        ("v2-2.0.0", "GET", False),  # a browser sends it: a 405 says so
        ("ingestion-v1", "PUT", True),
        ("ingestion-v1", "POST", False),
    ],
)
def test_a_browser_sends_nothing_after_a_preflight_that_allows_another_method(
    profile, asked, refused
):
    """[R5] The fake server says so."""
    fields = [("Access-Control-Request-Method", asked)] if asked else []
    sent = head(method="OPTIONS", headers=fields)
    reason = refused_by_browser(sent, preflight(sent, profiles[profile], "today"))
    assert bool(reason) == refused
    assert not refused or f"asks for the method {asked}; let the page use one of " in reason


def test_pixel():
    """[P4] a transparent GIF of one pixel."""
    assert (GIF[:6], GIF[6:10], GIF[-1:]) == (b"GIF89a", b"\x01\x00\x01\x00", b";")


@pytest.mark.parametrize(
    ("status", "phrase"),
    [(200, "OK"), (413, "Content Too Large"), (422, "Unprocessable Content"), (299, "Unknown")],
)
def test_the_reason_phrase_is_the_same_on_every_python(status, phrase):
    """[B6] the standard library of older Pythons has older names for some."""
    assert Response(status, ()).to_bytes().startswith(f"HTTP/1.1 {status} {phrase}\r\n".encode())


def test_an_empty_response_says_that_it_has_no_body():
    assert empty(400).to_bytes(keep_alive=False) == (
        b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    )
