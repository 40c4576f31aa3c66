"""The settings of a fake server: one row each, with everything that is to be known about it.

Options, ini keys, marker arguments and factory arguments are made from these rows.
"""

from __future__ import annotations

import ipaddress
import itertools
import re
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from ..errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from typing import Literal, NoReturn, TypedDict

    from .profiles import Profile, ProfileName

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

        profile: ProfileName | Profile | None
        inspection: bool


__tracebackhide__ = True  # a failure shows the lines of the test, not ours

MAX_SECONDS = 3_600
"""The longest timeout or delay that can be given, in seconds."""
_DEVIATIONS = frozenset("\u00df\u03c2\u200c\u200d")
"""Letters that IDNA 2008 keeps and IDNA 2003 replaces."""
_T = TypeVar("_T")


class Implied(str):
    """A value that nobody has chosen, so that `strict` may change it if the name is `on_...`."""

    __slots__ = ()


class Setting(NamedTuple):
    """What one setting accepts and what it means."""

    default: Any
    convert: Callable[[Any], Any]
    """Reads a value, or raises a `ValueError` that says what is valid."""
    help: str
    rule: str = ""
    """The id of the rule that the setting is about; may be empty."""
    choices: tuple[str, ...] = ()
    """All values, if they are names."""


_value: Callable[..., Any] = Setting
"""Makes a setting; what is annotated is its value."""


def _choice(choices: str, text: str, rule: str = "") -> Any:
    """A setting that takes one of `choices`, which stand apart by blanks, the default first."""
    names = tuple(choices.split())

    def convert(value: Any) -> Any:
        if value not in names:
            raise ValueError(f"one of {', '.join(names)}")
        return value

    return Setting(Implied(names[0]), convert, text, rule, names)


def _profile(value: Any) -> Profile | None:
    if value is None:
        return None
    from .profiles import Profile, profiles

    if isinstance(value, Profile):
        return value
    if isinstance(value, str) and value in profiles:
        return profiles[value]
    raise ValueError(f"one of {', '.join(row.name for row in profiles)}")


def _seconds(value: Any) -> float:
    try:
        seconds = -1.0 if isinstance(value, bool) else float(value)
    except (TypeError, ValueError, OverflowError):
        seconds = -1.0
    if not 0 <= seconds <= MAX_SECONDS:  # nan is not in the range either
        raise ValueError(f"a number of seconds from 0 to {MAX_SECONDS:,}")
    return seconds


def valid_seconds(name: str, value: Any) -> float:
    """`value` as a number of seconds, from 0 to 3,600.

    Raises `ConfigurationError` with `name`, the value and the range if it is anything else.
    """
    return _converted(name, value, _seconds)


def _converted(name: str, value: Any, convert: Callable[[Any], _T]) -> _T:
    try:
        return convert(value)
    except ValueError as error:
        raise ConfigurationError(f"{name}={value!r} is not valid; give {error}") from None


def _bytes(value: Any) -> int:
    try:
        size = 0 if isinstance(value, bool) else int(value)
    except (TypeError, ValueError, OverflowError):
        size = 0
    if size < 1 or (isinstance(value, float) and size != value):
        raise ValueError("a whole number of bytes, 1 or more")
    return size


def _flag(value: Any) -> bool:
    text = str(value).lower() if isinstance(value, (bool, str)) else ""
    if text in ("true", "1", "yes", "on"):
        return True
    if text in ("false", "0", "no", "off"):
        return False
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


def _host_names(host: str) -> list[str]:
    """`host` as each client sends it, by IDNA 2003 and by IDNA 2008."""
    kept = [
        f"xn--{label.encode('punycode').decode()}" if set(label) & _DEVIATIONS else host_name(label)
        for label in host.lower().split(".")
    ]
    return list(dict.fromkeys([host_name(host), host_name(".".join(kept))]))


def _hosts(value: Any) -> tuple[str, ...]:
    try:
        hosts = tuple(form for name in _names(value) for form in _host_names(name))
    except (AttributeError, TypeError):
        hosts = ("",)
    if not all(re.fullmatch(r"[a-z0-9_-]+(\.[a-z0-9_-]+)*", host) for host in hosts):
        raise ValueError("names of hosts, without scheme, port and path")
    return hosts


def _hosts_and_networks(value: Any) -> tuple[str, ...]:
    try:
        forms = [[str(name)] if is_network(name) else _hosts([name]) for name in _names(value)]
    except (TypeError, ValueError):
        valid = "names of hosts without scheme, port and path, IP addresses, or networks such as"
        raise ValueError(f"{valid} 10.0.0.0/8") from None
    return tuple(itertools.chain.from_iterable(forms))


def is_network(value: Any) -> bool:
    """Return whether `value` is an IP address or a network."""
    try:
        ipaddress.ip_network(value)
    except ValueError:
        return False
    return not isinstance(value, int)


def _finding_action(value: Any) -> Any:
    action, colon, listed = value.partition(":") if isinstance(value, str) else ("", "", "")
    if action not in ("warn", "fail", "ignore"):
        raise ValueError("warn, fail or ignore, or one of them with rules, such as fail:C1,T5")
    if not colon:
        return value
    from .rules import WITH_FINDING, rules

    names = _names(listed)
    for name in names:
        if name not in rules:
            raise ValueError(f"ids of rules; {name!r} is none: {rules.hint(name)}")
        if name not in WITH_FINDING:
            raise ValueError(f"ids of rules that have findings; {name} has none")
    if not names:
        raise ValueError(f"ids of rules after {action}:, such as {action}:C1,T5")
    return f"{action}:{','.join(names)}"


class Settings:
    """How a fake server and its test behave. Settings with equal values are equal."""

    profile: Profile | None = _value(
        None,
        _profile,
        "documents to imitate: openapi-1.0.0, article-2015, v2-2.0.0 or ingestion-v1 (default: the "
        "host of the request decides, else openapi-1.0.0)",
        "A6",
    )
    value_types: str = _choice(
        "json string", "json keeps the types of values; string makes every value a text", "V2"
    )
    stale_time: str = _choice(
        "receipt drop", "a td_record_time out of the window: ignore it, or drop the event", "T3"
    )
    url_parameters: str = _choice(
        "ignore store", "URL parameters beside a JSON body: ignore or store them", "B10"
    )
    malformed_key: str = _choice(
        "async refuse", "a key that is not account/secret: reject after 200, or answer 403", "A7"
    )
    validation_delay: float = _value(
        0.0, _seconds, "seconds of real time between a response and its validation", "Y5"
    )
    # It stands before the settings that it changes, because values are read in this order.
    strict: bool = _value(
        False, _flag, "fail for everything that an on_... setting is about, unless it is set"
    )
    on_auth_failure: str = _choice(
        "fail ignore", "an unexpected authentication failure: fail the test, or ignore it", "Y3"
    )
    on_refusal: str = _choice(
        "ignore fail",
        "a refused event (4xx) that no assertion claimed: ignore it, or fail the test",
    )
    on_unasserted: str = _choice(
        "ignore fail", "an ingested event that no assertion claimed: ignore it, or fail the test"
    )
    on_late: str = _choice(
        "report fail", "an event after the end of its test: report it, or let the run exit with 1"
    )
    on_finding: str = _value(
        Implied("warn"),
        _finding_action,
        "a finding: warn, fail or ignore; fail:C1,T5 fails for these rules and warns for others",
    )
    deduplicate: bool = _value(
        True, _flag, "ingestion-v1: do not store a record again that has a known uuid", "I17"
    )
    max_body: int = _value(
        64 * 1024 * 1024, _bytes, "largest body in bytes; a larger one is refused with 413", "B6"
    )
    explain: bool = _value(
        False, _flag, "send the reason of a refusal in the response, for debugging", "W4"
    )
    redirect: bool = _value(
        False, _flag, "redirect the service's hosts to the fake server, verified TLS too"
    )
    block_network: bool = _value(
        False, _flag, "redirect, and refuse connections to all other hosts except this machine"
    )
    extra_hosts: tuple[str, ...] = _value((), _hosts, "more hosts to treat as the service's own")
    allow_hosts: tuple[str, ...] = _value(
        (), _hosts_and_networks, "hosts and networks that block_network lets through"
    )
    tls: bool = _value(False, _flag, "serve the fake server's own URL over HTTPS")
    inspection: bool = _value(
        False, _flag, "offer the REST interface and the live page below /.tdpostback/"
    )

    def __init__(self, /, **values: Any) -> None:
        """Raises `ConfigurationError` for an unknown name and for a value that isn't acceptable."""
        for name in values:
            if name not in SETTINGS:
                import difflib

                near = difflib.get_close_matches(name, SETTINGS, 1)
                hint = f" (did you mean {near[0]}?)" if near else ""
                known = ", ".join(SETTINGS)
                raise ConfigurationError(
                    f"{name!r} is not a setting{hint}; valid settings: {known}"
                )
        for name, row in SETTINGS.items():
            value = _converted(name, values.get(name, row.default), row.convert)
            if name.startswith("on_") and isinstance(value, Implied):
                value = Implied("fail") if self.strict else row.default
            vars(self)[name] = value

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError(f"{name}: settings do not change; `changed` returns new ones")

    def __eq__(self, other: object) -> bool:
        return vars(self) == vars(other) if isinstance(other, Settings) else NotImplemented

    def __hash__(self) -> int:
        return hash(tuple(vars(self).values()))

    def __repr__(self) -> str:
        return f"Settings({', '.join(f'{name}={value!r}' for name, value in vars(self).items())})"

    def finding_action(self, rule: str) -> str:
        """Return what a test does about a finding by `rule`: `warn`, `fail` or `ignore`."""
        action, _, listed = self.on_finding.partition(":")
        return action if not listed or rule in listed.split(",") else "warn"

    def changed(self, changes: Mapping[str, Any], where: str = "") -> Settings:
        """Return these settings with `changes`.

        `where` says in an error where the changes come from. An `on_...` setting that is changed
        once keeps its own value, also if `strict` is set. Raises as `Settings` does.
        """
        try:
            return Settings(**{**vars(self), **changes})
        except ConfigurationError as error:
            raise ConfigurationError(f"{where}: {error}" if where else str(error)) from None


SETTINGS = {name: row for name, row in vars(Settings).items() if isinstance(row, Setting)}
"""Every setting by its name, in the order of the manual."""
