"""Reads a JSON body and refuses what is not acceptable (rules B2, B3, B4, B7)."""

from __future__ import annotations

import gc
import json
import math
import re
import sys
from collections import Counter
from itertools import accumulate
from typing import Any, NoReturn

LARGE = 64 * 1024
"""Bytes of a body that is decoded without the garbage collector."""
MAX_DEPTH = 512
"""B7: the most levels of nesting."""

_NO_MARKS = bytes(set(range(256)) - set(b'[]{}"'))
_STEPS = bytes.maketrans(b"[{]}", b"\x01\x01\xff\xff")
"""A bracket as the signed byte by which it changes the depth."""
_LONE_SURROGATE = r"(?i)\\ud[89ab]..(?!\\ud[c-f])|(?<!\\ud[89ab]..)\\ud[c-f].."
"""In valid JSON: the first half of a character with no second after it, or the other way round."""


class InvalidBody(Exception):
    """The service refuses this body with `status`; `rule` is the id of the rule that says so."""

    def __init__(self, rule: str, reason: str, status: int = 400) -> None:
        super().__init__(reason)
        self.rule = rule
        self.status = status


def parse(body: bytes) -> dict[str, Any]:
    """Return the JSON object in the body of a `POST`.

    If a name stands more than once in an object, its last value counts (B5).

    Raises:
        InvalidBody: The body is empty (B4), isn't strict JSON in UTF-8 (B2), has more than 512
            levels of nesting (B7), or its top level isn't an object (B3).
    """
    # To decode a large one would hold other threads up.
    if len(body) >= LARGE and not body.lstrip(b" \t\n\r").startswith(b"{"):
        raise InvalidBody("B3", "the top level is not an object")
    value = parse_any(body)
    if type(value) is not dict:
        raise InvalidBody("B3", f"the top level is {type_name(value)}, not an object")
    return value


def parse_any(body: bytes) -> Any:
    """Return the JSON value in `body`, of any type. Raises `InvalidBody` (B2, B4, B7)."""
    if not body:
        raise InvalidBody("B4", "the body is empty")
    try:
        text = body.decode().strip(" \t\n\r")
    except UnicodeDecodeError as error:
        raise InvalidBody("B2", f"byte {error.start} is not UTF-8") from None
    if len(body) > MAX_DEPTH < body.count(b"{") + body.count(b"[") and _depth(body) > MAX_DEPTH:
        raise InvalidBody("B7", f"the body has more than {MAX_DEPTH} levels of nesting")
    # The garbage collector would walk through everything that was decoded so far again and again:
    # 2 MiB of `[],` take 0.25 s with it, and 0.05 s without.
    pause = len(body) >= LARGE and gc.isenabled()
    if pause:
        gc.disable()
    try:
        value, end = _decode(text)
    except json.JSONDecodeError as error:
        raise InvalidBody("B2", f"the body is not JSON: {error}") from None
    except ValueError:  # the interpreter's own limit, 4,300 by default
        most = sys.get_int_max_str_digits()
        raise InvalidBody("B2", f"an integer has more than {most:,} digits") from None
    finally:
        if pause:
            gc.enable()
    if end != len(text):
        raise InvalidBody("B2", f"the body is not JSON: more text at character {end}")
    # A backslash that is escaped itself escapes nothing. Two other characters keep apart what
    # stands before and after it.
    if "\\u" in text and (found := re.search(_LONE_SURROGATE, text.replace("\\\\", "__"))):
        raise InvalidBody("B2", f"{found[0]} is half a character (a lone surrogate)")
    return value


def accepted(body: bytes) -> dict[str, Any]:
    """Return the JSON object in a `body` that was accepted: `parse` without its checks."""
    value: dict[str, Any] = _decode_accepted(body.decode().strip(" \t\n\r"))[0]
    return value


def _constant(name: str) -> NoReturn:
    raise InvalidBody("B2", f"{name} is not JSON")


def _float(digits: str) -> float:
    value = float(digits)
    if math.isinf(value):
        shown = digits if len(digits) <= 20 else digits[:20] + "…"
        raise InvalidBody("B2", f"the number {shown} is beyond the range of a double")
    return value


_decode = json.JSONDecoder(parse_constant=_constant, parse_float=_float).raw_decode
_decode_accepted = json.JSONDecoder().raw_decode


def _depth(body: bytes) -> int:
    """The most levels of nesting in `body`, also if it isn't JSON.

    Each step is one pass of compiled code, because the body may have many megabytes of brackets.
    """
    unescaped = body.replace(rb"\\", b"").replace(rb"\"", b"")
    pieces = unescaped.translate(_STEPS, _NO_MARKS).split(b'"')
    outside_strings = b"".join(pieces[::2])
    return max(accumulate(memoryview(outside_strings).cast("b")), default=0)


def duplicate_keys(body: bytes) -> list[str]:
    """Return the names that stand more than once in one object of `body` (B5), in their order."""
    if b"\\" not in body:  # as in most bodies: then a string ends with the next quotation mark
        names = [name for name, colon in re.findall(rb'"([^"]*)"(\s*:)?', body) if colon]
        if len(names) == len(set(names)):
            return []
    found: dict[str, None] = {}

    def note(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        value = dict(pairs)
        if len(value) < len(pairs):
            times = Counter(key for key, _ in pairs)
            found.update(dict.fromkeys(key for key in times if times[key] > 1))
        return value

    json.JSONDecoder(object_pairs_hook=note, parse_int=str, parse_float=str).decode(body.decode())
    return list(found)


def type_name(value: Any) -> str:
    """Return what `value` is in the words of JSON, unless it is an object."""
    names = {list: "an array", str: "a string", bool: "a boolean", type(None): "null"}
    return names.get(type(value), "a number")
