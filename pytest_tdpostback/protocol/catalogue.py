"""Rows in their order and by their key: how rules, their sources and profiles are looked up."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_Row = TypeVar("_Row", bound="tuple[Any, ...]")


class Catalogue(Generic[_Row]):
    """Rows in their order, which is that of iteration, and by their key: ``catalogue["A5"]``."""

    def __init__(self, rows: Iterable[_Row]) -> None:
        """The first field of a row is its key. Raises `ValueError` if two rows have the same."""
        self._rows: dict[str, _Row] = {}
        for row in rows:
            if row[0] in self._rows:
                raise ValueError(f"two rows have the key {row[0]!r}")
            self._rows[row[0]] = row

    def __getitem__(self, key: str) -> _Row:
        """Return the row with `key`, or raise a `KeyError` that names the nearest key."""
        try:
            return self._rows[key]
        except KeyError:
            raise KeyError(f"{key!r} is unknown; {self.hint(key)}") from None

    def hint(self, key: str) -> str:
        """Return what to give instead of an unknown `key`: one like it, or where all are listed."""
        from difflib import get_close_matches  # only a mistake needs it

        known = {each.casefold(): each for each in self._rows}
        near = get_close_matches(str(key).casefold(), known, 1, 0.5)
        if near:
            return f"did you mean {known[near[0]]}?"
        few = f"known: {', '.join(self._rows)}"
        return few if len(self._rows) < 20 else "`tdpostback rules` lists all"

    def __contains__(self, key: object) -> bool:
        return key in self._rows

    def __iter__(self) -> Iterator[_Row]:
        return iter(self._rows.values())

    def __len__(self) -> int:
        return len(self._rows)

    def __repr__(self) -> str:
        return f"<Catalogue: {', '.join(self._rows)}>"
