"""Writes the fidelity page from the rows of the rules; the build of the manual runs this."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from pytest_tdpostback.conformance.catalogue import UNCHECKED, checks_of, status_of
from pytest_tdpostback.protocol.profiles import profiles
from pytest_tdpostback.protocol.rules import Basis, rules, sources

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_tdpostback.protocol.rules import Rule

PAGE = Path(__file__).parents[1] / "docs" / "fidelity.md"

INTRODUCTION = """\
% Generated from the rules by `python -m tools.generate`. Do not edit this page by hand.

# Fidelity

A fake server is only as good as its fidelity. This page lists every behaviour that the fake server
imitates, how well each is founded, and whether you can [check it yourself](contract-check.md)
against any endpoint, including the real service. The page is generated from the rows that the code
uses, and each row has checks that fail if the fake server behaves differently. To print one row,
run `tdpostback rules A5`.

How well a rule is founded:

- **documented**: a document of the service says so;
- **conflict**: the documents disagree, and a setting selects the reading;
- **observed**: no document says so, but somebody who used the service depends on it;
- **inferred**: nobody says so; this is the reading under which a careless sender loses data.

How far it can be checked:

- **checked**: responses show it, so it can be checked against any endpoint;
- **checked with inspection**: it shows in the outcome of an event. Only a target with the
  [inspection interface](contract-check.md#what-became-of-an-event) tells the outcome.
"""


def page() -> str:
    """Return the page, as Markdown. Raises `ValueError` if a rule has no check."""
    unchecked = [rule.id for rule in rules if status_of(rule.id) == UNCHECKED]
    if unchecked:
        raise ValueError(f"rules without a check: {', '.join(unchecked)}")
    return "\n".join([INTRODUCTION, *_counts(), *_rules(), *_sources()])


def write(path: Path = PAGE) -> None:
    """Write the page to `path`, unless it is there already."""
    text = page()
    if not path.exists() or path.read_text(encoding="utf-8") != text:
        path.write_text(text, encoding="utf-8")


def _counts() -> Iterator[str]:
    bases = [f"{sum(rule.basis is basis for rule in rules)} {basis}" for basis in Basis]
    states = [status_of(rule.id) for rule in rules]
    counts = [f"{states.count(state)} {state}" for state in dict.fromkeys(states)]
    yield f"{len(rules)} rules: {', '.join(bases)}; {', '.join(counts)}.\n"


def _rules() -> Iterator[str]:
    section = ""
    for rule in rules:
        if rule.section != section:
            section = rule.section
            yield f"## {section}\n"
        yield f"### {rule.id}\n"
        yield f"{rule.statement}\n"
        if rule.note:
            yield f"{rule.note}\n"
        yield f"{_facts(rule)}\n"


def _facts(rule: Rule) -> str:
    cited = [f"[{sources[name].title}]({sources[name].url})" for name in rule.sources]
    number = len(checks_of(rule.id))
    facts = {
        "What to do": rule.advice,
        "Basis": str(rule.basis),
        "Source": "; ".join(cited) or "none",
        "Profiles": "all" if len(rule.profiles) == len(profiles) else ", ".join(rule.profiles),
        "Check": f"{status_of(rule.id)} ({number} check{'s' * (number > 1)})",
    }
    return "\n".join(f"- {name}: {fact}" for name, fact in facts.items())


def _sources() -> Iterator[str]:
    yield "## Sources\n"
    yield "\n".join(f"- {row.id}: [{row.title}]({row.url})" for row in sources) + "\n"
