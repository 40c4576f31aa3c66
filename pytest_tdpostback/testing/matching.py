"""Which records and events an assertion means."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import isfinite
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any

from ..errors import ConfigurationError
from ..protocol.secrets import shortened
from . import formatting

if TYPE_CHECKING:
    from ..collector.events import Event, Record

Where = Mapping[str, Any] | Callable[["Record"], object] | None


@dataclass(frozen=True)
class Wanted:
    """The records of one table that satisfy a subset of columns and a predicate."""

    columns: Mapping[str, Any]
    predicate: Callable[[Record], object] | None = None

    @classmethod
    def of(cls, where: Where, columns: Mapping[str, Any]) -> Wanted:
        """From the arguments of an assertion; raises `ConfigurationError` for an odd `where`."""
        __tracebackhide__ = True
        if where is None or isinstance(where, Mapping):
            return cls({**(where or {}), **columns})
        if callable(where):
            return cls(columns, where)
        raise ConfigurationError(f"where={where!r}: give a mapping or a function of a record")

    @property
    def anything(self) -> bool:
        """Whether every record is one of them."""
        return not self.columns and self.predicate is None

    def matches(self, record: Record) -> bool:
        """Whether `record` is one of them; values compare with `==`."""
        __tracebackhide__ = True
        for name, value in self.columns.items():
            if name not in record or not value == record[name]:  # noqa: SIM201 - matchers define ==
                return False
        if self.predicate is None:
            return True
        try:
            return bool(self.predicate(record))
        except Exception as error:
            formatting.note(
                error, f"{formatting.line(record.event)}: {formatting.shown(dict(record))}"
            )
            raise


def check_count(count: Any) -> None:
    """Raise `ConfigurationError` where `count` is no number of events."""
    __tracebackhide__ = True
    if count is not None and (not isinstance(count, (int, Integral)) or count < 0):
        raise ConfigurationError(
            f"count={formatting.shown(count)}: give a whole number from 0, or None for at least "
            "one; "
            'a column of this name is compared by where={"count": ...}'
        )


def check_timeout(timeout: Any) -> None:
    """Raise `ConfigurationError` where `timeout` is no time to wait."""
    __tracebackhide__ = True
    if not isinstance(timeout, (int, float, Real)) or not isfinite(timeout) or timeout < 0:
        raise ConfigurationError(
            f"timeout={formatting.shown(timeout)}: give seconds, from 0; "
            'a column of this name is compared by where={"timeout": ...}'
        )


def check_rule(rule: str | None) -> None:
    """Raise `ConfigurationError` where there is no such rule."""
    __tracebackhide__ = True
    if rule is None:
        return
    from ..protocol.rules import rules

    try:
        rules[rule]
    except KeyError as error:
        raise ConfigurationError(f"rule={error.args[0]}") from None


@dataclass(frozen=True)
class WantedFailure:
    """The rejected events with a key, database and table; `None` is any."""

    key: str | None = None
    database: str | None = None
    table: str | None = None

    def matches(self, event: Event) -> bool:
        """Whether `event` is one of them."""
        return (
            (self.key is None or event.key == self.key)
            and (self.database is None or event.database == self.database)
            and (self.table is None or event.table == self.table)
        )

    def __str__(self) -> str:
        parts = [f"{n}={v!r}" for n, v in (("database", self.database), ("table", self.table)) if v]
        if self.key is not None:
            parts.insert(0, f"key={shortened(self.key)!r}")
        return ", ".join(parts)
