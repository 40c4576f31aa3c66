"""Where the project stands, and how its programs are run away from there."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def run(*command, cwd, timeout=300):
    """Run a program in a folder, and return what it printed; a failure shows all of it."""
    done = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        timeout=timeout,
        check=False,
    )
    if "connection broken by" in done.stdout:
        pytest.skip("no package index in reach")
    assert done.returncode == 0, done.stdout
    return done.stdout
