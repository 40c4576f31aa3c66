"""Prints the rules, as a table, in paragraphs or as JSON."""

from __future__ import annotations

import itertools
import json
import shutil
import textwrap
from functools import partial
from typing import TYPE_CHECKING, Any

from ..errors import ConfigurationError
from ..protocol.profiles import profiles
from ..protocol.rules import rules, sources

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..protocol.rules import Rule


def print_rules(*, rule: str | None, as_json: bool) -> None:
    """Print the rule with the id `rule`, or all of them, as text or as JSON."""
    if rule is not None and rule not in rules:
        raise ConfigurationError(f"{rule!r} is unknown; {rules.hint(rule)}")
    if as_json:
        found = _row(rules[rule]) if rule else [_row(each) for each in rules]
        print(json.dumps(found, indent=2))
    else:
        print("\n".join(_one_rule(rules[rule]) if rule else _table()))


def _one_rule(rule: Rule) -> Iterator[str]:
    """A rule in paragraphs: what the service does, what to do about it, and how we know."""
    width = max(shutil.get_terminal_size().columns, 40)
    of_postback = tuple(row.name for row in profiles if row.postback is None)
    names = ", ".join(rule.profiles)
    held = "all of the Postback API" if rule.profiles == of_postback else names
    yield f"{rule.id} ({rule.section})"
    for text in (
        rule.statement,
        f"What to do: {rule.advice}",
        f"Basis: {rule.basis}. {rule.note}".rstrip(),
        f"Profiles: {held}",
    ):
        yield textwrap.fill(text, width, break_on_hyphens=False)
    for name in rule.sources:
        yield f"Source: {sources[name].title}\n    {sources[name].url}"


def _row(rule: Rule) -> dict[str, Any]:
    row = {**rule._asdict(), "basis": str(rule.basis)}
    row["sources"] = [sources[name]._asdict() for name in rule.sources]
    return row


def _table() -> Iterator[str]:
    """All rules in columns: id, statement and note, basis, sources."""
    widths = (4, max(shutil.get_terminal_size().columns, 80) - 4 - 12 - 12 - 6, 12, 12)

    def row(*cells: str) -> Iterator[str]:
        wrapped = map(partial(textwrap.wrap, break_on_hyphens=False), cells, widths)
        for lines in itertools.zip_longest(*wrapped, fillvalue=""):
            yield "  ".join(map(str.ljust, lines, widths)).rstrip()

    yield from row("id", "statement", "basis", "sources")
    for section, members in itertools.groupby(rules, lambda rule: rule.section):
        yield f"\n{section}"
        for rule in members:
            found_in = ", ".join(rule.sources) or "none"
            yield from row(rule.id, rule.statement, str(rule.basis), found_in)
            yield from row("", rule.note)
    yield "\nSources"
    yield from (f"{source.id}  {source.title}\n    {source.url}" for source in sources)
