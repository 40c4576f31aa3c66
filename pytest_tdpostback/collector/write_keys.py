"""The write keys that a double knows (rules A5, A7, Y4)."""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..errors import ConfigurationError
from ..protocol.judge import KEY_SHAPE
from ..protocol.secrets import WriteKey, shortened

if TYPE_CHECKING:
    from collections.abc import Callable

Names = str | Iterable[str] | None


@dataclass(frozen=True)
class Scope:
    """What a key may write to; `None` is everything."""

    databases: frozenset[str] | None = None
    tables: frozenset[str] | None = None

    def fault(self, database: str, table: str) -> str:
        """Why this scope does not cover `database` and `table`; empty where it does."""
        if self.databases is not None and database not in self.databases:
            return f"may not write to database {database}"
        if self.tables is not None and not {table, f"{database}.{table}"} & self.tables:
            return f"may not write to table {database}.{table}"
        return ""


_EVERYTHING = Scope()


class WriteKeys:
    """The keys of one double: those that are valid, and what each may write to."""

    def __init__(self, before_change: Callable[[], None] = lambda: None) -> None:
        """`before_change` runs before a key changes: what is due is judged by the old ones."""
        self._scopes: dict[str, Scope] = {}
        self._revoked: set[str] = set()
        self._any = False
        self._before_change = before_change

    def add(self, key: str | None = None, *, databases: Names = None, tables: Names = None) -> str:
        """Make `key` valid, and return it; without one, a new key is made.

        `databases` and `tables` limit what it may write to (a name, several, or `None`: all); a
        table is `table` or `database.table`. Adding a key again replaces its limits. Raises
        `ConfigurationError` where `key` is not `account/secret` (rule A7).
        """
        __tracebackhide__ = True
        if key is None:
            noise = secrets.token_bytes(22)
            key = f"{10_000 + int.from_bytes(noise[:2], 'big')}/{noise[2:].hex()}"
        elif not _well_formed(key):
            message = (
                f"write key {_shown(key)} is not valid; give account/secret, like 12345/abcdef"
            )
            raise ConfigurationError(message)
        scope = _EVERYTHING
        if databases is not None or tables is not None:
            scope = Scope(_names("databases", databases), _names("tables", tables))
        self._before_change()
        self._scopes[key] = scope
        self._revoked.discard(key)
        return WriteKey(key)

    def adopt(self, key: str) -> None:
        """Make `key`, which `add` of another double returned, valid here too, without limits."""
        self._scopes[key] = _EVERYTHING

    def add_all(self, keys: Iterable[str]) -> None:
        """Make one key or several valid, without limits; raises as `add` does."""
        __tracebackhide__ = True
        for key in [keys] if isinstance(keys, str) else keys:
            self.add(key)

    def revoke(self, key: str) -> None:
        """Make `key` invalid from now on; what was sent with it and is pending fails too (Y4).

        Raises `ConfigurationError` where the key was never added and not every key is accepted, or
        is not `account/secret`.
        """
        __tracebackhide__ = True
        if key not in self._scopes and not (self._any and _well_formed(key)):
            known = ", ".join(shortened(each) for each in self._scopes) or "none"
            message = f"write key {_shown(key)} was never added; known keys: {known}"
            raise ConfigurationError(message)
        self._before_change()
        self._scopes.pop(key, None)
        self._revoked.add(key)

    def accept_any(self) -> None:
        """Take every key as valid from now on, except revoked ones; limits of a key stay (Y4)."""
        self._before_change()
        self._any = True

    def fault(self, key: str, database: str, table: str) -> str:
        """Why an event with `key` fails its validation; empty where it does not."""
        scope = self._scopes.get(key)
        if scope is not None:
            return scope.fault(database, table)
        if key in self._revoked:
            return "was revoked"
        if self._any:
            return ""
        return "is unknown" if _well_formed(key) else "is not account/secret"

    def __contains__(self, key: object) -> bool:
        return key in self._scopes

    def __repr__(self) -> str:
        return f"<WriteKeys {', '.join(map(shortened, self._scopes)) or 'none'}>"


def _well_formed(key: object) -> bool:
    return isinstance(key, str) and KEY_SHAPE.match(key) is not None


def _names(what: str, names: Names) -> frozenset[str] | None:
    __tracebackhide__ = True
    if names is None:
        return None
    several: frozenset[object] = frozenset([names] if isinstance(names, str) else names)
    wrong = [name for name in several if not isinstance(name, str) or not name]
    if wrong:
        raise ConfigurationError(f"{what}: {wrong[0]!r} is no name; give a string or several")
    return frozenset(map(str, several))


def _shown(key: object) -> str:
    return repr(shortened(key)) if isinstance(key, str) else f"of type {type(key).__name__}"
