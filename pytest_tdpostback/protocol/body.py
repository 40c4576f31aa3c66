"""What a JSON body has to be (rules B2, B3, B4, B7)."""

from __future__ import annotations

import json
import math
import re
import sys
from decimal import Decimal
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

MAX_DEPTH = 512
MAX_INTEGER_DIGITS = 4_300

_WHITESPACE = " \t\n\r"
_SHORT = 640
"""Bytes below which no integer can be too long for any Python: `sys.set_int_max_str_digits` takes
no smaller limit."""

_LONE_SURROGATE = re.compile(
    r"""\\(?:\\                                            # an escaped backslash is no escape
        |u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}   # a pair is a character
        |(u[dD][89a-fA-F][0-9a-fA-F]{2}))                  # half a pair is none""",
    re.VERBOSE,
)
_ESCAPE = re.compile(r"\\.", re.DOTALL)
_STRING = re.compile(r'"[^"]*(?:"|\Z)')
_BRACKET = re.compile(r"[\[\]{}]")


class InvalidBody(ValueError):
    """A body that the service refuses; `rule` says by which rule."""

    def __init__(self, rule: str, reason: str) -> None:
        super().__init__(reason)
        self.rule = rule


def _constant(name: str) -> NoReturn:
    raise InvalidBody("B2", f"{name} is not JSON")


def _float(digits: str) -> float:
    value = float(digits)
    if math.isinf(value):
        raise InvalidBody("B2", f"the number {_cut(digits)} is out of the range of a double")
    return value


def _int(digits: str) -> int:
    if len(digits.lstrip("-")) > MAX_INTEGER_DIGITS:
        raise InvalidBody(
            "B2",
            f"an integer of {len(digits.lstrip('-'))} digits; {MAX_INTEGER_DIGITS} are the most",
        )
    return _unlimited(digits)


def _unlimited(digits: str) -> int:
    try:
        return int(digits)
    except ValueError:  # more than this interpreter is allowed: sys.set_int_max_str_digits
        return int(Decimal(digits))


_decode_short = json.JSONDecoder(parse_constant=_constant, parse_float=_float).raw_decode
_decode_long = json.JSONDecoder(
    parse_constant=_constant, parse_float=_float, parse_int=_int
).raw_decode


_limit: Callable[[], int] = getattr(sys, "get_int_max_str_digits", int)
"""The most digits of an integer that the interpreter reads; 0 sets no limit, nor does Python before
3.10.7."""


def _decode(text: str) -> tuple[Any, int]:
    """The value that `text` begins with, and where it ends.

    Checking every integer takes several times as long, so the interpreter's limit comes first.
    """
    if not 0 < _limit() <= MAX_INTEGER_DIGITS:
        return _decode_long(text)
    try:
        return _decode_short(text)
    except (json.JSONDecodeError, InvalidBody):
        raise
    except ValueError:  # an integer above that limit
        return _decode_long(text)


def parse(body: bytes) -> dict[str, Any]:
    """The object that a POST body holds; of a duplicate key the last value (B5).

    Raises `InvalidBody` naming B4 for an empty body, B2 for what is not strict JSON in UTF-8, B7
    for more than 512 levels, B3 where the top level is no object.
    """
    value = parse_any(body)
    if type(value) is not dict:
        raise InvalidBody("B3", f"the top level is {_kind(value)}, not an object")
    return value


def parse_any(body: bytes) -> Any:
    """The JSON value in `body`, whatever its type; raises `InvalidBody` (B2, B4, B7)."""
    if not body:
        raise InvalidBody("B4", "the body is empty")
    try:
        text = body.decode().strip(_WHITESPACE)
        if len(body) > MAX_DEPTH and body.count(b"{") + body.count(b"[") > MAX_DEPTH:
            _refuse_deep(text)
        value, end = (_decode_short if len(body) < _SHORT else _decode)(text)
    except UnicodeDecodeError as error:
        raise InvalidBody("B2", f"byte {error.start} is not UTF-8") from None
    except json.JSONDecodeError as error:
        raise InvalidBody("B2", f"not JSON: {error}") from None
    if end != len(text):
        raise InvalidBody("B2", f"not JSON: more text at character {end} after the value")
    if "\\u" in text:
        _refuse_lone_surrogates(text)
    return value


def _refuse_deep(text: str) -> None:
    depth = 0
    # Each substitution is one pass in constant memory, whatever a hostile body looks like; one
    # pattern for a string with its escapes is neither.
    for bracket in _BRACKET.finditer(_STRING.sub("", _ESCAPE.sub("", text))):
        depth += 1 if bracket[0] in "[{" else -1
        if depth > MAX_DEPTH:
            raise InvalidBody("B7", f"more than {MAX_DEPTH} levels of nesting")


def _refuse_lone_surrogates(text: str) -> None:
    for escape in _LONE_SURROGATE.finditer(text):
        if escape[1]:
            raise InvalidBody("B2", f"\\{escape[1]} is half a character (a lone surrogate)")


def duplicate_keys(body: bytes, parsed: Mapping[str, Any]) -> list[str]:
    """The keys that stand more than once in one object of `body` (B5), in order of appearance.

    `parsed` is what `parse` made of `body`.
    """
    if body.count(b":") == len(parsed):  # each key has one
        return []
    found: dict[str, None] = {}

    def note(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                found[key] = None
            seen.add(key)
        return dict(pairs)

    json.JSONDecoder(object_pairs_hook=note, parse_int=str, parse_float=str).decode(body.decode())
    return list(found)


def _kind(value: Any) -> str:
    kinds = {list: "an array", str: "a string", bool: "a boolean", type(None): "null"}
    return kinds.get(type(value), "a number")


def _cut(digits: str, most: int = 20) -> str:
    return digits if len(digits) <= most else digits[:most] + "…"
