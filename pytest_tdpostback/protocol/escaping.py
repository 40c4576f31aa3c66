"""Makes text that a sender chose safe to print on one line."""

from __future__ import annotations

from .secrets import without_keys

_LONGEST_KEY = 200
"""Characters behind the last shown one that are searched for keys, so that no key is cut apart."""


def escaped(text: str) -> str:
    r"""Return `text` with every character that doesn't print replaced by an escape.

    This covers control characters (C0, DEL, C1), all line breaks, bidirectional and other format
    characters, and lone surrogates: a line break becomes `\n`, U+202E becomes `\u202e`. Nothing
    that a sender writes can then move the cursor or begin a line of its own.
    """
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() else ascii(each)[1:-1] for each in text)


def shown(text: str, most: int = 100) -> str:
    """Return the beginning of `text` for a message: keys shortened, escaped, `most` characters."""
    safe = escaped(without_keys(text[: most + _LONGEST_KEY]))
    return safe if len(safe) <= most else safe[:most] + "…"
