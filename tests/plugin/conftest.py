"""Runs of a downstream project, with this plugin and with no other but those that are asked for."""

from __future__ import annotations

import pytest

from tests.checkout import INSIDE

SENDER = """
import http.client
import json


def post(url, key, data=None, path="/postback/v3/event/shop/orders"):
    connection = http.client.HTTPConnection(url.partition("://")[2], timeout=10)
    headers = {"Content-Type": "application/json"}
    if key:
        headers["X-TD-Write-Key"] = key
    connection.request("POST", path, json.dumps({"id": 7} if data is None else data), headers)
    status = connection.getresponse().status
    connection.close()
    return status
"""

CONFTEST = """
import pytest
from sender import post


@pytest.fixture
def send(tdpostback):
    def send(data=None, key=None):
        return post(tdpostback.url, key or tdpostback.write_key, data)

    return send
"""


@pytest.fixture
def downstream(pytester, monkeypatch):
    """Run a test file, in this process unless `apart`, with the plugins named beside this one."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    monkeypatch.delenv("PYTEST_ADDOPTS", raising=False)
    monkeypatch.setenv("COLUMNS", "160")
    pytester.makeconftest(CONFTEST)
    # Not in conftest.py: a run before this one may have left another module of that name.
    pytester.makepyfile(sender=SENDER)
    pytester.syspathinsert()

    def run(source, *args, plugins=(), apart=False):
        pytester.makepyfile(test_it=source)
        runner = pytester.runpytest_subprocess if apart else pytester.runpytest_inprocess
        inside = () if apart else INSIDE
        beside = [option for name in plugins for option in ("-p", name)]
        return runner("-p", "tdpostback", *beside, *inside, "-p", "no:cacheprovider", *args)

    return run
