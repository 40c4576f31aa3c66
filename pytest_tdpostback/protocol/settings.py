"""The settings of a double: one field each, with everything that has to be known about it.

Options, ini keys, marker arguments and factory arguments are made from these fields.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any

from ..errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from dataclasses import Field

    from .profiles import Profile

MIB = 1024 * 1024
_HOST = re.compile(r"[a-z0-9_-]+(\.[a-z0-9_-]+)*\Z")


def _choice(*choices: str, **metadata: str) -> Any:
    return field(default=choices[0], metadata={"choices": choices, **metadata})


def _value(default: Any, convert: Any, *, rule: str = "", **metadata: str) -> Any:
    return field(default=default, metadata={"convert": convert, "rule": rule, **metadata})


def _profile(value: Any) -> Profile | None:
    if value is None:
        return None
    from .profiles import Profile, profiles

    if isinstance(value, Profile):
        return value
    try:
        chosen: Profile = profiles[value]
    except (KeyError, TypeError):
        raise ValueError(_one_of([row.name for row in profiles])) from None
    return chosen


def _seconds(value: Any) -> float:
    try:
        seconds = -1.0 if isinstance(value, bool) else float(value)
    except (TypeError, ValueError, OverflowError):
        seconds = -1.0
    if not 0 <= seconds <= MAX_SECONDS:  # nan is not in the range either
        raise ValueError(f"a number of seconds from 0 to {MAX_SECONDS:,}")
    return seconds


MAX_SECONDS = 3_600
"""The longest timeout or delay that can be given, in seconds."""


def valid_seconds(name: str, value: Any) -> float:
    """`value` as a number of seconds, from 0 to 3,600.

    Raises `ConfigurationError` with `name`, the value and the range if it is anything else.
    """
    __tracebackhide__ = True
    try:
        return _seconds(value)
    except ValueError as error:
        raise ConfigurationError(f"{name}={value!r} is not valid; give {error}") from None


def _bytes(value: Any) -> int:
    try:
        size = int(value)
    except (TypeError, ValueError, OverflowError):
        raise ValueError("a whole number of bytes, 1 or more") from None
    if isinstance(value, bool) or size != (value if isinstance(value, float) else size) or size < 1:
        raise ValueError("a whole number of bytes, 1 or more")
    return size


def _flag(value: Any) -> bool:
    known = {"true": True, "1": True, "yes": True, "on": True}
    known |= {"false": False, "0": False, "no": False, "off": False}
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value.lower() in known:
        return known[value.lower()]
    raise ValueError("true or false")


def host_name(host: str) -> str:
    """Return `host` as clients send it: lower case, no final dot, other letters as IDNA."""
    if not host.isascii():
        try:
            host = host.encode("idna").decode()
        except UnicodeError:
            return host
    return host.rstrip(".").lower()


def _hosts(value: Any) -> tuple[str, ...]:
    names = value.replace(",", " ").split() if isinstance(value, str) else value
    try:
        hosts = tuple(host_name(name) for name in names)
    except (AttributeError, TypeError):
        hosts = ("",)
    if not all(_HOST.match(host) for host in hosts):
        raise ValueError("names of hosts, without scheme, port and path")
    return hosts


def _hosts_and_networks(value: Any) -> tuple[str, ...]:
    names = value.replace(",", " ").split() if isinstance(value, str) else value
    try:
        return tuple(str(name) if is_network(name) else _hosts([name])[0] for name in names)
    except (TypeError, ValueError):
        raise ValueError(
            "names of hosts without scheme, port and path, IP addresses, or networks such as "
            "10.0.0.0/8"
        ) from None


def is_network(value: Any) -> bool:
    """Return whether `value` is an IP address or a network."""
    try:
        ipaddress.ip_network(value)
    except ValueError:
        return False
    return not isinstance(value, int)


def _among(choices: tuple[str, ...], value: Any) -> Any:
    if value not in choices:
        raise ValueError(_one_of(choices))
    return value


def _one_of(choices: list[str] | tuple[str, ...]) -> str:
    return "one of " + ", ".join(choices)


@dataclass(frozen=True)
class Settings:
    """How a double behaves. Every field is a setting; its metadata says what it accepts.

    Raises `ConfigurationError` where a value is not acceptable.
    """

    profile: Profile | None = _value(  # noqa: RUF009 - makes a field, as the others do
        None,
        _profile,
        rule="A6",
        help="documents to imitate: openapi-1.0.0, article-2015 or v2-2.0.0 (default: the host of "
        "the request decides, else openapi-1.0.0)",
    )
    value_types: str = _choice(
        "json",
        "string",
        rule="V2",
        help="json keeps the types of the values; string turns every value into text",
    )
    stale_time: str = _choice(
        "receipt",
        "drop",
        rule="T3",
        help="a td_record_time outside the window: receipt ignores the value, drop rejects the "
        "event",
    )
    url_parameters: str = _choice(
        "ignore",
        "store",
        rule="B10",
        help="URL parameters beside a JSON body: ignore them, or store them as strings",
    )
    malformed_key: str = _choice(
        "async",
        "refuse",
        rule="A7",
        help="a write key that is not account/secret: async answers 200 and rejects later, refuse "
        "answers 403",
    )
    validation_delay: float = _value(
        0.0, _seconds, rule="Y5", help="seconds of real time between an answer and its validation"
    )
    on_auth_failure: str = _choice(
        "fail",
        "ignore",
        rule="Y3",
        help="a test with an unexpected authentication failure: fail it, or ignore the failure",
    )
    max_body: int = _value(
        64 * MIB, _bytes, rule="B6", help="largest body in bytes before an answer of 413"
    )
    explain: bool = _value(
        False, _flag, rule="W4", help="send the reason of a refusal in the answer, for debugging"
    )
    redirect: bool = _value(
        False, _flag, help="lead connections to the service's hosts to the double, verified TLS too"
    )
    block_network: bool = _value(
        False,
        _flag,
        help="redirect, and refuse every connection to another host that is not this machine",
    )
    extra_hosts: tuple[str, ...] = _value(
        (), _hosts, help="further hosts to treat as the service's, beside those it is known by"
    )
    allow_hosts: tuple[str, ...] = _value(
        (),
        _hosts_and_networks,
        help="hosts, IP addresses and networks that block_network lets through",
    )
    tls: bool = _value(False, _flag, help="serve the double's own URL over HTTPS")

    def __post_init__(self) -> None:
        for row in fields(self):
            object.__setattr__(self, row.name, checked(row, getattr(self, row.name), ""))

    def changed(self, changes: Mapping[str, Any], where: str = "") -> Settings:
        """These settings with `changes`; `where` names their origin in the text of an error.

        Raises `ConfigurationError` for a name that is no setting and for a value it does not take.
        """
        __tracebackhide__ = True
        known = {row.name: row for row in fields(self)}
        chosen: dict[str, Any] = {}
        for name, value in changes.items():
            chosen[name] = checked(_known(known, name, where), value, where)
        return replace(self, **chosen)


def checked(row: Field[Any], value: Any, where: str) -> Any:
    """`value` as the setting `row` keeps it; raises `ConfigurationError` naming what it accepts."""
    __tracebackhide__ = True
    choices = row.metadata.get("choices")
    try:
        return row.metadata["convert"](value) if choices is None else _among(choices, value)
    except ValueError as error:
        origin = f"{where}: " if where else ""
        raise ConfigurationError(
            f"{origin}{row.name}={value!r} is not valid; give {error}"
        ) from None


def _known(known: Mapping[str, Field[Any]], name: str, where: str) -> Field[Any]:
    __tracebackhide__ = True
    if name in known:
        return known[name]
    import difflib

    near = difflib.get_close_matches(name, known, 1)
    hint = f" (did you mean {near[0]}?)" if near else ""
    origin = f"{where}: " if where else ""
    raise ConfigurationError(
        f"{origin}{name!r} is no setting{hint}; valid settings: {', '.join(known)}"
    )
