"""Arguments of faults: taken as they are meant, or refused with what is valid."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from ...errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Sequence

STATUS = "HTTP status from 200 to 599"


def count(method: str, name: str, value: Any, *, least: int = 0) -> int:
    """`value` as a whole number of at least `least`."""
    if type(value) is not int or value < least:
        raise _wrong(method, name, value, f"a whole number from {least} on")
    return value


def seconds(method: str, value: Any, name: str = "seconds") -> float:
    """`value` as a time in seconds, 0 or more."""
    if not _is_number(value) or value < 0:
        raise _wrong(method, name, value, "a number of seconds, 0 or more")
    return float(value)


def positive(method: str, name: str, value: Any) -> float:
    """`value` as a number above 0."""
    if not _is_number(value) or value <= 0:
        raise _wrong(method, name, value, "a number above 0")
    return float(value)


def share(method: str, name: str, value: Any) -> float:
    """`value` as a probability."""
    if not _is_number(value) or not 0 <= value <= 1:
        raise _wrong(method, name, value, "a number from 0 to 1")
    return float(value)


def http_status(method: str, value: Any) -> int:
    """`value` as the status of a final answer."""
    if not is_status(value):
        raise _wrong(method, "code", value, f"an {STATUS}")
    return int(value)


def route_part(method: str, what: str, value: Any) -> str | None:
    """`value` as the name of a database or table, or `None` for any."""
    if not (value is None or (isinstance(value, str) and value)):
        raise _wrong(method, what, value, "a name as in the URL, or None for any")
    return value


def coin_seed(method: str, value: Any) -> int | None:
    """`value` as what a coin is tossed from."""
    if not (value is None or type(value) is int):
        raise _wrong(method, "seed", value, "a whole number")
    return value


def one_of(method: str, name: str, value: Any, valid: Sequence[str]) -> Any:
    """`value`, which is one of `valid`."""
    if value not in valid:
        raise _wrong(method, name, value, f"one of {', '.join(map(repr, valid))}")
    return value


def is_status(value: Any) -> bool:
    """Whether `value` is the status of a final answer."""
    return type(value) is int and 200 <= value <= 599


def series(value: Any) -> list[Any]:
    """`value` as the entries of a sequence."""
    if isinstance(value, (str, bytes)) or not isinstance(value, Iterable):
        raise _wrong("sequence", "entries", value, "a list of entries, like [503, 'ok']")
    return list(value)


def wrong_entry(value: Any, valid: str) -> ConfigurationError:
    """What is raised for `value` as an entry of a sequence."""
    return _wrong("sequence", "entry", value, valid)


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and math.isfinite(value)


def _wrong(method: str, name: str, value: Any, valid: str) -> ConfigurationError:
    return ConfigurationError(f"faults.{method}({name}={value!r}): give {valid}")
