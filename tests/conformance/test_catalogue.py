"""Every rule has a check, and says how far it can be checked."""

from __future__ import annotations

import pytest

from pytest_tdpostback.conformance.catalogue import (
    CHECKED,
    INSPECTED,
    UNCHECKED,
    checks,
    checks_of,
    status_of,
)
from pytest_tdpostback.protocol.profiles import profiles
from pytest_tdpostback.protocol.rules import rules

each_rule = pytest.mark.parametrize("rule", rules, ids=lambda rule: rule.id)


@each_rule
def test_rule_has_a_check_in_each_of_its_profiles(rule) -> None:
    proved = {name for check in checks_of(rule.id) for name in check.profiles}
    assert proved == set(rule.profiles)


@pytest.mark.parametrize(
    "name", ["V1", "V2", "V3", "T1", "T5", "C1", "Y1", "Y5", "R8", "P9", "P10"]
)
def test_a_rule_about_what_follows_the_response_needs_inspection(name: str) -> None:
    assert status_of(name) == INSPECTED
    assert all(check.inspects for check in checks_of(name))


@pytest.mark.parametrize("name", ["R1", "A5", "B2", "W1", "P4"])
def test_a_rule_that_the_response_shows_needs_no_inspection(name: str) -> None:
    assert status_of(name) == CHECKED


def test_rule_without_a_check_says_so(monkeypatch) -> None:
    monkeypatch.setattr("pytest_tdpostback.conformance.catalogue.MODULES", ())
    assert status_of("A5") == UNCHECKED


def test_check_runs_where_its_rule_holds() -> None:
    (check,) = (each for each in checks_of("A6") if not each.inspects)
    assert [each.name for each in profiles if check.runs_for(each)] == ["article-2015"]


@pytest.mark.parametrize(
    ("unknown", "text"), [("A55", "is unknown; did you mean A5"), ("no rule", "lists all")]
)
def test_check_of_an_unknown_rule_is_an_error(unknown: str, text: str) -> None:
    with pytest.raises(KeyError, match=text):
        checks(unknown)
    with pytest.raises(KeyError, match=text):
        checks_of(unknown)
