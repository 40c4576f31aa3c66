"""The waiting names as coroutines, on asyncio and on trio."""

from __future__ import annotations

import asyncio
import inspect
import json
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest
import trio

from pytest_tdpostback import SettleTimeout
from tests.http_client import DEADLINE

HOUR = 3600
"""Seconds of a wait that ends in time only if something wakes or cancels it."""
BODY = json.dumps({"id": 7}).encode()


def request(tdpostback, key=None):
    head = (
        f"POST /postback/v3/event/shop/orders HTTP/1.1\r\nHost: x\r\n"
        f"Content-Type: application/json\r\nX-TD-Write-Key: {key or tdpostback.write_key}\r\n"
        f"Content-Length: {len(BODY)}\r\nConnection: close\r\n\r\n"
    )
    return head.encode() + BODY


async def send_with_asyncio(tdpostback, **options):
    port = int(tdpostback.url.rpartition(":")[2])
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request(tdpostback, **options))
    await reader.read()
    writer.close()
    await writer.wait_closed()


async def send_with_trio(tdpostback, **options):
    stream = await trio.open_tcp_stream("127.0.0.1", int(tdpostback.url.rpartition(":")[2]))
    async with stream:
        await stream.send_all(request(tdpostback, **options))
        await stream.receive_some()


@pytest.fixture(params=["asyncio", "trio"])
def loop(request):
    """A function that runs a coroutine of two: what sends, and what waits, side by side."""

    class Loop:
        name = request.param
        send = staticmethod(send_with_asyncio if request.param == "asyncio" else send_with_trio)

        @staticmethod
        def run(function, *args):
            async def in_trio():
                with trio.fail_after(DEADLINE):
                    return await function(*args)

            if request.param == "trio":
                return trio.run(in_trio)
            return asyncio.run(asyncio.wait_for(function(*args), DEADLINE))

        @staticmethod
        async def beside(send, wait):
            """What `wait` gives, while `send` goes on in the same loop."""
            if request.param == "asyncio":
                task = asyncio.ensure_future(send)
                result = await wait
                await task
                return result
            async with trio.open_nursery() as nursery:
                nursery.start_soon(lambda: send)
                return await wait

    return Loop


def test_waiting_lets_the_loop_send(tdpostback, loop):
    async def body():
        wait = tdpostback.aio.assert_ingested("shop", "orders", id=7, timeout=10)
        return await loop.beside(loop.send(tdpostback), wait)

    assert loop.run(body)["id"] == 7


def test_wait_for_and_settle(tdpostback, loop):
    async def body():
        wait = tdpostback.aio.wait_for(lambda event: event.table == "orders", timeout=10)
        event = await loop.beside(loop.send(tdpostback), wait)
        await tdpostback.aio.settle()
        return event

    assert loop.run(body).status == 200
    assert len(tdpostback.records()) == 1


@pytest.mark.parametrize(
    "wait",
    [
        lambda aio: aio.settle(HOUR),
        lambda aio: aio.wait_for(lambda event: event.state == "ingested", timeout=HOUR),
        lambda aio: aio.assert_ingested("shop", "orders", timeout=HOUR),
    ],
    ids=["settle", "wait_for", "assert_ingested"],
)
def test_an_outcome_ends_a_wait(tdpostback, loop, wait):
    held = tdpostback.hold_validation()

    async def release():
        held.__exit__(None, None, None)

    async def body():
        with held:
            await loop.send(tdpostback)
            held.__enter__()
        await loop.beside(release(), wait(tdpostback.aio))

    loop.run(body)


def test_a_wait_that_is_cancelled_ends_in_its_thread(tdpostback, loop):
    looked = threading.Event()

    def is_wanted(_):
        looked.set()
        return False

    wait = partial(tdpostback.aio.assert_ingested, "shop", "orders", where=is_wanted, timeout=HOUR)

    async def in_asyncio():
        await loop.send(tdpostback)
        task = asyncio.ensure_future(wait())
        assert await asyncio.to_thread(looked.wait, DEADLINE)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    async def in_trio():
        await loop.send(tdpostback)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(wait)
            assert await trio.to_thread.run_sync(looked.wait, DEADLINE)
            nursery.cancel_scope.cancel()

    loop.run(in_asyncio if loop.name == "asyncio" else in_trio)
    for thread in threading.enumerate():
        if thread.name.startswith("asyncio_"):
            thread.join(DEADLINE)
            assert not thread.is_alive()
    tdpostback.settle()  # the cancellation does not outlive its task


def test_a_cancelled_wait_does_not_cancel_what_its_thread_does_next(tdpostback):
    async def body():
        loop, looked = asyncio.get_running_loop(), asyncio.Event()
        loop.set_default_executor(ThreadPoolExecutor(1))

        def look(_):
            loop.call_soon_threadsafe(looked.set)

        task = asyncio.ensure_future(tdpostback.aio.wait_for(look, HOUR))
        await send_with_asyncio(tdpostback)
        await asyncio.wait_for(looked.wait(), DEADLINE)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.to_thread(tdpostback.settle)

    asyncio.run(body())


def test_a_wait_that_is_cancelled_before_it_begins_is_not_said_to_be_forgotten(tdpostback):
    async def body():
        task = asyncio.ensure_future(tdpostback.aio.settle())
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(body())
    tdpostback.check()


def test_expected_failures(tdpostback, loop):
    async def body():
        async with tdpostback.aio.expect_auth_failure(count=1) as failures:
            await loop.send(tdpostback, key="1/unknown")
        assert [event.rule for event in failures] == ["A5"]
        await tdpostback.aio.assert_nothing_ingested()
        assert len(await tdpostback.aio.assert_auth_failed()) == 1

    loop.run(body)


def test_a_wait_for_what_does_not_happen_ends_with_its_timeout(tdpostback, loop):
    async def body():
        with pytest.raises(AssertionError, match="no request arrived"):
            await tdpostback.aio.assert_ingested("shop", "orders", timeout=0.05)
        with pytest.raises(AssertionError, match="no request arrived"):
            await tdpostback.aio.assert_refused(timeout=0.05)
        with tdpostback.hold_validation():
            await loop.send(tdpostback)
            with pytest.raises(SettleTimeout, match="validation is held"):
                await tdpostback.aio.settle(0.05)

    loop.run(body)


def test_a_call_that_blocks_the_loop_says_so(tdpostback, loop):
    async def body():
        with pytest.raises(AssertionError) as caught:
            tdpostback.assert_ingested("shop", "orders", timeout=0)
        assert str(caught.value).splitlines()[1] == (
            "  This call blocks an event loop that runs in this thread; "
            "use await tdpostback.aio.… instead."
        )
        with pytest.raises(AssertionError) as caught:
            await tdpostback.aio.assert_ingested("shop", "orders", timeout=0)
        assert "event loop" not in str(caught.value)

    loop.run(body)


def test_a_column_may_have_any_name(tdpostback, loop):
    async def body():
        with pytest.raises(AssertionError, match="with function=1, method=2"):
            await tdpostback.aio.assert_ingested("shop", "orders", timeout=0, function=1, method=2)

    loop.run(body)


def test_the_signature_is_that_of_the_name_without_aio(tdpostback):
    assert tdpostback.aio.assert_refused.__doc__ == tdpostback.assert_refused.__doc__
    with pytest.raises(TypeError, match="colour"):
        asyncio.run(tdpostback.aio.assert_refused(colour="red"))
    if sys.version_info >= (3, 12):
        assert inspect.iscoroutinefunction(tdpostback.aio.assert_refused)
