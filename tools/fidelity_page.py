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

Profiles: the first three are readings of the Postback API. `ingestion-v1` is the Data Ingestion
API, and `v2-2.0.0` for requests to `/postback/v3/event/` at the same host.
"""

CLIENTS = """\
### What clients do with this response

The status alone does not decide what is lost: clients read responses differently. The table says
what each client does, as its published code reads. The fake server responds in the same way to
all of them. If a 206 loses or repeats records with the client that sent them, the event has a
finding (I13).

| Client | Response | What the client does | Result |
|---|---|---|---|
| Browser SDK | 206 | never reads the receipts, and calls the success callback | the failed records are lost |
| Browser SDK | none: a body above 64 KiB when the page closes | the browser refuses to send it | the records are lost, and nothing arrives |
| iOS SDK | 206 | takes every status but 200 for an error, and sends the whole batch again | records without a `uuid` are stored again each time |
| Android SDK | 401 | reports success to the app | the records are lost |
| Lambda sample | any error | sends the batch again without an end | a batch that can never succeed blocks those behind it |
"""  # noqa: E501 - a row of a table is one line


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
            if section == "Data Ingestion API":
                yield CLIENTS
        yield f"### {rule.id}\n"
        yield f"{rule.statement}\n"
        if rule.note:
            yield f"{rule.note}\n"
        yield f"{_facts(rule)}\n"


def _facts(rule: Rule) -> str:
    cited = [f"[{sources[name].title}]({sources[name].url})" for name in rule.sources]
    number = len(checks_of(rule.id))
    spoken = {(profile.postback or profile).name for profile in profiles}
    facts = {
        "What to do": rule.advice,
        "Basis": str(rule.basis),
        "Source": "; ".join(cited) or "none",
        "Profiles": "all" if spoken.issubset(rule.profiles) else ", ".join(rule.profiles),
        "Check": f"{status_of(rule.id)} ({number} check{'s' * (number > 1)})",
    }
    return "\n".join(f"- {name}: {fact}" for name, fact in facts.items())


def _sources() -> Iterator[str]:
    yield "## Sources\n"
    yield "\n".join(f"- {row.id}: [{row.title}]({row.url})" for row in sources) + "\n"
