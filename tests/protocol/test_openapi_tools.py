"""Other tools check the OpenAPI documents: a validator, and Schemathesis with the fake server."""

from __future__ import annotations

import json
import os
import sys

import pytest

from pytest_tdpostback import PostbackServer, profiles
from pytest_tdpostback.protocol.schemas import load_openapi
from tests.checkout import run

pytestmark = pytest.mark.once

EXAMPLES = os.environ.get("TDPOSTBACK_SCHEMATHESIS_EXAMPLES", "10")
"""Requests that Schemathesis generates for each operation and phase; a thorough run takes 500."""
PROFILES = [row.name for row in profiles]


@pytest.mark.parametrize("profile", PROFILES)
def test_document_is_valid(profile):
    from openapi_spec_validator import OpenAPIV31SpecValidator

    assert [
        str(error) for error in OpenAPIV31SpecValidator(load_openapi(profile)).iter_errors()
    ] == []


@pytest.mark.parametrize("profile", PROFILES)
def test_schemathesis_finds_nothing(profile, tmp_path):
    document = tmp_path / "openapi.json"
    document.write_text(json.dumps(load_openapi(profile)))
    command = [sys.executable, "-m", "schemathesis.cli", "run", document]
    command += ["--checks=all", f"--max-examples={EXAMPLES}"]
    # The same requests each time, unless a number asks for a search.
    command += [] if "TDPOSTBACK_SCHEMATHESIS_EXAMPLES" in os.environ else ["--seed=1"]
    if not profiles[profile].refuses_unknown_keys:
        # It wants a made-up key to be refused, which A5 answers with 200.
        command.append("--exclude-checks=ignored_auth")
    # It makes up keys too, whose rejection is as it should be.
    with PostbackServer(profile=profile, on_auth_failure="ignore") as server:
        key = f"X-TD-Write-Key: {server.write_key!s}"
        if profiles[profile].postback is not None:
            key = f"Authorization: TD1 {server.write_key!s}"
        command += [f"--url={server.url}", f"--header={key}"]
        output = run(*command, cwd=tmp_path, timeout=1800)
        assert "No issues found" in output
        # It did send, and what it sent was served without an error of our own.
        assert {event.status for event in server.postback.events} >= {200, 400, 405}
        assert server.collector.errors == []
