"""Write keys as they may be shown: shortened wherever they end up in text."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Self

_SHOWN = 3
_NAMED = re.compile(r"""(?i)(write[-_]?key["']?\s*[=:]\s*["']?|\btd1\s+)([^\s&"',;]+)""")
_BARE = re.compile(r"(?i)(?<=\d)((?:/|%2f)[0-9a-f]{3})[0-9a-f]{37}(?![0-9a-f])")
"""The service's own keys, and those that a double makes: a number and 40 hexadecimal digits."""


class Redacted(str):
    """A string whose `repr` shows a shortened form: tracebacks and assertions print that."""

    __slots__ = ()

    @property
    def shown(self) -> str:
        """What `repr` gives instead of the string itself."""
        raise NotImplementedError

    def __repr__(self) -> str:
        return repr(self.shown)


class RedactedText(Redacted):
    """A text with a write key somewhere in it."""

    __slots__ = ("_shown",)
    _shown: str

    def __new__(cls, value: str, shown: str) -> Self:
        """`value` is the string itself, `shown` what `repr` gives instead."""
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
        """The key shortened."""
        return shortened(self)


def shortened(key: str) -> str:
    """`key` with all but the beginning of its secret left out, e.g. `12345/abc…`."""
    account, slash, secret = str(key).partition("/")
    if not slash:
        return _head(account)
    return f"{account if len(account) <= 20 else _head(account)}/{_head(secret)}"


def without_keys(text: str) -> str:
    """`text` (a target, a header line) with every write key in it shortened.

    A key is told by the name before it, or else by its looks.
    """
    named = _NAMED.sub(lambda found: found[1] + shortened(found[2].replace("%2F", "/")), text)
    return without_bare_keys(named)


def without_bare_keys(text: str) -> str:
    """`text` with every write key shortened that looks like one of the service's."""
    return _BARE.sub(r"\1…", text)


def _head(secret: str) -> str:
    return secret[: min(_SHOWN, len(secret) // 2)] + "…"
