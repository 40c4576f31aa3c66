"""The long runs of `benchmarks` in their short forms; that of the soak is beside the faults."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.checkout import ROOT

pytestmark = pytest.mark.once


def run(*arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_late_senders():
    said = "20 rounds, 57 late events: each counted, none in another test\n"
    assert run("benchmarks.late", "--rounds", "20") == said


def test_scale():
    told = run("benchmarks", "--quick", "scale")
    assert "| bytes an event |" in told
    assert "| matched by a column (s) |" in told
