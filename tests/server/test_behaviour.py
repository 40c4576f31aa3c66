"""One table of requests over every transport and profile: each ends in the same way."""

from __future__ import annotations

from itertools import zip_longest

import pytest

from tests.server.behaviour import ARTICLE, NOW, OPENAPI, V2
from tests.server.cases_by_client import CASES_BY_CLIENT
from tests.server.cases_by_rule import CASES_BY_RULE
from tests.server.transports import bytewise, whole

CASES = [*CASES_BY_CLIENT, *CASES_BY_RULE]


def test_every_case_has_a_name_of_its_own():
    assert len({case.id for case in CASES}) == len(CASES)


def carried():
    """Each case on each carrier that can carry it; ``not_on`` says why another cannot.

    What is slow runs under the default profile and under those that differ from it.
    """
    return [
        pytest.param(carrier, case, profile, id=f"{carrier}-{case.id}-{profile}")
        for carrier in ("whole", "bytewise", "wsgi", "mounted")
        for case in CASES
        for profile in (OPENAPI, ARTICLE, V2)
        if carrier not in case.not_on
        if carrier in ("whole", "wsgi") or profile == OPENAPI or profile in case.apart
    ]


@pytest.mark.parametrize(("carry", "case", "profile"), carried(), indirect=["carry"])
def test_case(case, profile, carry, postback_for):
    postback = postback_for(profile, **case.settings)
    outcomes = case.expected(profile)

    replies = carry(postback, case.raw, len(outcomes))
    postback.settle()

    for reply, outcome in zip(replies, outcomes, strict=True):
        answered_as_expected(reply, outcome, profile)
    if outcomes[0].status == case.outcomes[0].status:
        for field, value in case.answer.items():
            if field != "Connection" or carry in (whole, bytewise):
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
