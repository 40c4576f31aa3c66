"""Runs checks of the contract check in this process and says what became of each."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from pytest_tdpostback import conformance
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
    arguments = [
        *(str(FOLDER / check) for check in checks or [""]),
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
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")  # loading the others takes longer
        outcome.code = pytest.main(arguments, plugins=[outcome])
    return outcome
