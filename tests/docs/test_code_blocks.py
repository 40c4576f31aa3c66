"""Every code block of the README and of the manual does what the text around it says.

What is done with a block depends on its language:

- ``python`` with a ``def test_`` or a plugin: runs under pytest, and every test passes; one process
  runs all of these blocks that want the same plugin, and one those of a page that shows files;
- other ``python``: is executed;
- ``console``: commands stand behind ``$``; ``tdpostback`` and ``pytest --pyargs`` are run and have
  to print the lines below (``...`` stands for anything), any other needs an entry in ``NOT_RUN``;
- ``toml`` and ``json``: are parsed; ``text``, ``ini`` and ``html``: are only shown.

A comment on the line above says more: ``<!-- fails: text -->`` wants a failure that shows the text;
``<!-- printed by: the block above -->`` wants the lines of a ``text`` block in what the ``python``
block before it prints (``...`` stands for anything);
``<!-- file: name -->`` keeps the block under that name for the blocks after it on its page;
``<!-- needs: programs -->`` skips the block if one of them is missing;
``<!-- plugin: name -->`` runs it with that plugin of pytest, and skips it if that is missing.
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
from importlib.metadata import entry_points
from pathlib import Path

import pytest

# Loaded before `pytester` is used: it forgets modules that a test was the first to import, asyncio
# among them, and the half of a program that remembers the old one would no longer work.
import pytest_tdpostback.testing.server  # noqa: F401
from tests.checkout import ROOT, run

pytestmark = pytest.mark.once

BROWSER_SDK = Path(__file__).parent.parent / "server/browser_sdk/node_modules"

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
NOTE = re.compile(r"<!-- (fails|printed by|file|command|needs|plugin): (.*?) -->")


@dataclass(frozen=True)
class Block:
    page: str
    line: int
    language: str
    text: str
    notes: dict[str, str]
    files: dict[str, str]
    previous: Block | None

    @property
    def module(self) -> str:
        return f"test_{re.sub(r'[^a-z]+', '_', self.page)}_line_{self.line}"


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
        previous = found[-1] if found else None
        found.append(Block(page, start, info, body, notes, dict(files), previous))


BLOCKS = [block for page in PAGES for block in blocks_of(page)]
TESTS = [
    block
    for block in BLOCKS
    if block.language == "python"
    and "file" not in block.notes
    and ("def test_" in block.text or "plugin" in block.notes)
]
OTHERS = [block for block in BLOCKS if block not in TESTS]
PRINTED = {id(block.previous): block for block in BLOCKS if "printed by" in block.notes}

GROUPS: dict[tuple[str, str], list[Block]] = {}
SHOW_FILES = {block.page for block in BLOCKS if block.files}
for each in TESTS:
    pages = each.page if each.page in SHOW_FILES else "the others"
    GROUPS.setdefault((pages, each.notes.get("plugin", "tdpostback")), []).append(each)

REPORTS = """
import json

def pytest_runtest_logreport(report):
    text = report.longreprtext + "".join(content for _, content in report.sections)
    with open("reports.jsonl", "a") as stream:
        print(json.dumps([report.fspath, report.outcome, text]), file=stream)
"""
"""A plugin that writes down what became of each test."""


@pytest.mark.parametrize(("pages", "plugin"), GROUPS)
def test_the_tests_of_a_page_pass_or_fail_as_it_says(pages, plugin, pytester):
    if not entry_points(group="pytest11", name=plugin):
        pytest.skip(f"the plugin {plugin} is not installed")
    if BROWSER_SDK.exists():
        pytester.path.joinpath("node_modules").symlink_to(BROWSER_SDK)
    group = GROUPS[pages, plugin]
    needs = {id(block): set(block.notes.get("needs", "").split()) for block in group}
    missing = {program for program in set().union(*needs.values()) if not is_there(program)}
    blocks = [block for block in group if not needs[id(block)] & missing]
    wrong = run_tests(blocks, pytester, *(() if plugin == "tdpostback" else ("-p", plugin)))
    assert not wrong, "\n\n".join(wrong)
    if missing:
        pytest.skip(f"{', '.join(sorted(missing))}: not installed")


def is_there(program):
    return BROWSER_SDK.exists() if program == "td-js-sdk" else shutil.which(program)


@pytest.mark.parametrize("block", OTHERS, ids=[f"{b.page}:{b.line}" for b in OTHERS])
def test_a_code_block_does_what_its_page_says(block, pytester, monkeypatch):
    # Of the contract check, one rule shows that the command works; tests/conformance runs it all.
    monkeypatch.setenv("PYTEST_ADDOPTS", f"{os.environ['PYTEST_ADDOPTS']} -kA5")
    scripts = Path(sys.executable).parent
    monkeypatch.setenv("PATH", os.pathsep.join([str(scripts), os.environ["PATH"]]))
    write_files(block, pytester)
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


def write_files(block, pytester):
    for name, text in block.files.items():
        pytester.path.joinpath(name).write_text(text, encoding="utf-8")


def run_python(block, _):
    if "file" in block.notes:
        compile(block.text, block.notes["file"], "exec")
    else:
        run_script(block)


def run_tests(blocks, pytester, *options):
    """Run blocks in one process of pytest, as a reader does, and say of which the page is wrong."""
    for block in blocks:
        write_files(block, pytester)
        pytester.makepyfile(**{block.module: block.text})
    pytester.makepyfile(write_reports=REPORTS)
    result = pytester.runpytest_subprocess("-p", "write_reports", *options, timeout=120)
    reports = pytester.path.joinpath("reports.jsonl")
    lines = reports.read_text(encoding="utf-8").splitlines() if reports.exists() else []
    told = [json.loads(line) for line in lines]
    without_margin = re.sub(r"^E {3}", "", result.stdout.str(), flags=re.MULTILINE)
    wrong = []
    for block in blocks:
        found = [rest for file, *rest in told if file == f"{block.module}.py"]
        if "fails" in block.notes:
            failures = [text for outcome, text in found if outcome == "failed"]
            right = any(block.notes["fails"] in text for text in failures)
        else:
            right = {outcome for outcome, _ in found} == {"passed"}
        if not right:
            texts = "\n".join(text for _, text in found) or result.stdout.str()
            wrong.append(f"{block.page}:{block.line} does not do what the page says:\n{texts}")
        if printed := PRINTED.get(id(block)):
            wanted = ".*".join(map(re.escape, printed.text.strip().split("...")))
            if not re.search(rf"_\n{wanted}\n[-=_]", without_margin):  # all of it
                wrong.append(f"{printed.page}:{printed.line} was not printed:\n{without_margin}")
    return wrong


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
