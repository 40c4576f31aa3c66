"""Write keys as they may be shown: shortened wherever they stand in text."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from urllib.parse import quote

if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Self

_SHOWN = 3
_NAMED = re.compile(r"""(?i)(write[-_]?key["']?\s*[=:]\s*["']?|\btd1\s+)([^\s&"',;]+)""")
_BARE = re.compile(r"(?i)(?<=\d)((?:/|%2f)[0-9a-f]{3})[0-9a-f]{37}(?![0-9a-f])")
"""The service's keys, and those that the fake server makes: a number and 40 hexadecimal digits."""


class Redacted(str):
    """A string whose `repr` shows a shortened form, because tracebacks print that."""

    __slots__ = ()

    @property
    def shown(self) -> str:
        """The text that `repr` shows instead of the string itself."""
        raise NotImplementedError

    def __repr__(self) -> str:
        return repr(self.shown)


class RedactedText(Redacted):
    """A text that holds a write key."""

    __slots__ = ("_shown",)
    _shown: str

    def __new__(cls, value: str, shown: str) -> Self:
        """Make the string `value`, whose `repr` is that of `shown`."""
        self = super().__new__(cls, value)
        self._shown = shown
        return self

    @property
    def shown(self) -> str:
        """The text with its keys shortened."""
        return self._shown

    def __getnewargs__(self) -> tuple[str, str]:  # type: ignore[override]
        return str(self), self.shown


class WriteKey(Redacted):
    """A write key, `account/secret`: the whole key as a string, shortened in its `repr`."""

    __slots__ = ()

    @property
    def shown(self) -> str:
        """The key, shortened."""
        return shortened(self)


class KeyRedactor:
    """Shortens known write keys of any shape, wherever they stand in a text.

    It also finds any 12 characters of a known secret, because test runners cut long values short.
    """

    LEAST = 12
    """Characters of a secret that are never shown in one piece."""
    _STEP = 6
    """Whoever looks at every sixth character finds six characters of each piece of that length."""

    def __init__(self, keys: Iterable[str]) -> None:
        """`keys` are the known write keys."""
        self._keys: list[tuple[str, re.Pattern[str]]] = []
        self._places: dict[str, list[tuple[str, int]]] = {}
        for key in sorted(set(filter(None, map(str, keys))), key=len, reverse=True):
            spellings = {key, encoded := quote(key, safe=""), encoded.replace("%2F", "%2f")}
            # A short key, such as "1/a", is no key if it is part of a longer word.
            anywhere = "|".join(map(re.escape, spellings))
            self._keys.append((key, re.compile(rf"(?<![\w/])(?:{anywhere})(?![\w/])")))
            secret = key.partition("/")[2] or key
            if len(secret) >= self.LEAST:
                for start in range(len(secret) - self._STEP + 1):
                    piece = secret[start : start + self._STEP]
                    self._places.setdefault(piece, []).append((secret, start))

    def __call__(self, text: str) -> str:
        """Return `text` with every known key, and everything that looks like a key, shortened."""
        for key, pattern in self._keys:
            short = shortened(key)
            text = pattern.sub(lambda _, short=short: short, text)  # type: ignore[misc]
        return without_keys(self._without_pieces(text))

    def _without_pieces(self, text: str) -> str:
        kept, done, at = [], 0, 0
        while self._places and at + self._STEP <= len(text):
            places = self._places.get(text[at : at + self._STEP], ())
            found = [self._piece(text, at, done, *place) for place in places]
            first, last, is_start = max(
                found, key=lambda piece: piece[1] - piece[0], default=(0,) * 3
            )
            if last - first < self.LEAST:
                at += self._STEP
                continue
            kept += [text[done:first], text[first : first + _SHOWN] if is_start else "", "…"]
            done = at = last
        return "".join(kept) + text[done:]

    def _piece(
        self, text: str, at: int, done: int, secret: str, start: int
    ) -> tuple[int, int, bool]:
        """Where the piece of `secret` around `at` begins and ends; whether it begins the secret."""
        first, last = at, at + self._STEP
        end = start + self._STEP
        while first > done and start and text[first - 1] == secret[start - 1]:
            first, start = first - 1, start - 1
        while last < len(text) and end < len(secret) and text[last] == secret[end]:
            last, end = last + 1, end + 1
        return first, last, start == 0


def shortened(key: str) -> str:
    """Return `key` with only the beginning of its secret, for example `12345/abc…`."""
    account, slash, secret = str(key).partition("/")
    if not slash:
        return _beginning(account)
    return f"{account if len(account) <= 20 else _beginning(account)}/{_beginning(secret)}"


def without_keys(text: str) -> str:
    """Return `text` (a target, a header line) with every write key in it shortened.

    A key is recognised by the name before it, or by its shape.
    """
    named = _NAMED.sub(lambda found: found[1] + shortened(found[2].replace("%2F", "/")), text)
    return _BARE.sub(r"\1…", named)


def _beginning(secret: str) -> str:
    return secret[: min(_SHOWN, len(secret) // 2)] + "…"
