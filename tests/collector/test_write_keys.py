"""Write keys while several threads use them."""

from __future__ import annotations

import threading

import pytest

from pytest_tdpostback import ConfigurationError
from pytest_tdpostback.collector.write_keys import WriteKeys

DEADLINE = 30.0


def test_repr_while_another_thread_adds_keys():
    keys = WriteKeys()

    def add():
        for _ in range(500):
            keys.add()

    thread = threading.Thread(target=add)
    thread.start()
    while thread.is_alive():
        assert repr(keys).startswith("<WriteKeys")
    assert len(keys.valid()) == 500


def test_a_key_that_is_added_again_is_never_unknown_in_between():
    """Limits and revocations change in one step."""
    keys = WriteKeys()
    keys.add("1/a")
    enough = threading.Event()
    seen = set()

    def look():
        while not enough.is_set():
            seen.add(keys.rejection("1/a", ("db", "table")))

    thread = threading.Thread(target=look)
    thread.start()
    try:
        for _ in range(2_000):
            keys.revoke("1/a")
            keys.add("1/a")
    finally:
        enough.set()
        thread.join(DEADLINE)
    assert seen <= {"", "was revoked"}


def test_a_revoked_key_cannot_be_revoked_again():
    keys = WriteKeys()
    keys.add("1/a")
    keys.revoke("1/a")
    assert "1/a" not in keys
    with pytest.raises(ConfigurationError, match="is not valid here"):
        keys.revoke("1/a")
    keys.accept_any()
    keys.revoke("2/b")
    assert keys.rejection("2/b", ("db", "table")) == "was revoked"
    assert keys.rejection("3/c", ("db", "table")) == ""
