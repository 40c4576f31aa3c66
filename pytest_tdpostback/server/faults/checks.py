"""Checks of the arguments of faults; an error names the argument, its value and what is valid."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from ...errors import ConfigurationError

STATUS = "HTTP status from 200 to 599"


def count(method: str, name: str, value: Any, *, least: int = 0) -> int:
    """`value` as a whole number of at least `least`."""
    if type(value) is not int or value < least:
        raise invalid(method, name, value, f"a whole number, {least} or more")
    return value


def number(method: str, name: str, value: Any, valid: str, *, most: float = math.inf) -> float:
    """`value` as a number from 0 to `most`; `valid` says so in words."""
    if not _is_number(value) or not 0 <= value <= most:
        raise invalid(method, name, value, valid)
    return float(value)


def positive(method: str, name: str, value: Any) -> float:
    """`value` as a number above 0."""
    if not _is_number(value) or value <= 0:
        raise invalid(method, name, value, "a number above 0")
    return float(value)


def route_part(method: str, name: str, value: Any) -> None:
    """Check the name of a database or table, or `None` for any."""
    if not (value is None or (isinstance(value, str) and value)):
        raise invalid(method, name, value, "a name as in the URL, or None for any")


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
