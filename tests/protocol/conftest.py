"""Servers whose behaviour is compared with the schemas."""

from __future__ import annotations

import pytest

from pytest_tdpostback import PostbackServer, profiles


@pytest.fixture(scope="module", params=[row.name for row in profiles])
def server(request):
    """A running server of each profile; every write key is valid there."""
    with PostbackServer(profile=request.param) as running:
        running.postback.keys.accept_any()
        yield running
