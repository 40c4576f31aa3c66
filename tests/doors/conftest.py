"""What the tests of the doors take from those of the wire."""

from __future__ import annotations

from tests.wire.conftest import doubles

__all__ = ["doubles"]
