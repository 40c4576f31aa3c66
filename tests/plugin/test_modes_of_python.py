"""The modes in which people run Python and pytest change no outcome."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import pytest

from tests.plugin.conftest import CONFTEST, SENDER

pytestmark = pytest.mark.once

PROJECT = """
import asyncio


def test_stored(tdpostback, send):
    send()
    tdpostback.assert_ingested("shop", "orders", id=7)


def test_stored_and_awaited(tdpostback, send):
    async def wait():
        await asyncio.to_thread(send)
        await tdpostback.aio.assert_ingested("shop", "orders", id=7)

    asyncio.run(wait())


def test_lost(send):
    send(key="1/unknown")


def test_not_stored(tdpostback, send):
    send()
    tdpostback.assert_ingested("shop", "orders", id=8, timeout=0.05)
"""

TARGET = ("--pyargs", "pytest_tdpostback.conformance")


@pytest.fixture
def run(tmp_path):
    """Run pytest in a mode; return its exit status and its output."""
    tmp_path.joinpath("conftest.py").write_text(CONFTEST, encoding="utf-8")
    tmp_path.joinpath("sender.py").write_text(SENDER, encoding="utf-8")
    tmp_path.joinpath("test_project.py").write_text(PROJECT, encoding="utf-8")

    def run(python, options, variables, *tests, typed=""):
        environment = {**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", **variables}
        environment.pop("PYTEST_ADDOPTS", None)
        done = subprocess.run(
            [sys.executable, *python, "-m", "pytest", "-ptdpostback", *options, *tests],
            cwd=tmp_path,
            env=environment,
            input=typed,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=120,
            check=False,
        )
        return done.returncode, done.stdout

    return run


MODES = {
    "python -W error": (["-W", "error"], [], {}),
    "development mode and pytest -W error": ([], ["-W", "error"], {"PYTHONDEVMODE": "1"}),
    "-O and the debug mode of asyncio": (["-O"], [], {"PYTHONASYNCIODEBUG": "1"}),
}


@pytest.mark.parametrize("mode", MODES)
def test_a_lost_event_and_a_missing_record_fail_their_tests_and_nothing_else_does(run, mode):
    status, output = run(*MODES[mode])
    assert status == pytest.ExitCode.TESTS_FAILED, output
    assert "2 failed, 2 passed" in output
    assert "test_lost - UnexpectedAuthFailure" in output
    assert "test_not_stored - AssertionError" in output
    assert "ResourceWarning" not in output


def test_without_a_terminal_reporter_the_exit_status_is_the_same(run):
    status, output = run([], ["-p", "no:terminal"], {})
    assert status == pytest.ExitCode.TESTS_FAILED, output
    assert "Traceback" not in output


def test_a_debugger_stops_in_the_test_that_lost_an_event_and_prints_test_line_and_cause_first(run):
    typed = "p 'status', error.events[0].status\np 'fixture', send\nq\n"
    _, output = run([], ["--pdb", "-k", "test_lost"], {}, typed=typed)
    line = PROJECT.partition("def test_lost")[0].count("\n") + 1
    test, _, rest = output.partition(f"test_project.py::test_lost begins at line {line}, ")
    cause, _, stopped = rest.partition("entering PDB")
    assert "Silent loss" not in test
    assert "write key 1/unk… is unknown (A5)" in cause
    assert re.search(rf"> .*test_project\.py\({line}\)test_lost\(\)\n-> def test_lost", stopped)
    assert "('status', 200)" in stopped
    assert "('fixture', <function send" in stopped


def test_a_debugger_stops_in_the_line_of_the_test_that_asserts(run):
    _, output = run([], ["--pdb", "-k", "test_not_stored"], {}, typed="q\n")
    assert re.search(r"> .*test_project\.py\(\d+\)test_not_stored\(\)\n-> tdpostback\.", output)


def test_the_contract_check_passes_without_the_asserts_of_the_package(run):
    # pytest warns that asserts are left out; those of the checks are not, because it rewrites them.
    options = ["-W", "ignore::pytest.PytestWarning"]
    status, output = run(["-O"], options, {}, *TARGET)
    assert status == pytest.ExitCode.OK, output


def test_the_contract_check_catches_a_wrong_outcome_without_the_asserts_of_python(run, tmp_path):
    tmp_path.joinpath("wrong_outcome.py").write_text(
        """
from pytest_tdpostback.conformance.inspection import InspectionClient

event = InspectionClient.event
InspectionClient.event = lambda self: {**event(self), "state": "ingested"}
""",
        encoding="utf-8",
    )
    options = ["-W", "ignore::pytest.PytestWarning", "-pwrong_outcome"]
    chosen = "-ktest_event_with_an_unknown_key_fails_afterwards"
    status, output = run(["-O"], options, {}, *TARGET, chosen)
    assert status == pytest.ExitCode.TESTS_FAILED, output
    assert "1 failed" in output
