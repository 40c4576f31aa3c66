"""Other tools check the OpenAPI documents: a validator, and Schemathesis with the fake server."""

from __future__ import annotations

import json
import os
import sys
from contextlib import ExitStack

import pytest

from pytest_tdpostback import PostbackServer, profiles
from pytest_tdpostback.protocol.schemas import load_openapi
from tests.checkout import run

pytestmark = pytest.mark.once

EXAMPLES = os.environ.get("TDPOSTBACK_SCHEMATHESIS_EXAMPLES", "3")
"""Requests that Schemathesis generates for each operation and phase; a thorough run takes 500."""
PROFILES = [row.name for row in profiles]

ALL_PROFILES = """
import json
import sys
from schemathesis.cli import schemathesis

for arguments in json.load(sys.stdin):
    try:
        schemathesis(arguments)
    except SystemExit as ended:
        assert not ended.code, f"{arguments[1]}: {ended.code}"
"""
"""Runs Schemathesis several times; to import it takes longer than one run."""


@pytest.mark.parametrize("profile", PROFILES)
def test_document_is_valid(profile):
    from openapi_spec_validator import OpenAPIV31SpecValidator

    assert [
        str(error) for error in OpenAPIV31SpecValidator(load_openapi(profile)).iter_errors()
    ] == []


def test_schemathesis_finds_nothing_in_any_profile(tmp_path):
    with ExitStack() as stack:
        # It makes up keys too, whose rejection is as it should be.
        servers = {
            row.name: stack.enter_context(PostbackServer(profile=row, on_auth_failure="ignore"))
            for row in profiles
        }
        runs = [arguments_for(server, profile, tmp_path) for profile, server in servers.items()]
        command = (sys.executable, "-c", ALL_PROFILES)
        output = run(*command, cwd=tmp_path, stdin=json.dumps(runs), timeout=1800)
        assert output.count("No issues found") == len(PROFILES)
        for profile, server in servers.items():
            # It did send, and what it sent was served without an error of our own.
            assert {event.status for event in server.postback.events} >= {200, 400, 405}, profile
            assert server.collector.errors == [], profile


def arguments_for(server, profile, folder):
    document = folder / f"{profile}.json"
    document.write_text(json.dumps(load_openapi(profile)))
    key = f"X-TD-Write-Key: {server.write_key!s}"
    if profiles[profile].postback is not None:
        key = f"Authorization: TD1 {server.write_key!s}"
    arguments = ["run", str(document), "--checks=all", f"--max-examples={EXAMPLES}"]
    arguments += [f"--url={server.url}", f"--header={key}"]
    # The same requests each time, unless a number asks for a search.
    arguments += [] if "TDPOSTBACK_SCHEMATHESIS_EXAMPLES" in os.environ else ["--seed=1"]
    if not profiles[profile].refuses_unknown_keys:
        # It wants a made-up key to be refused, which A5 answers with 200.
        arguments.append("--exclude-checks=ignored_auth")
    return arguments
