"""Runs checks of the contract check in this process and says what became of each."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from _pytest.config import _prepareconfig

from pytest_tdpostback import conformance
from pytest_tdpostback.conformance.catalogue import check_of
from tests.checkout import INSIDE

FOLDER = Path(conformance.__file__).parent
KEY = "1/contract-check"


@dataclass(eq=False)  # pytest 7 keeps plugins in a set
class Outcome:
    """The exit code of a run and its reports, those of `call` and what was skipped before it."""

    code: int = -1
    reports: list[pytest.TestReport] = field(default_factory=list)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when == "call" or not report.passed:
            self.reports.append(report)

    @property
    def counts(self) -> Counter[str]:
        """How many checks passed, failed and were skipped."""
        return Counter(report.outcome for report in self.reports)

    def rules(self, outcome: str) -> set[str]:
        """The rules of the checks with an outcome."""
        reports = [report for report in self.reports if report.outcome == outcome]
        return {str(value) for each in reports for _, value in each.user_properties}

    def text(self) -> str:
        """Everything that failed, in words."""
        return "\n".join(each.longreprtext for each in self.reports if each.failed)


def run_checks(url: str, profile: str, *checks: str) -> Outcome:
    """Run the checks of the whole package, or those with the names `file.py::function`."""
    outcome = Outcome()
    paths = [str(FOLDER / check) for check in checks or [""]]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")  # loading the others takes longer
        outcome.code = pytest.main([*paths, *options(url, profile)], plugins=[outcome])
    return outcome


def options(url: str, profile: str) -> list[str]:
    """The command line of a run of checks, without their names."""
    return [
        f"--rootdir={FOLDER}",
        f"--tdpostback-target={url}",
        f"--tdpostback-key={KEY}",
        f"--tdpostback-profile={profile}",
        "--quiet",
        "--tb=native",  # the other styles parse the whole file for each failure
        *INSIDE,
        "-pno:cacheprovider",
        "-pno:faulthandler",
        "-ppytest_tdpostback.plugin",
        "-Wignore:Module already imported:pytest.PytestAssertRewriteWarning",
    ]


class CollectedChecks:
    """The checks of a profile, which run at one fake server after the other.

    To collect them takes longer than to run those of one rule.
    """

    def __init__(self, profile: str) -> None:
        """This is what `pytester` does, which keeps nothing longer than a test."""
        # Capturing, too, would last until the checks are closed.
        arguments = [str(FOLDER), *options("http://127.0.0.1", profile), "--capture=no"]
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
            self._config = _prepareconfig(arguments)
        self._config._do_configure()
        self._session = pytest.Session.from_config(self._config)
        self._config.hook.pytest_sessionstart(session=self._session)
        self._session.perform_collect()

    def close(self) -> None:
        self._config._ensure_unconfigure()

    def run(self, url: str, rule: str) -> Outcome:
        """Run the checks of a rule."""
        outcome = Outcome()
        self._config.option.tdpostback_target = url
        items = [item for item in self._session.items if rule_of(item) == rule]
        self._config.pluginmanager.register(outcome)
        try:
            for item, after in zip(items, [*items[1:], None], strict=True):
                self._config.hook.pytest_runtest_protocol(item=item, nextitem=after)
        finally:
            self._config.pluginmanager.unregister(outcome)
        return outcome


def rule_of(item: pytest.Item) -> str | None:
    check = check_of(item.function) if isinstance(item, pytest.Function) else None
    return check.rule if check else None
