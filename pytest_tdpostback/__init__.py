"""A pytest plugin and test double of Treasure Data's Postback API.

Importing this package costs nothing: each public name is loaded when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .collector.clock import Clock
    from .collector.event_log import Account, EventState
    from .collector.events import Batch, Event, Record, SettleTimeout, UnexpectedAuthFailure
    from .collector.write_keys import WriteKeys
    from .errors import BlockedConnection, ConfigurationError, PostbackError, PostbackWarning
    from .protocol.findings import Finding
    from .protocol.profiles import Profile, profiles
    from .protocol.rules import Rule, rules
    from .protocol.schemas import load_schema
    from .server.faults import FaultHandle
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
    "collector.clock": "Clock",
    "collector.event_log": "Account EventState",
    "collector.events": "Batch Event Record SettleTimeout UnexpectedAuthFailure",
    "collector.write_keys": "WriteKeys",
    "errors": "BlockedConnection ConfigurationError PostbackError PostbackWarning",
    "protocol.findings": "Finding",
    "protocol.profiles": "Profile profiles",
    "protocol.rules": "Rule rules",
    "protocol.schemas": "load_schema",
    "server.faults": "FaultHandle",
    "testing.fault_matrix": "FaultCase fault_matrix",
    "testing.postback": "Postback PostbackFactory",
    "testing.server": "PostbackServer",
}


if not TYPE_CHECKING:  # a type checker would take any name for one of the package

    def __getattr__(name: str) -> object:
        home = next((home for home, names in _HOMES.items() if name in names.split()), None)
        if home is None:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        globals()[name] = value = getattr(import_module(f"{__name__}.{home}"), name)
        if name == "PostbackServer":
            value.inspection = import_module(f"{__name__}.inspector.rest").respond
        return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
