"""What the double raises and warns with; the lowest floor, importable from anywhere."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any


class PostbackError(Exception):
    """Base of every error of this package; never raised itself."""


class ConfigurationError(PostbackError):
    """A setting, marker, option or argument has a name or value that does not exist."""


class UnexpectedAuthFailure(PostbackError):
    """Events were answered 200 and rejected afterwards, and the test had not said so (rule Y3).

    `events` holds the rejected events.
    """

    def __init__(self, message: str, events: Sequence[Any] = ()) -> None:
        super().__init__(message)
        self.events = tuple(events)


class SettleTimeout(PostbackError):
    """Accepted events were still pending when the time to wait for them was over (rule Y2).

    `events` holds the events without an outcome.
    """

    def __init__(self, message: str, events: Sequence[Any] = ()) -> None:
        super().__init__(message)
        self.events = tuple(events)


class BlockedConnection(PostbackError):
    """Code tried to connect to where a redirect does not let it; the message names the host.

    It is no `OSError`, so that no sender takes it for a failure of the network and tries again.
    """


class PostbackWarning(UserWarning):
    """A finding: something the service would silently change, ignore or lose."""
