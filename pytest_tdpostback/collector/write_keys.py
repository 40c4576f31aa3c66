"""The write keys that a fake server accepts (rules A5, A7, Y4)."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import TYPE_CHECKING

from ..errors import ConfigurationError
from ..protocol.judge import KEY_SHAPE
from ..protocol.secrets import WriteKey, shortened

if TYPE_CHECKING:
    from collections.abc import Callable

__tracebackhide__ = True  # a failure shows the lines of the test, not ours

Names = str | Iterable[str] | None
"""One name or several; `None` is all."""
_Scope = tuple[frozenset[str] | None, frozenset[str] | None]
"""The databases and the tables that a key may write to; `None` is all."""


class WriteKeys:
    """The write keys of one fake server: which are valid, and what each may write to."""

    def __init__(self, before_change: Callable[[], None] = lambda: None) -> None:
        """`before_change` runs before a key changes, so that earlier events are judged first."""
        self._before_change = before_change
        self._scopes: dict[str, _Scope | None] = {}
        """Every key that was ever added; `None` if it was revoked since."""
        self._accepts_any = False

    def add(self, key: str | None = None, *, databases: Names = None, tables: Names = None) -> str:
        """Make a key valid. Adding it again replaces its limits and ends a revocation.

        Args:
            key: `account/secret`; without it a new key is made.
            databases: Names of the databases it may write to.
            tables: Names of the tables, as `table` or `database.table`.

        Returns the key, whose `repr` is shortened. Raises `ConfigurationError` if `key` is not
        `account/secret` (A7), or a name is not a string.
        """
        if key is None:
            digits = os.urandom(22).hex()
            key = f"{10_000 + int(digits[40:], 16)}/{digits[:40]}"
        elif not _is_well_formed(key):
            raise ConfigurationError(
                f"write key {_described(key)} is not valid; give account/secret, like 12345/abcdef"
            )
        scope = _names("databases", databases), _names("tables", tables)
        self._before_change()
        self._scopes[key] = scope
        return WriteKey(key)

    def add_all(self, keys: Iterable[str]) -> None:
        """Make one key or several valid, without limits; raises as `add` does."""
        for key in [keys] if isinstance(keys, str) else keys:
            self.add(key)

    def revoke(self, key: str) -> None:
        """Make a key invalid from now on. Pending events that were sent with it fail too (Y4).

        Raises `ConfigurationError` if the key was never added, and not every key is accepted.
        """
        if key not in self and not (self._accepts_any and _is_well_formed(key)):
            known = ", ".join(map(shortened, self.valid())) or "none"
            raise ConfigurationError(
                f"write key {_described(key)} is not valid here, so it cannot be revoked; "
                f"valid keys: {known}"
            )
        self._before_change()
        self._scopes[key] = None

    def accept_any(self) -> None:
        """Accept every key from now on, except revoked ones; the limits of a key stay (Y4)."""
        self._before_change()
        self._accepts_any = True

    def valid(self) -> list[str]:
        """The keys that were added and not revoked."""
        return [key for key, scope in self._scopes.copy().items() if scope is not None]

    def known(self) -> list[str]:
        """Every key that was ever added, revoked ones too: none may be shown whole."""
        return list(self._scopes.copy())

    def rejection(self, key: str, table: tuple[str, str]) -> str:
        """Why an event with `key` fails its validation; empty if it does not.

        `table` is the names of the database and of the table.
        """
        scope = self._scopes.get(key)
        if scope is not None:
            databases, tables = scope
            if databases is not None and table[0] not in databases:
                return f"may not write to database {table[0]}"
            if tables is not None and tables.isdisjoint((table[1], ".".join(table))):
                return f"may not write to table {'.'.join(table)}"
            return ""
        if key in self._scopes:
            return "was revoked"
        if self._accepts_any:
            return ""
        return "is unknown" if KEY_SHAPE.match(key) else "is not account/secret"

    def __contains__(self, key: object) -> bool:
        return isinstance(key, str) and self._scopes.get(key) is not None

    def __repr__(self) -> str:
        return f"<WriteKeys {', '.join(map(shortened, self.valid())) or 'none'}>"


def _is_well_formed(key: object) -> bool:
    if not isinstance(key, str) or not KEY_SHAPE.match(key):
        return False
    return key.encode(errors="ignore").decode() == key  # no lone surrogate, which can't be sent


def _names(argument: str, names: Names) -> frozenset[str] | None:
    if names is None:
        return None
    one = isinstance(names, str) or not isinstance(names, Iterable)
    several = [names] if one else list(names)
    for name in several:
        if not isinstance(name, str) or not name:
            message = f"{argument}: {name!r} is not a name; give a string, or several strings"
            raise ConfigurationError(message)
    return frozenset(map(str, several))


def _described(key: object) -> str:
    return repr(shortened(key)) if isinstance(key, str) else f"of type {type(key).__name__}"
