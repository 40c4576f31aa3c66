"""The exceptions and warnings of the package that carry text alone."""

from __future__ import annotations


class PostbackError(Exception):
    """The base of every exception of this package. Nothing raises it itself."""

    __module__ = "pytest_tdpostback"  # which is what pytest shows


class ConfigurationError(PostbackError):
    """A setting, marker, option or argument has a name or value that does not exist."""

    __module__ = "pytest_tdpostback"  # which is what pytest shows


class BlockedConnection(PostbackError):
    """Code tried to connect to a host that a redirect does not let through. The message names it.

    It is not an `OSError`, because a sender takes that for a network failure and tries again.
    """

    __module__ = "pytest_tdpostback"  # which is what pytest shows


class StrictnessFailure(AssertionError):
    """A test fails because of a setting: `on_refusal`, `on_unasserted` or `on_finding`."""


class PostbackWarning(UserWarning):
    """A finding: something the service would silently change, ignore or lose."""

    __module__ = "pytest_tdpostback"  # which is what pytest shows
