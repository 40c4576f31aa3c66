"""`Postback.aio`: what waits, as coroutines for asyncio and trio."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .assertions import Assertions
from .waits import awaitable

if TYPE_CHECKING:
    from collections.abc import Callable

    from .expectation import ExpectedFailures
    from .postback import Postback


class Aio:
    """The waiting names of a `Postback` as coroutines: none blocks the loop that is still sending.

    They run on asyncio and on trio, and so under anyio; arguments, results and errors are those of
    the names without `aio`. Their time limits are real time, also where a test froze the clock.
    """

    def __init__(self, postback: Postback) -> None:
        self.postback = postback
        self._collector = postback._collector

    settle = awaitable(Assertions.settle)
    wait_for = awaitable(Assertions.wait_for)
    assert_ingested = awaitable(Assertions.assert_ingested)
    assert_nothing_ingested = awaitable(Assertions.assert_nothing_ingested)
    assert_refused = awaitable(Assertions.assert_refused)
    assert_auth_failed = awaitable(Assertions.assert_auth_failed)
    assert_valid = awaitable(Assertions.assert_valid)

    @property
    def expect_auth_failure(self) -> Callable[..., ExpectedFailures]:
        """As `Postback.expect_auth_failure`, for `async with`."""
        return self.postback.expect_auth_failure

    def __repr__(self) -> str:
        return f"<aio of {self.postback!r}>"
