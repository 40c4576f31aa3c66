"""What all tests share: where the project stands, and a run in which a skip is a failure."""

from __future__ import annotations

import gc
import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

# An inner run in this process forgets what it imported first; compiled halves of modules do not.
import httptools  # noqa: F401
import pytest

with suppress(ImportError):
    import yaml  # type: ignore[import-untyped]  # noqa: F401
with suppress(ImportError):
    import cryptography.x509  # noqa: F401

if TYPE_CHECKING:
    from collections.abc import Generator

pytest_plugins = ["pytester"]

# Test files import what they share by its full name, `tests.http_client`: the type checker uses
# the same name.
# The checkout comes last, so that the tests use the installed package: under tox, the wheel.
sys.path.append(str(Path(__file__).parents[1]))

NO_SKIP = "TDPOSTBACK_NO_SKIP"
"""The environment variable that CI sets: there everything a test may need has been installed."""

Report = TypeVar("Report", pytest.TestReport, pytest.CollectReport)


def pytest_collection_finish() -> None:
    """Spare the garbage collector thousands of tests; runs of pytest inside tests collect often."""
    gc.freeze()


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
def pytester(
    pytester: pytest.Pytester, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> pytest.Pytester:
    """Run pytest without the plugins that this run leaves out; loading them takes a second."""
    without = [option for option in request.config.getini("addopts") if option.startswith("-pno:")]
    monkeypatch.setenv("PYTEST_ADDOPTS", " ".join(without))
    return pytester
