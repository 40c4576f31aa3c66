"""Heads, requests and events for tests of the pure functions."""

from __future__ import annotations

from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from werkzeug.test import Client

from pytest_tdpostback import PostbackServer
from pytest_tdpostback.protocol.judge import judge_head
from pytest_tdpostback.protocol.request import PostbackRequest, RequestHead
from pytest_tdpostback.protocol.settings import Settings

unhurried = hypothesis_settings(deadline=None)
"""No example fails for being slow: the machine may be busy."""

_CHARACTERS = "aZ09_-+/\\\"'%&=;,:. \t\r\n\x00\x1f\x7f\xa0é\u2028\ud7ff\ufeff\uffff\U0001f600"

KEY = "12345/abcdef"
NOW = 1_700_000_000
PATH = "/postback/v3/event/test_db/test_tbl"
JSON = (("Content-Type", "application/json"), ("X-TD-Write-Key", KEY))


def texts(characters=_CHARACTERS, max_size=8):
    """Texts of these characters: letters and what has a meaning somewhere, unless told otherwise.

    `hypothesis.strategies.text` first makes a table of all of Unicode, which takes two seconds.
    """
    return st.binary(max_size=max_size).map(
        lambda drawn: "".join(characters[byte % len(characters)] for byte in drawn)
    )


def head(target=PATH, method="POST", headers=JSON):
    """The head of a request that is in order, but for what a test changes."""
    return RequestHead.of(method, target, headers)


def judged(body=b"{}", *, target=PATH, method="POST", headers=JSON, peer="10.0.0.1:99", **settings):
    """A request with its verdict and the settings it was judged by."""
    chosen = Settings().changed(settings)
    first = head(target, method, headers)
    return PostbackRequest(first, body, peer), judge_head(first, chosen), chosen


def make_postback(**settings):
    """A `Postback` whose server never listens: requests reach it as WSGI."""
    postback = PostbackServer(write_keys=[KEY], **settings).postback
    postback.clock.freeze(NOW)
    return postback


def send(postback, body=b"{}", target=PATH, method="POST", headers=JSON):
    """Send one request by WSGI, and give back the event it left (``None`` for no event)."""
    before = len(postback.events)
    client = Client(postback.wsgi_app, use_cookies=False)
    client.open(target, method=method, headers=headers, data=body, buffered=True)
    return postback.events[-1] if len(postback.events) > before else None
