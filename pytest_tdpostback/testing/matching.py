"""Which records and events an assertion means."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..errors import ConfigurationError
from ..protocol.secrets import shortened

if TYPE_CHECKING:
    from .event import Event, Record

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
        for name, value in self.columns.items():
            if name not in record or not value == record[name]:  # noqa: SIM201 - matchers define ==
                return False
        return self.predicate is None or bool(self.predicate(record))


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
