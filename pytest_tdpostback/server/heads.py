"""Heads that need no parsing: those that were parsed before, and those that differ harmlessly."""

from __future__ import annotations

import re
from functools import cached_property
from typing import NamedTuple

from ..protocol.request import RequestHead

REMEMBERED_HEADS = 1024
END_OF_HEAD = b"\r\n\r\n"
_HARMLESS = re.compile(
    rb"""(?!(?:content-length|connection|proxy-connection):)    # they frame what is around them
         ([!#$%&'*+\-.^_`|~0-9A-Za-z]+:)             # a name as in RFC 9110, 5.1
         [ \t]*([\t\x20-\x7e\x80-\xff]*)             # a value without line break or NUL, 5.5""",
    re.VERBOSE | re.IGNORECASE,
)
"""A field whose value decides nothing about a message that is known to be a plain one."""
_LENGTH = re.compile(rb"(content-length:)[ \t]*([0-9]{1,18})", re.IGNORECASE)


class Known(NamedTuple):
    """What a head that was parsed came to."""

    head: RequestHead
    length: int
    """Bytes of the body behind it."""
    keep_alive: bool


class Heads:
    """Heads that were parsed before, by their bytes.

    One is kept when it comes for the second time: those that never come again only cost memory.
    """

    def __init__(self) -> None:
        self._known: dict[bytes, Known] = {}
        self._seen: set[int] = set()
        self.get = self._known.get
        self.pattern: Pattern | None = None
        """The last head that was parsed, on any connection."""

    def note(self, raw: bytes, known: Known) -> None:
        """`raw` came to `known`."""
        mark = hash(raw)
        if mark in self._seen:
            if len(self._known) >= REMEMBERED_HEADS:
                self._known.clear()
            self._known[raw] = known
        else:
            if len(self._seen) >= REMEMBERED_HEADS:
                self._seen.clear()
            self._seen.add(mark)


class Pattern:
    """A head that was parsed, and those that are like it.

    Some senders write an id into each head, and a test has a port and a write key of its own. Where
    the lines that changed are the length or fields that frame nothing, in the strict form of the
    standard, parsing could not come to anything else.
    """

    def __init__(self, raw: bytes, known: Known) -> None:
        """`raw` are the bytes, up to and with the empty line, that came to `known`."""
        self._raw = raw
        self._known = known

    @cached_property
    def _sent(self) -> list[bytes]:
        return self._raw[: -len(END_OF_HEAD)].split(b"\r\n")

    @cached_property
    def _kept(self) -> list[bytes]:
        return self._known.head.raw.split(b"\r\n")

    def like(self, raw: bytes) -> Known | None:
        """What `raw` comes to; `None` where it has to be parsed."""
        lines = raw[: -len(END_OF_HEAD)].split(b"\r\n")
        if len(lines) != len(self._sent) or lines[0] != self._sent[0]:
            return None
        kept, length = self._kept.copy(), self._known.length
        for at, (line, before) in enumerate(zip(lines, self._sent)):  # noqa: B905 - equally long
            if line != before:
                new_length = _LENGTH.fullmatch(line)
                field = new_length or _HARMLESS.fullmatch(line)
                if field is None or not before.startswith(field[1]):
                    return None
                if new_length:
                    length = int(field[2])
                kept[at] = field[1] + field[2].rstrip(b" \t")
        return Known(RequestHead(b"\r\n".join(kept)), length, self._known.keep_alive)
