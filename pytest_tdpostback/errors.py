"""What the double raises and warns with; the lowest floor, importable from anywhere."""

from __future__ import annotations


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
