"""What docs/other-plugins.md says of each neighbour, with the neighbour itself."""

from __future__ import annotations

import pytest

# A run inside this process forgets the modules that it was the first to import.
import requests  # noqa: F401

pytestmark = pytest.mark.once


def test_responses_lets_requests_to_the_fake_server_through(downstream):
    downstream(
        """
        import re
        import requests
        import responses

        def deliver(tdpostback):
            return requests.post(
                tdpostback.event_url("shop", "orders"),
                json={"id": 7},
                headers={"X-TD-Write-Key": tdpostback.write_key},
                timeout=10,
            )

        @responses.activate
        def test_blocked(tdpostback):
            try:
                deliver(tdpostback)
            except requests.ConnectionError:
                tdpostback.assert_nothing_ingested()
            else:
                raise AssertionError

        def test_passed_through(tdpostback):
            with responses.RequestsMock() as mock:
                mock.add_passthru(tdpostback.url)
                deliver(tdpostback)
            tdpostback.assert_ingested("shop", "orders", id=7)
        """
    ).assert_outcomes(passed=2)


HTTPX = """
    import httpx
    import pytest

    def deliver(tdpostback):
        return httpx.post(
            tdpostback.event_url("shop", "orders"),
            json={"id": 7},
            headers={"X-TD-Write-Key": tdpostback.write_key},
        )
"""


def test_respx_lets_requests_to_the_fake_server_through(downstream):
    downstream(
        HTTPX
        + """
    def test_it(tdpostback, respx_mock):
        respx_mock.route(url__startswith=tdpostback.url).pass_through()
        deliver(tdpostback)
        tdpostback.assert_ingested("shop", "orders", id=7)
        """,
        plugins=["respx"],
    ).assert_outcomes(passed=1)


def test_pytest_httpx_lets_requests_to_the_fake_server_through(downstream):
    downstream(
        HTTPX
        + """
    @pytest.fixture
    def non_mocked_hosts():
        return ["127.0.0.1"]

    @pytest.mark.httpx_mock(should_mock=lambda request: request.url.host != "127.0.0.1")
    def test_it(tdpostback, httpx_mock):
        deliver(tdpostback)
        tdpostback.assert_ingested("shop", "orders", id=7)
        """,
        plugins=["pytest_httpx"],
        apart=True,
    ).assert_outcomes(passed=1)


def test_vcr_records_nothing_of_the_fake_server(downstream, pytester):
    downstream(
        """
        import pytest

        @pytest.fixture(scope="module")
        def vcr_config():
            return {"ignore_localhost": True}

        @pytest.mark.vcr
        def test_it(tdpostback, send):
            send()
            tdpostback.assert_ingested("shop", "orders", id=7)
        """,
        "--record-mode=once",
        plugins=["recording"],
        apart=True,
    ).assert_outcomes(passed=1)
    assert not list(pytester.path.rglob("*.yaml"))


def test_pytest_socket_allows_the_fake_server_and_a_redirect_ends_cleanly_beside_it(downstream):
    pytest.importorskip("trustme")
    result = downstream(
        """
        import socket
        import pytest

        plain = socket.socket.connect

        def test_allowed(tdpostback, send):
            send()
            tdpostback.assert_ingested("shop", "orders", id=7)

        @pytest.mark.disable_socket
        def test_blocked(tdpostback, send):
            with pytest.raises(RuntimeError, match="A test tried to use socket"):
                send()

        @pytest.fixture
        def flushing(tdpostback):
            yield
            assert socket.socket.connect is plain

        @pytest.mark.tdpostback(redirect=True)
        def test_restores_what_pytest_socket_restored_before(flushing):
            assert socket.socket.connect is not plain
        """,
        "--allow-hosts=127.0.0.1",
        plugins=["socket"],
        apart=True,
    )
    result.assert_outcomes(passed=3)


MIXED = """
    import random
    import pytest

    @pytest.mark.parametrize("number", range(20))
    def test_good(tdpostback, send, number):
        send({"id": number})
        tdpostback.assert_ingested("shop", "orders", id=number)
        assert len(tdpostback.events) == 1

    @pytest.mark.parametrize("number", range(3))
    def test_lost(send, number): send(key="1/unknown")
"""


@pytest.mark.parametrize(
    ("plugins", "options"),
    [
        (["randomly", "xdist"], ["-n2"]),
        (["timeout"], ["--timeout=60"]),
        (["timeout"], ["--timeout=60", "--timeout-method=thread"]),
    ],
)
def test_xdist_randomly_and_timeout_change_no_outcome(downstream, plugins, options):
    result = downstream(MIXED, *options, plugins=plugins, apart=True)
    result.assert_outcomes(passed=20, failed=3)
    result.stdout.fnmatch_lines(["rejected after 200, not expected: A5 (3)"])


def test_each_rerun_of_a_test_has_an_empty_fake_server(downstream):
    result = downstream(
        """
        runs = []

        def test_flaky(tdpostback, send):
            assert len(tdpostback.events) == 0
            runs.append(tdpostback.url)
            send(key="1/unknown" if len(runs) < 3 else None)

        def test_never(send):
            send(key="1/unknown")
        """,
        "--reruns=2",
        plugins=["rerunfailures"],
    )
    result.assert_outcomes(passed=1, failed=1)
    assert result.parseoutcomes()["rerun"] == 4
    result.stdout.fnmatch_lines(["rejected after 200, not expected: A5 (5)"])


@pytest.mark.parametrize(
    ("freezing", "imported"),
    [
        ("freezegun.freeze_time('2020-01-01')", "freezegun"),
        ("time_machine.travel(1577836800, tick=False)", "time_machine"),
    ],
)
def test_a_frozen_clock_stops_neither_the_fake_server_nor_a_wait(downstream, freezing, imported):
    downstream(
        f"""
        import threading
        import pytest
        import {imported}
        from sender import post

        @{freezing}
        def test_received_when_the_frozen_clock_says(tdpostback, send):
            send()
            record = tdpostback.assert_ingested("shop", "orders")
            assert record["time"] == "1577836800"
            assert tdpostback.clock.now() == 1577836800

        @{freezing}
        def test_a_wait_in_vain_ends(tdpostback):
            with pytest.raises(AssertionError, match="no request arrived"):
                tdpostback.assert_ingested("shop", "orders", timeout=0.05)

        @{freezing}
        def test_the_delay_is_real_time(make_tdpostback):
            postback = make_tdpostback(validation_delay=0.05)
            decided = threading.Event()
            postback._collector.subscribe(decided.set)
            post(postback.url, postback.write_key)
            assert decided.wait(10)  # nobody waits: the server's own loop has to decide
            postback.settle()
            postback.assert_ingested("shop", "orders")

        @{freezing}
        def test_a_clock_that_the_test_sets_wins(tdpostback, send):
            tdpostback.clock.freeze(1_700_000_000)
            tdpostback.clock.advance(60)
            send()
            assert tdpostback.assert_ingested("shop", "orders")["time"] == "1700000060"

        def test_frozen_before_the_first_use(request):
            with {freezing}:
                postback = request.getfixturevalue("tdpostback")
                post(postback.url, "1/unknown")
                postback.assert_auth_failed()
                with pytest.raises(AssertionError, match="1 request arrived at another URL"):
                    request.getfixturevalue("make_tdpostback")().wait_for(print, timeout=0.05)
        """,
        apart=True,
    ).assert_outcomes(passed=5)


def test_a_wait_ends_although_the_clock_was_frozen_before_the_first_use(downstream):
    downstream(
        """
        import freezegun
        import pytest

        @freezegun.freeze_time("2020-01-01")
        def test_it(request):
            postback = request.getfixturevalue("tdpostback")
            with pytest.raises(AssertionError, match="no request arrived"):
                postback.assert_ingested("shop", "orders", timeout=0.2)
        """,
        "--timeout=60",
        plugins=["timeout"],
        apart=True,
    ).assert_outcomes(passed=1)


ASYNC = """
    import pytest
    from sender import post

    {mark}
    async def test_it(tdpostback):
        {thread}(post, tdpostback.url, tdpostback.write_key)
        record = await tdpostback.aio.assert_ingested("shop", "orders", timeout=10)
        assert record["id"] == 7
        await tdpostback.aio.settle()

    {mark}
    async def test_lost(tdpostback):
        {thread}(post, tdpostback.url, "1/unknown")
"""


@pytest.mark.parametrize(
    ("plugin", "mark", "thread", "tests"),
    [
        ("asyncio", "@pytest.mark.asyncio", "await __import__('asyncio').to_thread", 1),
        ("anyio", "@pytest.mark.anyio", "await __import__('anyio').to_thread.run_sync", 2),
        ("trio", "@pytest.mark.trio", "await __import__('trio').to_thread.run_sync", 1),
    ],
)
def test_an_asynchronous_test_waits_and_fails_for_a_loss(downstream, plugin, mark, thread, tests):
    result = downstream(ASYNC.format(mark=mark, thread=thread), plugins=[plugin], apart=True)
    result.assert_outcomes(passed=tests, failed=tests)
