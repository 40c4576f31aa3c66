"""Where the project stands, and how its programs are run away from there."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

INSIDE = ("-pno:unraisableexception", "-pno:threadexception")
"""Options for a run of pytest inside a process that runs pytest already.

These two plugins collect garbage several times when a run ends, and each time look at the thousands
of test items of the outer run. The outer run has both and reports what they find.
"""

NO_CONNECTION = ("connection broken by", "error sending request")
"""What pip and uv say when they cannot reach the package index."""


def run(*command, cwd, stdin=None, timeout=300):
    """Run a program in a folder, and return what it printed; a failure shows all of it."""
    done = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        input=stdin,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        timeout=timeout,
        check=False,
    )
    if any(said in done.stdout for said in NO_CONNECTION):
        pytest.skip("no package index in reach")
    assert done.returncode == 0, done.stdout
    return done.stdout
