"""A pytest plugin and test double of Treasure Data's Postback API.

Importing this package costs nothing: each public name is loaded when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # `as` exports a name to type checkers
    from .collector.clock import Clock as Clock
    from .collector.event_log import Account as Account
    from .collector.event_log import EventState as EventState
    from .collector.events import Batch as Batch
    from .collector.events import Event as Event
    from .collector.events import Record as Record
    from .collector.events import SettleTimeout as SettleTimeout
    from .collector.events import UnexpectedAuthFailure as UnexpectedAuthFailure
    from .collector.write_keys import WriteKeys as WriteKeys
    from .errors import BlockedConnection as BlockedConnection
    from .errors import ConfigurationError as ConfigurationError
    from .errors import PostbackError as PostbackError
    from .errors import PostbackWarning as PostbackWarning
    from .protocol.findings import Finding as Finding
    from .protocol.profiles import Profile as Profile
    from .protocol.profiles import profiles as profiles
    from .protocol.rules import Rule as Rule
    from .protocol.rules import rules as rules
    from .protocol.schemas import load_schema as load_schema
    from .server.faults import FaultHandle as FaultHandle
    from .testing.fault_matrix import FaultCase as FaultCase
    from .testing.fault_matrix import fault_matrix as fault_matrix
    from .testing.postback import Postback as Postback
    from .testing.postback import PostbackFactory as PostbackFactory
    from .testing.server import PostbackServer as PostbackServer

__version__ = "0.1.0"

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


if not TYPE_CHECKING:  # a type checker would take any name for one of the package, or none
    __all__ = [name for names in _HOMES.values() for name in names.split()]

    def __getattr__(name: str) -> object:
        home = next((home for home, names in _HOMES.items() if name in names.split()), None)
        if home is None:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        globals()[name] = value = getattr(import_module(f"{__name__}.{home}"), name)
        if name == "PostbackServer":
            rest = f"{__name__}.inspector.rest"  # loaded by the first request to it
            value.inspection = lambda *call: import_module(rest).respond(*call)
        return value

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})
