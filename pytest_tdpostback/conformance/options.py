"""What the contract check is told on the command line."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from _pytest.config.argparsing import OptionGroup

DATABASE, TABLE = "tdpostback_conformance", "checks"


def add_options(group: OptionGroup) -> None:
    """Add the options of `pytest --pyargs pytest_tdpostback.conformance` to `group`."""
    group.addoption(
        "--tdpostback-target",
        metavar="URL",
        help="contract check: base URL of the endpoint to check (default: a double of its own)",
    )
    group.addoption(
        "--tdpostback-key",
        metavar="KEY",
        help="contract check: write key, account/secret, that the target accepts",
    )
    group.addoption(
        "--tdpostback-database",
        metavar="NAME",
        default=DATABASE,
        help="contract check: database that takes its events (default: %(default)s)",
    )
    group.addoption(
        "--tdpostback-table",
        metavar="NAME",
        default=TABLE,
        help="contract check: table that takes its events (default: %(default)s)",
    )
