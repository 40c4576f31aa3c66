"""Every code block of the README and of the manual does what the text around it says.

What is done with a block depends on its language:

- ``python`` with a ``def test_``: runs under pytest, and every test passes;
- other ``python``: is executed;
- ``console``: commands stand behind ``$``; ``tdpostback`` and ``pytest --pyargs`` are run and have
  to print the lines below (``...`` stands for anything), any other needs an entry in ``NOT_RUN``;
- ``toml`` and ``json``: are parsed; ``text``, ``ini`` and ``html``: are only shown.

A comment on the line above says more: ``<!-- fails: text -->`` wants a failure that shows the text;
``<!-- file: name -->`` keeps the block under that name for the blocks after it on its page;
``<!-- needs: program -->`` skips the block where the program is missing.
"""

from __future__ import annotations

import doctest
import json
import os
import re
import shutil
import sys
import textwrap
import tomllib
from dataclasses import dataclass
from pathlib import Path

import pytest

# Loaded before `pytester` is used: it forgets modules that a test was the first to import, asyncio
# among them, and the half of a program that remembers the old one would no longer work.
import pytest_tdpostback.testing.server  # noqa: F401
from tests.checkout import ROOT, run

pytestmark = pytest.mark.once

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]

NOT_RUN = {
    "pip install ": "what it installs is what is being tested",
    ".venv/bin/pip install ": "likewise",
    ".venv/bin/pytest ": "the tests of the page run one by one",
    "python3 -m venv ": "the tests of the wheel run the first such command, CI the second",
    "pytest --pyargs pytest_tdpostback.conformance --tdpostback-target https://": "needs a key",
}

FENCE = re.compile(
    r"(?P<notes>(?:^ *<!-- .*? -->\n)*)"
    r"^(?P<indent> *)(?P<ticks>`{3,})(?P<info>[^`\n]*)\n(?P<text>.*?)^(?P=indent)(?P=ticks)$",
    re.DOTALL | re.MULTILINE,
)
NOTE = re.compile(r"<!-- (fails|file|command|needs): (.*?) -->")


@dataclass(frozen=True)
class Block:
    page: str
    line: int
    language: str
    text: str
    notes: dict[str, str]
    files: dict[str, str]


def blocks_of(page: Path) -> list[Block]:
    """All blocks of a page in their order, each with the files that the page showed before."""
    found: list[Block] = []
    files: dict[str, str] = {}
    collect(page.read_text(encoding="utf-8"), page.name, 1, files, found)
    return found


def collect(text: str, page: str, line: int, files: dict[str, str], found: list[Block]) -> None:
    for match in FENCE.finditer(text):
        start = line + text.count("\n", 0, match.start("ticks"))
        info = match["info"].replace("{code-block}", "").strip()
        body = textwrap.dedent(match["text"])
        if info.startswith("{"):  # a directive: a note, a tab, a table of contents
            collect(body, page, start + 1, files, found)
            continue
        notes = dict(NOTE.findall(match["notes"]))
        if "file" in notes:
            files[notes["file"]] = body
        found.append(Block(page, start, info, body, notes, dict(files)))


BLOCKS = [block for page in PAGES for block in blocks_of(page)]


@pytest.mark.parametrize("block", BLOCKS, ids=[f"{b.page}:{b.line}" for b in BLOCKS])
def test_block(block, pytester, monkeypatch):
    if not shutil.which(block.notes.get("needs", sys.executable)):
        pytest.skip(f"{block.notes['needs']} is not installed")
    scripts = Path(sys.executable).parent
    monkeypatch.setenv("PATH", os.pathsep.join([str(scripts), os.environ["PATH"]]))
    for name, text in block.files.items():
        pytester.path.joinpath(name).write_text(text, encoding="utf-8")
    ways = {
        "python": run_python,
        "console": run_console,
        "toml": lambda block, _: tomllib.loads(block.text),
        "json": lambda block, _: json.loads(block.text),
        "text": lambda *_: None,
        "ini": lambda *_: None,
        "html": lambda *_: None,
    }
    ways[block.language](block, pytester)


def run_python(block, pytester):
    if "file" in block.notes:
        compile(block.text, block.notes["file"], "exec")
    elif "def test_" in block.text:
        run_tests(block, pytester)
    else:
        run_script(block)


def run_tests(block, pytester):
    pytester.makepyfile(test_block=block.text)
    # A process of its own, as at the reader's, without the two plugins that take seconds to load.
    heavy = ("-p", "no:hypothesispytest", "-p", "no:schemathesis")
    result = pytester.runpytest_subprocess(*heavy, timeout=60)
    if "fails" in block.notes:
        assert result.ret == pytest.ExitCode.TESTS_FAILED
        assert block.notes["fails"] in result.stdout.str()
    else:
        assert result.ret == pytest.ExitCode.OK
        assert set(result.parseoutcomes()) - {"warnings"} == {"passed"}  # findings warn


def run_script(block):
    code = compile(block.text, f"{block.page}:{block.line}", "exec")
    if "fails" in block.notes:
        with pytest.raises(Exception, match=re.escape(block.notes["fails"])):
            exec(code, {"__name__": "__main__"})
    else:
        exec(code, {"__name__": "__main__"})


def run_console(block, pytester):
    commands = re.findall(r"^\$ (.*)\n((?:(?!\$ ).*\n)*)", block.text, re.MULTILINE)
    assert commands, "a command stands behind `$ `"
    for command, expected in commands:
        if command.startswith(tuple(NOT_RUN)):
            continue
        known = command.startswith(("tdpostback ", "pytest --pyargs "))
        assert known, f"NOT_RUN needs a reason for: {command}"
        output = run("sh", "-c", command, cwd=pytester.path)
        matches = doctest.OutputChecker().check_output(expected, output, doctest.ELLIPSIS)
        assert matches or not expected, output
