"""The README's commands do what it says, from a checkout that nobody has touched."""

from __future__ import annotations

import os
import re
import sys

import pytest

from tests.checkout import ROOT, run

pytestmark = pytest.mark.once

FAST_PYTHON = f"""#!/bin/sh
"{sys.executable}" -m uv venv --quiet --python "{sys.executable}" "$3"
cat >"$3/bin/pip" <<'END'
#!/bin/sh
exec "{sys.executable}" -m uv pip "$@" --python .venv/bin/python
END
chmod +x "$3/bin/pip"
"""
"""What `python3 -m venv` is replaced with: uv makes the same environment, and takes 2 seconds."""


def command_of(name):
    """The command that the README names so; ``.ci/run`` finds its own in the same way."""
    readme = ROOT.joinpath("README.md").read_text(encoding="utf-8")
    (command,) = re.findall(rf"<!-- command: {name} -->\n```console\n\$ (.*)\n```", readme)
    return command


def test_first_command_shows_the_example_and_the_mistakes_it_catches(
    unpacked, tmp_path, monkeypatch
):
    monkeypatch.setenv("PIP_NO_COMPILE", "1")  # most of what is installed is not imported
    if "TDPOSTBACK_NO_SKIP" not in os.environ:  # CI waits for `venv` and `pip` themselves
        programs = tmp_path / "python3"
        programs.write_text(FAST_PYTHON, encoding="utf-8")
        programs.chmod(0o755)
        monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    output = run("sh", "-c", command_of("example"), cwd=unpacked)

    assert "3 passed, 2 xfailed" in output
    assert "write key 1/key… is unknown (A5)" in output
    assert "refused (4xx) with 400, B2" in output


def test_second_command_is_the_one_that_ci_runs():
    script = ROOT.joinpath(".ci/run").read_text(encoding="utf-8")
    assert "<!-- command: tests -->" in script
    assert command_of("tests").endswith("tox")
