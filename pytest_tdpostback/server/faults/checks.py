"""Checks of the arguments of faults; an error names the argument, its value and what is valid."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from ...errors import ConfigurationError
from ...protocol.settings import MAX_SECONDS

if TYPE_CHECKING:
    from collections.abc import Sequence

STATUS = "HTTP status from 200 to 599"


def count(method: str, name: str, value: Any, *, least: int = 0) -> int:
    """`value` as a whole number of at least `least`."""
    if type(value) is not int or value < least:
        raise invalid(method, name, value, f"a whole number, {least} or more")
    return value


def whole_number(method: str, name: str, value: Any) -> int:
    """`value` as a whole number."""
    if type(value) is not int:
        raise invalid(method, name, value, "a whole number")
    return value


def waiting_time(method: str, value: Any) -> float:
    """`value` as seconds of real time, 0 to 3,600."""
    if not _is_number(value) or not 0 <= value <= MAX_SECONDS:
        raise invalid(method, "seconds", value, f"a number of seconds from 0 to {MAX_SECONDS:,}")
    return float(value)


def duration(method: str, value: Any) -> float:
    """`value` as seconds of the server's clock, 0 or more."""
    if not _is_number(value) or value < 0:
        raise invalid(method, "seconds", value, "a number of seconds, 0 or more")
    return float(value)


def positive(method: str, name: str, value: Any) -> float:
    """`value` as a number above 0."""
    if not _is_number(value) or value <= 0:
        raise invalid(method, name, value, "a number above 0")
    return float(value)


def probability(method: str, value: Any) -> float:
    """`value` as a probability."""
    if not _is_number(value) or not 0 <= value <= 1:
        raise invalid(method, "probability", value, "a number from 0 to 1")
    return float(value)


def http_status(method: str, value: Any) -> int:
    """`value` as the status of a final response."""
    if not is_status(value):
        raise invalid(method, "code", value, f"an {STATUS}")
    return int(value)


def route_part(method: str, name: str, value: Any) -> str | None:
    """`value` as the name of a database or table, or `None` for any."""
    if not (value is None or (isinstance(value, str) and value)):
        raise invalid(method, name, value, "a name as in the URL, or None for any")
    return value


def one_of(method: str, name: str, value: Any, valid: Sequence[str]) -> Any:
    """`value`, if it is one of `valid`."""
    if value not in valid:
        raise invalid(method, name, value, f"one of {', '.join(map(repr, valid))}")
    return value


def is_status(value: Any) -> bool:
    """Whether `value` is the status of a final response."""
    return type(value) is int and 200 <= value <= 599


def entries(value: Any) -> list[Any]:
    """`value` as the entries of a sequence, at least one."""
    if isinstance(value, (str, bytes)) or not isinstance(value, Iterable):
        raise invalid("sequence", "entries", value, "a list of entries, like [503, 'ok']")
    found = list(value)
    if not found:
        raise ConfigurationError("faults.sequence([]): give at least one entry")
    return found


def invalid(method: str, name: str, value: Any, valid: str) -> ConfigurationError:
    """The error for `value` as the argument `name` of `faults.<method>`."""
    return ConfigurationError(f"faults.{method}({name}={value!r}): give {valid}")


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and math.isfinite(value)
