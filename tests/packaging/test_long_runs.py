"""The long runs of `benchmarks` in their short forms; that of the soak is beside the faults."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.checkout import ROOT

pytestmark = pytest.mark.once


def run(*arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", *arguments],
        cwd=ROOT,
        env={
            **os.environ,
            "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
            "PYTEST_PLUGINS": "pytest_tdpostback.plugin",
        },
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_late_events_of_many_rounds_are_counted_and_in_no_other_test():
    said = "10 rounds, 27 late events: each counted, none in another test\n"
    assert run("benchmarks.late", "--rounds", "10") == said


def test_the_benchmark_of_memory_and_search_runs():
    told = run("benchmarks", "--quick", "scale")
    assert "| bytes an event |" in told
    assert "| matched by a column (µs an event) |" in told
