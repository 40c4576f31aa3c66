"""Where ``TDPOSTBACK_NO_SKIP`` is set, as in CI, what would be skipped fails."""

from __future__ import annotations

import pytest

from tests.checkout import ROOT

SKIPS = """
import pytest

def test_skipped():
    pytest.skip("no browser here")

@pytest.mark.xfail
def test_expected_failure():
    assert False
"""


@pytest.fixture
def project(pytester):
    conftest = ROOT.joinpath("tests/conftest.py").read_text(encoding="utf-8")
    pytester.makeconftest(conftest)
    pytester.makepyfile(
        test_skips=SKIPS, test_module="import pytest; pytest.importorskip('no_such_module')"
    )
    return pytester


def test_skip_is_a_failure_that_names_its_reason(project, monkeypatch):
    monkeypatch.setenv("TDPOSTBACK_NO_SKIP", "1")
    result = project.runpytest("--continue-on-collection-errors")
    result.assert_outcomes(failed=1, errors=1, xfailed=1)
    result.stdout.fnmatch_lines_random(["*no browser here*", "*no_such_module*"])


def test_skip_stays_a_skip_elsewhere(project, monkeypatch):
    monkeypatch.delenv("TDPOSTBACK_NO_SKIP", raising=False)
    project.runpytest().assert_outcomes(skipped=2, xfailed=1)
