"""What one test sends is never in another, however late and from wherever it comes."""

from __future__ import annotations

import sys

import pytest

LATE = """
    import threading
    from sender import post

    go, sent = threading.Event(), threading.Event()

    def test_starts_a_sender(tdpostback):
        def work():
            go.wait(10)
            post(tdpostback.url, {key}, {{"late": 1}})
            sent.set()
        threading.Thread(target=work).start()

    def test_runs_meanwhile(tdpostback, tdpostback_server):
        go.set()
        assert sent.wait(10)
        tdpostback.settle()
        assert len(tdpostback.events) == 0
        assert len(tdpostback_server.postback.events) == 0
"""


def test_an_event_of_a_late_thread_is_listed_under_the_test_that_started_it(downstream):
    result = downstream(LATE.format(key="tdpostback.write_key"))
    result.assert_outcomes(passed=2)
    result.stdout.fnmatch_lines(
        [
            "arrived after the end of their test:",
            "  test_it.py::test_starts_a_sender: #1 POST shop.orders: 200, ingested",
        ]
    )


def test_the_summary_lists_a_hundred_late_events_and_counts_the_others(downstream):
    result = downstream(
        """
        from sender import post

        def test_first(tdpostback):
            global url, key
            url, key = tdpostback.url, tdpostback.write_key

        def test_second():
            for _ in range(103):
                post(url, key)
        """
    )
    result.assert_outcomes(passed=2)
    result.stdout.fnmatch_lines(
        ["  test_it.py::test_first: #100 POST shop.orders: 200, ingested", "  … and 3 more"]
    )
    result.stdout.no_fnmatch_line("*: #101 POST*")


def test_records_of_a_batch_that_is_late_are_listed_each(downstream):
    result = downstream(
        """
        import json
        from urllib.request import Request, urlopen

        kept = {}

        def test_ends_first(tdpostback):
            fields = {
                "Authorization": f"TD1 {tdpostback.write_key!s}",
                "Content-Type": "application/vnd.treasuredata.v1+json",
            }
            body = json.dumps({"events": [{"n": 1}, {"n": 2}]}).encode()
            kept["late"] = Request(f"{tdpostback.url}/shop/orders", body, fields)

        def test_runs_meanwhile(tdpostback):
            urlopen(kept["late"]).close()
            assert len(tdpostback.events) == 0
        """,
        "--tdpostback-profile=ingestion-v1",
    )
    result.assert_outcomes(passed=2)
    result.stdout.fnmatch_lines(
        [
            "arrived after the end of their test:",
            "  test_it.py::test_ends_first: #1 POST shop.orders: 200, ingested",
            "  test_it.py::test_ends_first: #2 POST shop.orders: 200, ingested",
        ]
    )


def test_a_fault_that_is_removed_after_its_test_leaves_late_events_listed(downstream):
    result = downstream(
        """
        from sender import post

        kept = {}

        def test_has_a_fault(tdpostback):
            kept["fault"] = tdpostback.faults.status(503, table="another")
            kept["send"] = lambda url=tdpostback.url, key=tdpostback.write_key: post(url, key)

        def test_runs_later(tdpostback):
            kept["fault"].remove()
            kept["send"]()
            assert len(tdpostback.events) == 0
        """
    )
    result.assert_outcomes(passed=2)
    result.stdout.fnmatch_lines(["  test_it.py::test_has_a_fault: #1 POST *: 200, ingested"])


def test_a_late_loss_is_not_charged_to_the_test_that_runs(downstream):
    result = downstream(LATE.format(key="'1/unknown'"))
    result.assert_outcomes(passed=2)
    result.stdout.fnmatch_lines(["  test_it.py::test_starts_a_sender: *rejected after 200, A5: *"])


@pytest.mark.once
def test_an_event_of_a_late_subprocess_is_not_in_the_next_test(downstream):
    downstream(
        f"""
        import subprocess

        def test_starts(tdpostback):
            global child
            program = (
                "import sys; sys.stdin.read(); sys.path.insert(0, '.'); from sender import post; "
                f"post({{tdpostback.url!r}}, '1/unknown')"
            )
            child = subprocess.Popen([{sys.executable!r}, "-c", program], stdin=subprocess.PIPE)

        def test_runs_meanwhile(tdpostback):
            child.communicate()
            assert child.returncode == 0
            assert len(tdpostback.events) == 0
        """
    ).assert_outcomes(passed=2)


def test_an_event_sent_in_teardown_belongs_to_its_test_and_is_not_late(downstream):
    result = downstream(
        """
        import pytest

        @pytest.fixture(autouse=True)
        def flushing(send):
            yield
            send({"flushed": True})

        @pytest.mark.parametrize("number", range(3))
        def test_it(tdpostback, number):
            assert len(tdpostback.events) == 0
        """
    )
    result.assert_outcomes(passed=3)
    result.stdout.no_fnmatch_line("*arrived after the end*")


def test_a_failure_says_that_the_url_or_the_key_is_of_another_test(downstream):
    result = downstream(
        """
        from sender import post

        def test_first(tdpostback):
            global url, key
            url, key = tdpostback.url, tdpostback.write_key

        def test_key(tdpostback):
            post(tdpostback.url, key)
            tdpostback.assert_ingested("shop", "orders", timeout=0)

        def test_url(tdpostback):
            post(url, tdpostback.write_key)
            tdpostback.assert_ingested("shop", "orders", timeout=0)
        """
    )
    result.assert_outcomes(passed=1, failed=2)
    result.stdout.fnmatch_lines(
        [
            "*/* is the write key of test_it.py::test_first.",
            "*1 request arrived at another URL; *",
            "*#1 POST shop.orders: rejected after 200, A5: *, at * of test_it.py::test_first",
        ]
    )


def test_a_failure_does_not_name_late_events_from_before_its_test(downstream):
    result = downstream(
        """
        from sender import post

        def test_first(tdpostback):
            global url, key
            url, key = tdpostback.url, tdpostback.write_key

        def test_second():
            post(url, key)

        def test_third(tdpostback):
            tdpostback.assert_ingested("shop", "orders", timeout=0)

        def test_fourth(tdpostback):
            post(url, key)
            tdpostback.assert_ingested("shop", "orders", timeout=0)
        """
    )
    result.assert_outcomes(passed=2, failed=2)
    result.stdout.fnmatch_lines(
        [
            "*_ test_third _*",
            "*no request arrived; *",
            "*_ test_fourth _*",
            "*1 request arrived at another URL; *",
            "*#2 POST shop.orders: 200, ingested, at * of test_it.py::test_first",
        ]
    )


def test_a_late_event_for_the_service_is_at_the_host_that_it_names(downstream):
    result = downstream(
        """
        from urllib.request import Request, urlopen

        def test_first(tdpostback):
            global late
            url, fields = tdpostback.event_url("shop", "orders"), {"Host": "in.treasuredata.com"}
            fields |= {"X-TD-Write-Key": str(tdpostback.write_key)}
            late = Request(url, b"{}", fields | {"Content-Type": "application/json"})

        def test_second(tdpostback):
            urlopen(late).close()
            tdpostback.assert_ingested("shop", "orders", timeout=0)
        """
    )
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["*#1 POST *, at in.treasuredata.com of test_it.py::test_first"])


def test_a_postback_kept_from_an_ended_test_is_not_waited_for_and_is_the_cause(downstream):
    result = downstream(
        """
    kept = []

    def test_first(tdpostback):
        kept.append(tdpostback)

    def test_second():
        kept[0].assert_ingested("shop", "orders", timeout=3_600)
"""
    )
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(
        [
            "*no request arrived: this Postback belongs to a test that has ended; wanted 1 record*",
            "*test_it.py::test_first has ended. Fix: use the Postback of the test that runs.",
        ]
    )


def test_an_event_at_a_url_first_asked_for_after_its_test_is_late(downstream):
    result = downstream(
        """
        import pytest
        from sender import post

        def test_first(tdpostback):
            global postback
            postback = tdpostback

        def test_second(tdpostback):
            assert post(postback.url, postback.write_key) == 200
            with pytest.raises(AssertionError) as raised:
                tdpostback.assert_ingested("shop", "orders", timeout=0)
            assert f", at {postback.url} of test_it.py::test_first" in str(raised.value)
        """
    )
    result.assert_outcomes(passed=2)
    result.stdout.fnmatch_lines(
        [
            "arrived after the end of their test:",
            "*test_it.py::test_first: #1 POST shop.orders: 200, ingested*",
        ]
    )


def test_a_port_that_opens_after_its_test_is_closed_when_many_newer_ones_are_open(downstream):
    result = downstream(
        """
        import socket
        from urllib.parse import urlsplit

        def test_first(tdpostback):
            global postback
            postback = tdpostback

        def test_second():
            global address
            parts = urlsplit(postback.url)
            address = parts.hostname, parts.port
            socket.create_connection(address).close()

        def test_third(make_tdpostback):
            for _ in range(300):
                make_tdpostback().url

        def test_fourth():
            for _ in range(5_000):  # it is closed a moment after the end of the test before
                try:
                    socket.create_connection(address).close()
                except ConnectionRefusedError:
                    return
            raise AssertionError
        """
    )
    result.assert_outcomes(passed=4)


def test_a_finished_postback_is_freed_without_the_garbage_collector(downstream):
    """Its walks over many finished objects would take a third of the time of the fixture."""
    downstream(
        """
        import gc, weakref
        import pytest

        left = []

        def use(tdpostback):
            with tdpostback.hold_validation():
                tdpostback.keys.revoke(tdpostback.write_key)
            tdpostback.faults.drop()
            assert tdpostback.aio and tdpostback.wsgi_app
            return [tdpostback.clock, tdpostback.keys]

        @pytest.fixture(scope="module", autouse=True)
        def no_collections():
            gc.disable()
            yield
            gc.enable()

        @pytest.mark.parametrize("used", [False, True])
        def test_first(tdpostback, used):
            used_things = use(tdpostback) if used else []
            left.extend(map(weakref.ref, [tdpostback, *used_things]))

        def test_second():
            assert [each() for each in left] == [None] * 4
        """
    ).assert_outcomes(passed=3)


def test_two_tests_may_use_the_same_key(downstream):
    downstream(
        """
        import pytest
        from sender import post

        @pytest.mark.parametrize("number", range(2))
        def test_it(tdpostback, number):
            tdpostback.keys.add("12345/same")
            post(tdpostback.url, "12345/same")
            tdpostback.assert_ingested("shop", "orders")
        """
    ).assert_outcomes(passed=2)


def test_two_fake_servers_of_one_test_have_their_own_keys_and_events(downstream):
    downstream(
        """
        from sender import post

        def test_it(tdpostback, make_tdpostback):
            other = make_tdpostback(profile="article-2015", write_keys=["1/own"])
            assert post(other.url, "1/own") == 200
            assert post(other.url, tdpostback.write_key) == 403
            other.assert_ingested("shop", "orders")
            tdpostback.assert_nothing_ingested()
        """
    ).assert_outcomes(passed=1)


@pytest.mark.once
def test_hundreds_of_tests_take_no_port_again_and_use_up_no_descriptors_or_threads(downstream):
    """An application that one test left running must not reach another test."""
    downstream(
        """
        import os, threading
        import pytest
        from sender import post

        ports = set()

        @pytest.mark.parametrize("number", range(600))
        def test_it(tdpostback, number):
            assert tdpostback.url not in ports
            ports.add(tdpostback.url)
            if number % 30 == 0:
                post(tdpostback.url, tdpostback.write_key, {"number": number})
                tdpostback.assert_ingested("shop", "orders", number=number)
            assert threading.active_count() < 5
            if os.path.isdir("/proc/self/fd"):
                assert len(os.listdir("/proc/self/fd")) < 400
        """,
        apart=True,
    ).assert_outcomes(passed=600)


@pytest.mark.once
def test_a_port_is_opened_only_when_the_url_is_asked_for(downstream):
    result = downstream(
        """
        import os
        import pytest

        @pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="no /proc")
        @pytest.mark.parametrize("number", range(40))
        def test_it(tdpostback, tdpostback_server, number):
            if number == 0:
                assert tdpostback_server.url
                pytest.files = len(os.listdir("/proc/self/fd"))
            assert len(os.listdir("/proc/self/fd")) == pytest.files
            if number == 39:
                assert tdpostback.url != tdpostback_server.url
                assert len(os.listdir("/proc/self/fd")) > pytest.files
        """,
        apart=True,
    )
    result.assert_outcomes(passed=40)


def test_the_fixture_may_be_asked_for_in_a_thread(downstream):
    result = downstream(
        """
        from concurrent.futures import ThreadPoolExecutor

        def test_it(request):
            with ThreadPoolExecutor(1) as workers:
                postback = workers.submit(request.getfixturevalue, "tdpostback").result()
            assert postback is request.getfixturevalue("tdpostback")
        """
    )
    result.assert_outcomes(passed=1)


def test_a_test_that_another_plugin_skips_in_setup_disturbs_no_other(downstream, pytester):
    pytester.syspathinsert()
    pytester.makepyfile(
        skips="""
        import pytest

        @pytest.hookimpl(tryfirst=True)
        def pytest_runtest_setup(item):
            if item.name == "test_skipped":
                pytest.skip("not today")
        """
    )
    result = downstream(
        """
        def test_it(send):
            send()

        def test_skipped(send):
            send()

        def test_it_too(send):
            send()
        """,
        plugins=["skips"],
    )
    result.assert_outcomes(passed=2, skipped=1)


@pytest.mark.once
def test_the_summary_counts_what_all_workers_of_xdist_saw(downstream):
    result = downstream(
        """
        import pytest

        @pytest.mark.parametrize("number", range(4))
        def test_good(tdpostback, send, number):
            send({"Id": number})
            tdpostback.assert_ingested("shop", "orders", Id=number)

        @pytest.mark.parametrize("number", range(2))
        def test_lost(send, number): send(key="1/unknown")
        """,
        "-n2",
        plugins=["xdist"],
        apart=True,
    )
    result.assert_outcomes(passed=4, failed=2, warnings=4)
    result.stdout.fnmatch_lines(
        [
            "1 event: 1 rejected, at http://127.0.0.1:*",
            "rejected after 200, not expected: A5 (2)",
            "findings: C1 (4)",
        ]
    )


IN_THREADS = """
    import threading
    import pytest
    from _pytest import runner

    both_set_up = threading.Barrier(2)


    class Local(threading.local):
        state = None


    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(session):
        local, main = Local(), session._setupstate

        class Session(type(session)):
            @property
            def _setupstate(self):
                if threading.current_thread() is threading.main_thread():
                    return main
                local.state = local.state or runner.SetupState()
                return local.state

        del session._setupstate
        session.__class__ = Session
        runner._update_current_test_var = lambda *_: None  # one variable of the whole process
        first, *others = session.items
        runner.runtestprotocol(first, nextitem=others[0])
        threads = [
            threading.Thread(target=runner.runtestprotocol, args=(item,), kwargs={"nextitem": None})
            for item in others
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return True


    @pytest.hookimpl(tryfirst=True)
    def pytest_fixture_setup(request):
        if threading.current_thread() is not threading.main_thread():
            both_set_up.wait(20)
"""


@pytest.mark.once
def test_a_loss_fails_its_own_test_when_tests_run_in_threads(downstream, pytester):
    pytester.syspathinsert()
    pytester.makepyfile(in_threads=IN_THREADS)
    result = downstream(
        """
        from sender import post

        def test_first(tdpostback):
            pass

        def test_lost(tdpostback):
            post(tdpostback.url, "1/unknown")

        def test_good(make_tdpostback):
            postback = make_tdpostback()
            post(postback.url, postback.write_key)
            postback.assert_ingested("shop", "orders")
        """,
        *("-v", "-s"),
        plugins=["in_threads", "no:logging", "no:warnings"],
        apart=True,
    )
    result.assert_outcomes(passed=2, failed=1)
    result.stdout.fnmatch_lines(["*_ test_lost _*", "Silent loss: 1 event got 200 *"])


def test_a_server_that_a_test_stopped_starts_again(downstream):
    result = downstream(
        """
        import pytest
        from sender import post

        urls = set()

        def test_stops(tdpostback_server):
            urls.add(tdpostback_server.url)
            tdpostback_server.stop()

        @pytest.mark.parametrize("number", range(3))
        def test_after(tdpostback, tdpostback_server, send, number):
            send()
            tdpostback.assert_ingested("shop", "orders")
            urls.add(tdpostback_server.url)
            assert len(urls) == 1
        """
    )
    result.assert_outcomes(passed=4)


def test_a_server_that_cannot_start_again_names_the_test_that_stopped_it(downstream):
    result = downstream(
        """
        import socket
        from contextlib import ExitStack
        import pytest

        @pytest.fixture(scope="module")
        def sockets():
            with ExitStack() as stack:
                yield stack

        def test_stops(tdpostback_server, sockets):
            tdpostback_server.stop()
            address = ("127.0.0.1", tdpostback_server.port)
            sockets.enter_context(socket.create_server(address))

        def test_after(tdpostback):
            pass

        def test_after_that(tdpostback_server):
            pass
        """
    )
    result.assert_outcomes(passed=1, errors=2)
    result.stdout.fnmatch_lines(
        [
            "test_it.py::test_stops stopped tdpostback_server, *: cannot listen *; free that *",
            "ERROR *test_after - ConfigurationError: test_it.py::test_stops stopped *",
        ]
    )


@pytest.mark.parametrize("fixture", ["tdpostback", "make_tdpostback"])
def test_a_test_of_a_plugin_makes_a_configuration_and_then_gets_its_own_fixtures(
    pytester, request, fixture
):
    pytester.parseconfigure("-p", "tdpostback")
    given = request.getfixturevalue(fixture)
    postback = given() if fixture == "make_tdpostback" else given
    assert postback.url
