"""Servers to hold the schemas against, and which files the oldest Python leaves out."""

from __future__ import annotations

import sys

import pytest

from pytest_tdpostback import PostbackServer, profiles

# The independent judges of the OpenAPI documents do not exist for it; the documents are the same.
collect_ignore = ["test_judges.py"] if sys.version_info < (3, 11) else []


@pytest.fixture(scope="module", params=[row.name for row in profiles])
def server(request):
    """A running server of each profile; every write key is valid there."""
    with PostbackServer(profile=request.param) as running:
        running.postback.keys.accept_any()
        yield running
