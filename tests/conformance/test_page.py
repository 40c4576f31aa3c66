"""The fidelity page says what the rows say, and fails to be written where a rule has no check."""

from __future__ import annotations

import pytest

from pytest_tdpostback.protocol.rules import rules
from tools import fidelity_page


def test_page_is_what_the_rules_say() -> None:
    written = fidelity_page.PAGE.read_text(encoding="utf-8")
    assert written == fidelity_page.page(), "run python -m tools.generate"


def test_page_has_every_rule_with_its_facts() -> None:
    text = fidelity_page.page()
    places = [text.index(f"\n### {rule.id}\n\n{rule.statement}\n") for rule in rules]
    assert places == sorted(places)
    assert text.count("\n- Check: checked") == len(rules)
    assert "- Check: checked with inspection (1 check)\n" in text
    assert text.count("\n- Basis: ") == text.count("\n- Profiles: ") == len(rules)


def test_page_is_written_if_it_differs(tmp_path) -> None:
    page = tmp_path / "page.md"
    fidelity_page.write(page)
    assert page.read_text(encoding="utf-8") == fidelity_page.page()


def test_rule_without_a_check_fails_the_build(monkeypatch) -> None:
    modules = ("test_route", "test_authentication")
    monkeypatch.setattr("pytest_tdpostback.conformance.catalogue.MODULES", modules)
    with pytest.raises(ValueError, match="rules without a check: B1, "):
        fidelity_page.page()
