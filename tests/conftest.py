"""What all tests share: where the project stands, and a run in which a skip is a failure."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, TypeVar

import pytest

if TYPE_CHECKING:
    from collections.abc import Generator

pytest_plugins = ["pytester"]

NO_SKIP = "TDPOSTBACK_NO_SKIP"
"""The environment variable that CI sets: there everything a test may need has been installed."""

NEIGHBOURS = ("asyncio", "randomly", "socket")
"""Plugins that are installed for the tests that put them beside this one, and change every run."""

Report = TypeVar("Report", pytest.TestReport, pytest.CollectReport)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Turn a skipped test into a failed one where ``TDPOSTBACK_NO_SKIP`` is set."""
    return without_skip((yield))


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """Turn a skipped file into a failed one where ``TDPOSTBACK_NO_SKIP`` is set."""
    return without_skip((yield))


def without_skip(report: Report) -> Report:
    """Give the report back as it is, or failed where it says skipped and no skip is allowed.

    An expected failure is reported as skipped too and stays what it is.
    """
    if report.skipped and not hasattr(report, "wasxfail") and os.environ.get(NO_SKIP):
        report.outcome = "failed"
        report.longrepr = f"skipped although {NO_SKIP} is set: {report.longreprtext}"
    return report


@pytest.fixture
def pytester(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    """Run pytest without the neighbours that nobody asked for."""
    without = " ".join(f"-p no:{name}" for name in NEIGHBOURS)
    monkeypatch.setenv("PYTEST_ADDOPTS", without)
    return pytester
