"""The contract check can fail: each broken fake server is caught by the checks of its own rule."""

from __future__ import annotations

import pytest

from pytest_tdpostback import PostbackServer
from pytest_tdpostback.conformance.catalogue import CHECKED, checks_of, status_of
from pytest_tdpostback.protocol.profiles import profiles
from pytest_tdpostback.protocol.rules import rules
from tests.conformance.mutants import MUTANTS, Mutant
from tests.conformance.running import KEY, run_checks

pytestmark = pytest.mark.once


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: f"{mutant.rule}: {mutant.what}")
def test_mutant_is_caught_by_the_checks_of_its_rule(mutant: Mutant, monkeypatch) -> None:
    checks = [f"{check.module}.py::{check.name}" for check in checks_of(mutant.rule)]
    server = PostbackServer(
        profile=profiles[mutant.profile],
        write_keys=[KEY],
        inspection=not mutant.outside,
        on_auth_failure="ignore",
    )
    with server:
        mutant.breaks(monkeypatch)
        outcome = run_checks(server.url, mutant.profile, *checks)
    assert outcome.code == pytest.ExitCode.TESTS_FAILED
    assert outcome.rules("failed") == {mutant.rule}
    assert not server.postback._collector.errors, "it is to be wrong, not to break down"


def test_every_rule_has_a_mutant() -> None:
    assert {mutant.rule for mutant in MUTANTS} == {rule.id for rule in rules}


def test_every_rule_that_shows_from_outside_has_a_mutant_that_does() -> None:
    outside = {mutant.rule for mutant in MUTANTS if mutant.outside}
    assert outside == {rule.id for rule in rules if status_of(rule.id) == CHECKED}
