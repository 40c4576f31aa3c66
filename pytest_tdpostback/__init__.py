"""A pytest plugin and test double of Treasure Data's Postback API.

Importing this package costs nothing: each public name is loaded when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .collector.account import Account
    from .collector.clock import Clock
    from .collector.event_log import EventState
    from .collector.events import Batch, Event, Record, SettleTimeout, UnexpectedAuthFailure
    from .collector.write_keys import WriteKeys
    from .errors import BlockedConnection, ConfigurationError, PostbackError, PostbackWarning
    from .protocol.findings import Finding
    from .protocol.profiles import Profile, profiles
    from .protocol.rules import Rule, rules
    from .protocol.schemas import load_schema
    from .server.faults.handle import FaultHandle
    from .testing.fault_matrix import FaultCase, fault_matrix
    from .testing.postback import Postback, PostbackFactory
    from .testing.server import PostbackServer

__version__ = "0.1.0"

__all__ = [
    "Account",
    "Batch",
    "BlockedConnection",
    "Clock",
    "ConfigurationError",
    "Event",
    "EventState",
    "FaultCase",
    "FaultHandle",
    "Finding",
    "Postback",
    "PostbackError",
    "PostbackFactory",
    "PostbackServer",
    "PostbackWarning",
    "Profile",
    "Record",
    "Rule",
    "SettleTimeout",
    "UnexpectedAuthFailure",
    "WriteKeys",
    "fault_matrix",
    "load_schema",
    "profiles",
    "rules",
]

_HOMES = {
    "Account": "collector.account",
    "Batch": "collector.events",
    "BlockedConnection": "errors",
    "Clock": "collector.clock",
    "ConfigurationError": "errors",
    "Event": "collector.events",
    "EventState": "collector.event_log",
    "FaultCase": "testing.fault_matrix",
    "FaultHandle": "server.faults.handle",
    "Finding": "protocol.findings",
    "Postback": "testing.postback",
    "PostbackError": "errors",
    "PostbackFactory": "testing.postback",
    "PostbackServer": "testing.server",
    "PostbackWarning": "errors",
    "Profile": "protocol.profiles",
    "Record": "collector.events",
    "Rule": "protocol.rules",
    "SettleTimeout": "collector.events",
    "UnexpectedAuthFailure": "collector.events",
    "WriteKeys": "collector.write_keys",
    "fault_matrix": "testing.fault_matrix",
    "load_schema": "protocol.schemas",
    "profiles": "protocol.profiles",
    "rules": "protocol.rules",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
