"""Byte strings by the million, in few objects: the garbage collector has nothing to walk."""

from __future__ import annotations

from array import array
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

REMEMBERED = 1_024
"""How many of the last different byte strings are known again."""


class Blobs:
    """Byte strings in order, in one piece of memory."""

    def __init__(self) -> None:
        self._all = bytearray()
        self._ends = array("Q", [0])

    def __len__(self) -> int:
        return len(self._ends) - 1

    def __getitem__(self, index: int) -> bytes:
        """The byte string at `index`, which is not negative."""
        return bytes(self._all[self._ends[index] : self._ends[index + 1]])

    def append(self, blob: bytes) -> None:
        """Add `blob` at the end."""
        self._all += blob
        self._ends.append(len(self._all))

    def take(self, indexes: Iterable[int]) -> list[bytearray]:
        """The byte strings at `indexes`."""
        everything, ends = self._all, self._ends
        return [everything[ends[index] : ends[index + 1]] for index in indexes]

    def span(self, first: int, last: int) -> bytearray:
        """All byte strings from `first` to `last`, one after the other."""
        return self._all[self._ends[first] : self._ends[last + 1]]


class Repeated:
    """Texts in order, of which many are equal: those are kept once."""

    def __init__(self) -> None:
        self._different = Blobs()
        self._places = array("I")
        self._known: dict[str | bytes, int] = {}

    def __len__(self) -> int:
        return len(self._places)

    def __getitem__(self, index: int) -> bytes:
        """The bytes of the text at `index`."""
        return self._different[self._places[index]]

    def append(self, text: str | bytes) -> None:
        """Add `text` at the end."""
        try:
            self._places.append(self._known[text])
        except KeyError:
            self._places.append(self._add(text))

    def _add(self, text: str | bytes) -> int:
        if len(self._known) >= REMEMBERED:
            self._known.clear()
        place = self._known[text] = len(self._different)
        self._different.append(text.encode() if isinstance(text, str) else text)
        return place
