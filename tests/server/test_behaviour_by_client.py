"""The table of requests, sent over redirected TLS and by clients that use no socket."""

from __future__ import annotations

import asyncio
import ssl
from itertools import zip_longest

import httpx
import pytest
import requests

from tests.http_client import HttpClient
from tests.server.behaviour import ARTICLE, OPENAPI, V2
from tests.server.client_libraries import HOST
from tests.server.test_behaviour import CASES, answered_as_expected, ended_as_expected
from tests.server.transports import Sent, received

CONTEXT = ssl.create_default_context()


def tls(postback, raw, count):
    """Raw bytes over verified TLS to the host of the service."""
    with postback.redirect(), HttpClient(HOST, 443, tls=CONTEXT) as client:
        client.send(raw)
        return client.read_responses(count)


def with_httpx(postback, raw, _):
    response = postback.httpx_transport().handle_request(httpx_request(raw))
    return [received(response.status_code, response.headers.multi_items(), response.content)]


def with_async_httpx(postback, raw, _):
    sent = postback.async_httpx_transport().handle_async_request(httpx_request(raw))
    response = asyncio.run(sent)
    return [received(response.status_code, response.headers.multi_items(), response.content)]


def httpx_request(raw):
    sent = Sent.of(raw)
    url = httpx.URL(f"https://{HOST}").copy_with(raw_path=sent.target.encode())
    return httpx.Request(sent.method, url, headers=sent.headers, content=sent.body)


def with_requests(postback, raw, _):
    sent = Sent.of(raw)
    request = requests.PreparedRequest()
    request.method, request.url = sent.method, f"https://{HOST}{sent.target}"
    request.headers, request.body = requests.structures.CaseInsensitiveDict(sent.headers), sent.body
    response = postback.requests_adapter().send(request, timeout=20)
    return [received(response.status_code, response.raw.headers.items(), response.content)]


NOT_BY_CLIENTS = {
    "R1-absolute-target": "a client makes such a target for a proxy alone",
    "R4-lowercase-method": "httpx writes methods in capitals",
}

CARRIERS = {
    "tls": tls,
    "httpx": with_httpx,
    "async-httpx": with_async_httpx,
    "requests": with_requests,
}


ALL = (OPENAPI, ARTICLE, V2)
PROFILES = {"tls": (OPENAPI,), "httpx": ALL, "async-httpx": (OPENAPI,), "requests": ALL}
"""Two carriers share all but their first step with another; one profile shows that step."""


def carried():
    return [
        pytest.param(CARRIERS[name], case, profile, id=f"{name}-{profile}-{case.id}")
        for name in CARRIERS
        for case in CASES
        for profile in PROFILES[name]
        if name not in case.not_on
        and (name == "tls" or ("wsgi" not in case.not_on and case.id not in NOT_BY_CLIENTS))
    ]


@pytest.mark.parametrize(("carry", "case", "profile"), carried())
def test_case(case, profile, carry, postback_for):
    postback = postback_for(profile, **case.settings)
    outcomes = case.expected(profile)
    replies = carry(postback, case.raw, len(outcomes))
    postback.settle()
    for reply, outcome in zip(replies, outcomes, strict=True):
        answered_as_expected(reply, outcome, profile)
    for event, outcome in zip_longest(postback.events, [each for each in outcomes if each.event]):
        ended_as_expected(event, outcome)
