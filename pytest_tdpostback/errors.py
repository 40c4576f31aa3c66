"""What the fake server raises and warns with, and how a message names the line of a caller."""

from __future__ import annotations

import inspect
from pathlib import Path

_PACKAGE = str(Path(__file__).parent)


def call_site() -> str:
    """File and line of the innermost caller outside this package."""
    frame = inspect.currentframe()
    while frame and frame.f_code.co_filename.startswith(_PACKAGE):
        frame = frame.f_back
    return f"{frame.f_code.co_filename}:{frame.f_lineno}" if frame else "unknown"


class PostbackError(Exception):
    """Base of every error of this package; never raised itself."""


class ConfigurationError(PostbackError):
    """A setting, marker, option or argument has a name or value that does not exist."""


class BlockedConnection(PostbackError):
    """Code tried to connect to where a redirect does not let it; the message names the host.

    It is no `OSError`, so that no sender takes it for a failure of the network and tries again.
    """


class PostbackWarning(UserWarning):
    """A finding: something the service would silently change, ignore or lose."""
