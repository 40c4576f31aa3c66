"""The README's commands do what it says, from a checkout that nobody has touched."""

from __future__ import annotations

import re

import pytest

from tests.checkout import ROOT, run

pytestmark = pytest.mark.once


def command_of(name):
    """The command that the README names so; ``.ci/run`` finds its own in the same way."""
    readme = ROOT.joinpath("README.md").read_text(encoding="utf-8")
    (command,) = re.findall(rf"<!-- command: {name} -->\n```console\n\$ (.*)\n```", readme)
    return command


def test_first_command_shows_the_example_and_the_mistakes_it_catches(unpacked, monkeypatch):
    monkeypatch.setenv("PIP_NO_COMPILE", "1")  # most of what is installed is not imported
    output = run("sh", "-c", command_of("example"), cwd=unpacked)

    assert "3 passed, 2 xfailed" in output
    assert "write key 1/key… is unknown (A5)" in output
    assert "refused (4xx) with 400, B2" in output


def test_second_command_is_the_one_that_ci_runs():
    script = ROOT.joinpath(".ci/run").read_text(encoding="utf-8")
    assert "<!-- command: tests -->" in script
    assert command_of("tests").endswith("tox")
