"""The settings of a fake server: one field each, with everything that is to be known about it.

Options, ini keys, marker arguments and factory arguments are made from these fields.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any, Literal, TypedDict

from ..errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from dataclasses import Field

    from .profiles import Profile

MIB = 1024 * 1024
_HOST = re.compile(r"[a-z0-9_-]+(\.[a-z0-9_-]+)*\Z")


class Implied(str):
    """The value of a setting that nobody has chosen, so that `strict` may change it."""

    __slots__ = ()


def _choice(*choices: str, **metadata: str) -> Any:
    return field(default=choices[0], metadata={"choices": choices, **metadata})


def _in_a_test(default: str, *choices: str, **metadata: str) -> Any:
    """What a test does about something. `strict` makes it `fail`, unless somebody chose a value."""
    metadata = {"rule": "", **metadata}
    return field(
        default=Implied(default),
        metadata={"choices": (default, *choices), "strict": True, **metadata},
    )


def _value(default: Any, convert: Any, *, rule: str = "", **metadata: Any) -> Any:
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


def _names(value: Any) -> list[Any]:
    return value.replace(",", " ").split() if isinstance(value, str) else list(value)


def host_name(host: str) -> str:
    """Return `host` as clients send it: lower case, no final dot, other letters as IDNA."""
    if not host.isascii():
        try:
            host = host.encode("idna").decode()
        except UnicodeError:
            return host
    return host.rstrip(".").lower()


def _hosts(value: Any) -> tuple[str, ...]:
    try:
        hosts = tuple(host_name(name) for name in _names(value))
    except (AttributeError, TypeError):
        hosts = ("",)
    if not all(_HOST.match(host) for host in hosts):
        raise ValueError("names of hosts, without scheme, port and path")
    return hosts


def _hosts_and_networks(value: Any) -> tuple[str, ...]:
    try:
        return tuple(str(name) if is_network(name) else _hosts([name])[0] for name in _names(value))
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


def _finding_action(value: Any) -> Any:
    from .rules import rules

    action, colon, listed = value.partition(":") if isinstance(value, str) else ("", "", "")
    if action not in ("warn", "fail", "ignore"):
        raise ValueError("warn, fail or ignore, or one of them with rules, such as fail:C1,T5")
    names = _names(listed)
    for name in names:
        if name not in rules:
            raise ValueError(f"ids of rules; did you mean {rules.nearest(name)} for {name!r}?")
    if colon and not names:
        raise ValueError(f"ids of rules after {action}:, such as {action}:C1,T5")
    return f"{action}:{','.join(names)}" if names else value


def _among(choices: tuple[str, ...], value: Any) -> Any:
    if value not in choices:
        raise ValueError(_one_of(choices))
    return value


def _one_of(choices: list[str] | tuple[str, ...]) -> str:
    return "one of " + ", ".join(choices)


class ServerSettingValues(TypedDict, total=False):
    """The settings that `PostbackServer` takes beside its own arguments; see `Settings`."""

    value_types: Literal["json", "string"]
    stale_time: Literal["receipt", "drop"]
    url_parameters: Literal["ignore", "store"]
    malformed_key: Literal["async", "refuse"]
    validation_delay: float
    strict: bool
    on_auth_failure: Literal["fail", "ignore"]
    on_refusal: Literal["ignore", "fail"]
    on_unasserted: Literal["ignore", "fail"]
    on_late: Literal["report", "fail"]
    on_finding: str
    deduplicate: bool
    max_body: int
    explain: bool
    redirect: bool
    block_network: bool
    extra_hosts: str | Iterable[str]
    allow_hosts: str | Iterable[str]
    tls: bool


class SettingValues(ServerSettingValues, total=False):
    """The settings that `make_tdpostback` takes; see `Settings`."""

    profile: str | Profile | None
    inspection: bool


@dataclass(frozen=True)
class Settings:
    """How a fake server and its test behave. Every field is a setting.

    The metadata of a field says what it accepts and what it means. Raises `ConfigurationError` if
    a value is not acceptable.
    """

    profile: Profile | None = _value(  # noqa: RUF009 - makes a field, as the others do
        None,
        _profile,
        rule="A6",
        help="documents to imitate: openapi-1.0.0, article-2015, v2-2.0.0 or ingestion-v1 "
        "(default: the host of the request decides, else openapi-1.0.0)",
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
        0.0, _seconds, rule="Y5", help="seconds of real time between a response and its validation"
    )
    # It stands before the settings that it changes, because fields are checked in this order.
    strict: bool = _value(
        False, _flag, help="fail for everything that an on_... setting is about, unless it is set"
    )
    on_auth_failure: str = _in_a_test(
        "fail",
        "ignore",
        rule="Y3",
        help="an unexpected authentication failure: fail the test, or ignore it",
    )
    on_refusal: str = _in_a_test(
        "ignore",
        "fail",
        help="an event that was refused (4xx) and that no assertion claimed: ignore it, or fail "
        "the test",
    )
    on_unasserted: str = _in_a_test(
        "ignore",
        "fail",
        help="an ingested event that no assertion claimed: ignore it, or fail the test",
    )
    on_late: str = _in_a_test(
        "report",
        "fail",
        help="an event that arrives after its test ended: report it, or let the run exit with 1",
    )
    on_finding: str = _value(
        Implied("warn"),
        _finding_action,
        help="a finding: warn, fail the test, or ignore it; fail:C1,T5 fails for these rules and "
        "warns for others",
        strict=True,
    )
    deduplicate: bool = _value(
        True,
        _flag,
        rule="I17",
        help="ingestion-v1: do not store a record again that has the uuid of a stored one",
    )
    max_body: int = _value(
        64 * MIB, _bytes, rule="B6", help="largest body in bytes; a larger one is refused with 413"
    )
    explain: bool = _value(
        False, _flag, rule="W4", help="send the reason of a refusal in the response, for debugging"
    )
    redirect: bool = _value(
        False,
        _flag,
        help="redirect connections for the service's hosts to the fake server, verified TLS too",
    )
    block_network: bool = _value(
        False,
        _flag,
        help="redirect, and refuse every connection to any other host except this machine",
    )
    extra_hosts: tuple[str, ...] = _value(
        (), _hosts, help="more hosts to treat as the service's own"
    )
    allow_hosts: tuple[str, ...] = _value(
        (), _hosts_and_networks, help="hosts and networks that block_network lets through"
    )
    tls: bool = _value(False, _flag, help="serve the fake server's own URL over HTTPS")
    inspection: bool = _value(
        False, _flag, help="offer the REST interface and the live page below /.tdpostback/"
    )

    def __post_init__(self) -> None:
        for row in fields(self):
            value = checked(row, getattr(self, row.name), "")
            if "strict" in row.metadata and isinstance(value, Implied):
                value = Implied("fail") if self.strict else row.default
            object.__setattr__(self, row.name, value)

    def finding_action(self, rule: str) -> str:
        """Return what a test does about a finding by `rule`: `warn`, `fail` or `ignore`."""
        action, _, listed = self.on_finding.partition(":")
        return action if not listed or rule in listed.split(",") else "warn"

    def changed(self, changes: Mapping[str, Any], where: str = "") -> Settings:
        """Return these settings with `changes`.

        `where` says in an error where the changes come from. An `on_...` setting that is changed
        once keeps its own value, also if `strict` is set. Raises `ConfigurationError` for an
        unknown name and for a value that is not acceptable.
        """
        __tracebackhide__ = True
        known = {row.name: row for row in fields(self)}
        chosen: dict[str, Any] = {}
        for name, value in changes.items():
            chosen[name] = checked(_known(known, name, where), value, where)
        return replace(self, **chosen)


def checked(row: Field[Any], value: Any, where: str) -> Any:
    """Return `value` as the setting `row` keeps it, or raise `ConfigurationError`."""
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
        f"{origin}{name!r} is not a setting{hint}; valid settings: {', '.join(known)}"
    )
