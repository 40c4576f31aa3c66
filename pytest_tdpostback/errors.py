"""What the double raises and warns with; the lowest floor, importable from anywhere."""

from __future__ import annotations


class PostbackError(Exception):
    """Base of every error of this package; never raised itself."""

    __module__ = "pytest_tdpostback"  # which is what pytest shows


class ConfigurationError(PostbackError):
    """A setting, marker, option or argument has a name or value that does not exist."""

    __module__ = "pytest_tdpostback"  # which is what pytest shows


class BlockedConnection(PostbackError):
    """Code tried to connect to where a redirect does not let it; the message names the host.

    It is no `OSError`, so that no sender takes it for a failure of the network and tries again.
    """

    __module__ = "pytest_tdpostback"  # which is what pytest shows


class PostbackWarning(UserWarning):
    """A finding: something the service would silently change, ignore or lose."""

    __module__ = "pytest_tdpostback"  # which is what pytest shows
