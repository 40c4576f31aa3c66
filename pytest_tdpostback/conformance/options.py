"""The command-line options of the contract check."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..errors import ConfigurationError

if TYPE_CHECKING:
    import pytest
    from _pytest.config.argparsing import OptionGroup

DATABASE, TABLE = "tdpostback_conformance", "checks"


def add_options(group: OptionGroup) -> None:
    """Add the options of `pytest --pyargs pytest_tdpostback.conformance` to `group`."""
    group.addoption(
        "--tdpostback-target",
        metavar="URL",
        help="contract check: base URL of the endpoint to check (default: a fake server)",
    )
    group.addoption(
        "--tdpostback-key",
        metavar="KEY",
        help="contract check: a write key, account/secret, that the target accepts",
    )
    group.addoption(
        "--tdpostback-database",
        metavar="NAME",
        default=DATABASE,
        help="contract check: the database that its events go to (default: %(default)s)",
    )
    group.addoption(
        "--tdpostback-table",
        metavar="NAME",
        default=TABLE,
        help="contract check: the table that its events go to (default: %(default)s)",
    )
    group.addoption(
        "--tdpostback-allow-http",
        action="store_true",
        help="contract check: allow sending the key to another machine without encryption",
    )


def check_target(config: pytest.Config) -> None:
    """Raise `ConfigurationError` for a target with a secret in it, or with workers of xdist."""
    target = config.getoption("--tdpostback-target")
    if target and any(mark in target for mark in "@?#"):  # nothing may show it
        message = "--tdpostback-target: give a URL without a user, a password or parameters; "
        raise ConfigurationError(message + "the write key belongs in --tdpostback-key")
    if target and config.getoption("dist", "no") != "no":
        message = "--tdpostback-target: the checks of one target cannot run side by side; "
        raise ConfigurationError(message + "leave -n out")
