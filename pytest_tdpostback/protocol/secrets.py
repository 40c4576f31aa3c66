"""Write keys as they may be shown: shortened wherever they stand in text."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from urllib.parse import quote

if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Self

_SHOWN = 3
# Each begins with the characters to search for, and looks back from there: that is five times as
# fast in a text of megabytes. They are compiled when they are used, which few runs do.
_NAMED = (
    r"""([WwTt](?i:(?<=w)rite[-_]?key["']?\s*[=:]\s*["']?|(?<=\bt)d1\s+))"""
    r"""(?!(?i:[<{]?[a-z_.]*key[>})\]]*(?:[\s&"',;]|$)))([^\s&"',;]+)"""
)
"""What stands after a name of a key. `write_key` in a line of source code stays as it is."""
_BARE = r"(?i)((?:/(?<=\d/)|%2f(?<=\d%2f))[0-9a-f]{3})[0-9a-f]{37}(?![0-9a-f])"
"""The service's keys, and those that the fake server makes: a number and 40 hexadecimal digits."""


class Redacted(str):
    """A string whose `repr` shows a shortened form, because tracebacks print that."""

    __slots__ = ("shown",)
    shown: str

    def __new__(cls, value: str, shown: str | None = None) -> Self:
        """Make the string `value`, whose `repr` is that of `shown`; `None` shortens a key."""
        self = super().__new__(cls, value)
        self.shown = shortened(value) if shown is None else shown
        return self

    def __repr__(self) -> str:
        return repr(self.shown)

    def __getnewargs__(self) -> tuple[str, ...]:  # type: ignore[override]
        return str(self), self.shown


class WriteKey(Redacted):
    """A write key, `account/secret`: the whole key as a string, shortened in its `repr`."""

    __slots__ = ()


class KeyRedactor:
    """Shortens known write keys of any shape, wherever they stand in a text.

    It also finds any 12 characters of a known secret, because test runners cut long values short.
    Case does not count, because media types, codings and hosts are shown in lower case.
    """

    LEAST = 12
    """Characters of a secret that are never shown in one piece."""

    def __init__(self, keys: Iterable[str]) -> None:
        """`keys` are the known write keys."""
        self._keys: list[tuple[str, set[str]]] = []
        """Each key as it is shown, and its spellings in lower case."""
        self._pieces: set[str] = set()
        self._quarters: set[str] = set()
        """Every 4 characters of a secret."""
        self._beginnings: set[str] = set()
        for key in sorted(set(filter(None, map(str, keys))), key=len, reverse=True):
            spellings = {
                key,
                encoded := quote(key, safe="", errors="replace"),
                encoded.replace("%2F", "%2f"),
            }
            self._keys.append((shortened(key), set(map(_lower, spellings))))
            secret = _lower(key.partition("/")[2] or key)
            pieces = [secret[at : at + self.LEAST] for at in range(len(secret) - self.LEAST + 1)]
            self._pieces.update(pieces)
            self._quarters |= {each[at : at + 4] for each in pieces for at in range(9)}
            self._beginnings.update(pieces[:1])

    def __call__(self, text: str) -> str:
        """Return `text` with every known key, and everything that looks like a key, shortened."""
        lowered = _lower(text)
        for short, spellings in self._keys:
            found = [re.escape(spelling) for spelling in spellings if spelling in lowered]
            if found:
                # A short key, such as "1/a", is no key if it is part of a longer word.
                pattern = rf"(?i:(?<![\w/])(?:{'|'.join(found)})(?![\w/]))"
                text = re.sub(pattern, short.replace("\\", r"\\"), text)
        return without_keys(self._without_pieces(text) if self._pieces else text)

    def _without_pieces(self, text: str) -> str:
        kept, end, lowered = [], 0, _lower(text)
        # Any 12 characters hold 4 that begin at a multiple of 9. Most texts have no such 4, and may
        # have megabytes.
        for near in range(0, len(text), 9):
            if lowered[near : near + 4] not in self._quarters:
                continue
            for at in range(max(0, near - 8), near + 1):
                piece = lowered[at : at + self.LEAST]
                if piece in self._pieces:
                    if at >= end:
                        shown = text[at : at + _SHOWN] if piece in self._beginnings else ""
                        kept += [text[end:at], shown, "…"]
                    end = at + self.LEAST
        return "".join(kept) + text[end:]


def shortened(key: str) -> str:
    """Return `key` with only the beginning of its secret, for example `12345/abc…`."""
    account, slash, secret = str(key).partition("/")
    if not slash:
        account, secret = "", account
    if len(account) > 20:
        account = f"{account[:_SHOWN]}…"
    return f"{account}{slash}{secret[: min(_SHOWN, len(secret) // 2)]}…"


def without_keys(text: str) -> str:
    """Return `text` (a target, a header line) with every write key in it shortened.

    A key is recognised by the name before it, or by its shape.
    """

    def short(found: re.Match[str]) -> str:
        return found[1] + shortened(found[2].replace("%2F", "/"))

    return re.sub(_BARE, r"\1…", re.sub(_NAMED, short, text))


def _lower(text: str) -> str:
    """`text` in lower case and as long as it was: only `İ` would become two characters."""
    return text.replace("İ", "i").lower()
