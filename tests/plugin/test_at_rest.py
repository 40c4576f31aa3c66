"""Installed and not used, the plugin costs nothing worth mentioning."""

from __future__ import annotations

import ast

import pytest

MODULES_AT_MOST = 12
HEAVY = {"asyncio", "ssl", "http", "http.client", "json", "httptools", "werkzeug", "jsonschema"}

SHOW_MODULES = """
    import sys

    def pytest_unconfigure():
        print("modules:", sorted(sys.modules))
"""


def loaded(pytester, option, test="def test_it(): pass"):
    pytester.makeconftest(SHOW_MODULES)
    pytester.makepyfile(test_it=test)
    result = pytester.runpytest_subprocess("-p", option, "-p", "no:cacheprovider")
    result.assert_outcomes(passed=1)
    (line,) = (line for line in result.outlines if line.startswith("modules:"))
    return set(ast.literal_eval(line.partition(" ")[2]))


@pytest.mark.once
def test_an_installed_plugin_loads_few_modules_and_no_heavy_one(pytester, monkeypatch):
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    monkeypatch.delenv("PYTEST_ADDOPTS", raising=False)
    added = loaded(pytester, "tdpostback") - loaded(pytester, "no:tdpostback")
    assert "pytest_tdpostback.plugin" in added
    assert len(added) <= MODULES_AT_MOST
    assert not added & HEAVY


def test_a_run_that_passes_loads_no_rules_and_no_batches(pytester):
    test = """
        from urllib.request import Request, urlopen

        def test_it(tdpostback):
            headers = {"Content-Type": "application/json", "X-TD-Write-Key": tdpostback.write_key}
            urlopen(Request(tdpostback.event_url("web", "visits"), b'{"id": 1}', headers)).close()
            tdpostback.assert_ingested("web", "visits", id=1)
    """
    modules = loaded(pytester, "no:randomly", test)
    assert "pytest_tdpostback.protocol.judge" in modules
    assert not modules & {"pytest_tdpostback.protocol.rules", "pytest_tdpostback.protocol.batch"}
