"""One table of requests over every transport: each ends in the same way."""

from __future__ import annotations

from itertools import zip_longest

import pytest
from pytest_httpserver import HTTPServer

from tests.server.behaviour import ARTICLE, NOW, OPENAPI, V2
from tests.server.cases_by_client import CASES_BY_CLIENT
from tests.server.cases_by_rule import CASES_BY_RULE
from tests.server.transports import transports

CASES = [*CASES_BY_CLIENT, *CASES_BY_RULE]


def test_every_case_has_a_name_of_its_own():
    assert len({case.id for case in CASES}) == len(CASES)


@pytest.fixture(scope="module")
def exchanges():
    with HTTPServer() as server:
        yield transports(server)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_a_request_has_the_same_outcome_on_every_transport(case, postback_for, exchanges):
    """A failure names the transports and profiles of which this does not hold."""
    wrong = []
    for transport, exchange in exchanges.items():
        for profile in profiles_for(case, transport):
            try:
                check(case, transport, exchange, profile, postback_for)
            except Exception as error:  # noqa: BLE001 - the other transports follow
                wrong.append(f"{transport}, {profile}: {type(error).__name__}: {error}")
    assert not wrong, "\n\n".join(wrong)


def profiles_for(case, transport):
    """All over one transport; over the others, which share the rest, what shows the first step."""
    if transport in case.not_on:
        return []
    if transport == "whole":
        return [OPENAPI, ARTICLE, V2]
    return [OPENAPI, *case.apart]


def check(case, transport, exchange, profile, postback_for):
    outcomes = case.expected(profile)
    settings = {**case.settings, "tls": True} if transport == "tls" else case.settings
    postback = postback_for(profile, **settings)

    replies = exchange(postback, case.raw, len(outcomes))
    postback.settle()

    for reply, outcome in zip(replies, outcomes, strict=True):
        answered_as_expected(reply, outcome, profile)
    if outcomes[0].status == case.outcomes[0].status:
        for field, value in case.answer.items():
            if field != "Connection" or transport in ("whole", "bytewise", "tls"):
                assert replies[0].header(field) == value
    left = [outcome for outcome in outcomes if outcome.event]
    for event, outcome in zip_longest(postback.events, left):
        ended_as_expected(event, outcome)


def answered_as_expected(reply, outcome, profile):
    assert reply.status == outcome.status
    if reply.status == 204:
        return
    assert reply.header("Content-Length") == str(len(reply.body))
    assert (reply.header("Strict-Transport-Security") is None) == (profile == ARTICLE)
    if reply.header("Content-Type") == "image/gif":
        assert reply.body.startswith(b"GIF89a")
    else:
        assert reply.header("Content-Type") == "application/json"
        assert reply.body == (b"" if reply.status == 302 else b"{}")


def ended_as_expected(event, outcome):
    assert event is not None, "an event is missing"
    assert outcome is not None, f"{event} was not expected"
    assert (event.status, event.rule, event.state) == (outcome.status, outcome.rule, outcome.state)
    assert [finding.rule for finding in event.findings] == list(outcome.findings)
    if outcome.record is None:
        assert event.record is None
    else:
        assert dict(event.record) == {"time": str(NOW), **outcome.record}
