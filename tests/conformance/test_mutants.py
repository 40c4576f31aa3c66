"""The contract check can fail: each broken fake server is caught by the checks of its own rule."""

from __future__ import annotations

from contextlib import ExitStack, closing
from functools import cache
from typing import TYPE_CHECKING

import pytest

from pytest_tdpostback import PostbackServer
from pytest_tdpostback.conformance.catalogue import CHECKED, status_of
from pytest_tdpostback.protocol.profiles import profiles
from pytest_tdpostback.protocol.rules import rules
from tests.conformance.mutants import MUTANTS, Mutant
from tests.conformance.running import KEY, CollectedChecks

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = pytest.mark.once


@pytest.fixture(scope="module")
def collected() -> Iterator[Callable[[str], CollectedChecks]]:
    with ExitStack() as stack:
        yield cache(lambda profile: stack.enter_context(closing(CollectedChecks(profile))))


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: f"{mutant.rule}: {mutant.what}")
def test_mutant_is_caught_by_the_checks_of_its_rule(mutant: Mutant, monkeypatch, collected) -> None:
    checks = collected(mutant.profile)
    server = PostbackServer(
        profile=profiles[mutant.profile],
        write_keys=[KEY],
        inspection=not mutant.outside,
        on_auth_failure="ignore",
    )
    with server:
        mutant.breaks(monkeypatch)
        outcome = checks.run(server.url, mutant.rule)
    assert outcome.counts["failed"] > 0
    assert not server.postback._collector.errors, "it is to be wrong, not to break down"


def test_what_is_not_broken_is_not_caught(collected) -> None:
    with PostbackServer(write_keys=[KEY], inspection=True) as server:
        outcome = collected("openapi-1.0.0").run(server.url, "R2")
    assert set(outcome.counts) == {"passed"}


def test_every_rule_has_a_mutant() -> None:
    assert {mutant.rule for mutant in MUTANTS} == {rule.id for rule in rules}


def test_every_rule_that_shows_from_outside_has_a_mutant_that_does() -> None:
    outside = {mutant.rule for mutant in MUTANTS if mutant.outside}
    assert outside == {rule.id for rule in rules if status_of(rule.id) == CHECKED}
