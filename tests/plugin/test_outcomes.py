"""What a test's outcome is, and what is told beside it."""

from __future__ import annotations

import textwrap

import pytest

WRONG_KEY = """
    def test_wrong_key(send):
        assert send(key="12345/abcdef0123456789") == 200
"""

XFAIL_TB = ["--xfail-tb"] if pytest.version_tuple >= (8, 0) else []
"""Shows expected failures in full; the oldest pytest has no such option."""


def test_a_lost_event_fails_the_test_in_its_call_phase(downstream):
    result = downstream(WRONG_KEY)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            "*_ test_wrong_key _*",
            "Silent loss: 1 event got 200 but was never stored.",
            "  #1 POST shop.orders: write key 12345/abc… is unknown (A5)",
            'Fix: send tdpostback.write_key, or register yours: tdpostback.keys.add("12345/abc…")',
            'Expected? with tdpostback.expect_auth_failure("shop", "orders"): ...',
            'Expected every time? @pytest.mark.tdpostback(on_auth_failure="ignore")',
            "tdpostback rules A5",
            "*- tdpostback -*",
            "1 event: 1 rejected, at http://127.0.0.1:*",
            "#1 POST shop.orders: rejected after 200, A5: write key 12345/abc… is unknown",
            "    sent {'id': 7}",
            "*= tdpostback =*",
            "rejected after 200, not expected: A5 (1)",
            "FAILED *::test_wrong_key - UnexpectedAuthFailure: Silent loss: 1 event got 200*",
        ],
        consecutive=False,
    )
    result.stdout.no_fnmatch_line("*traceback entries are hidden*")
    result.stdout.no_fnmatch_line("*plugin.py*")


@pytest.mark.parametrize(
    ("test", "says"),
    [
        pytest.param(
            """
            def test_it(tdpostback, make_tdpostback):
                post(make_tdpostback().url, tdpostback.write_key)
            """,
            [
                "*/*… is the write key of another Postback of this test.",
                "Fix: send other.write_key",
                'Expected? with other.expect_auth_failure("shop", "orders"): ...',
            ],
            id="of a further fake server",
        ),
        pytest.param(
            """
            def test_it(tdpostback_server):
                post(tdpostback_server.url, "1/unknown")
            """,
            ['Expected? with tdpostback_server.postback.expect_auth_failure("shop", *): ...'],
            id="of the server",
        ),
        pytest.param(
            """
            def test_it(tdpostback):
                for table in ("orders", "clicks"):
                    post(tdpostback.url, "1/unknown", path=f"/postback/v3/event/shop/{table}")
            """,
            ['Expected? with tdpostback.expect_auth_failure("shop"): ...'],
            id="of two tables",
        ),
        pytest.param(
            """
            def test_it(tdpostback):
                for number in range(10):
                    post(tdpostback.url, "1/unknown", {"number": number})
            """,
            [
                "Silent loss: 10 events got 200 but were never stored.",
                "  #5 POST shop.orders: write key 1/unk… is unknown (A5)",
                "  … and 5 more",
            ],
            id="of many",
        ),
        pytest.param(
            """
            import pytest

            @pytest.mark.tdpostback(stale_time="drop")
            def test_it(tdpostback):
                post(tdpostback.url, tdpostback.write_key, {"td_record_time": 1})
            """,
            [
                "  #1 POST shop.orders: td_record_time 1 is older than 7 days (T3)",
                'The setting stale_time="drop" drops an event with such a time.',
                'Fix: send UNIX seconds, or set stale_time="receipt"',
                "tdpostback rules T3",
            ],
            id="for its time",
        ),
    ],
)
def test_the_failure_of_a_lost_event_says_what_it_needs(downstream, test, says):
    result = downstream("from sender import post\n\n" + textwrap.dedent(test))
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(says, consecutive=says[0].startswith("*/"))


@pytest.mark.parametrize("end", ["assert 1 == 2", "raise RuntimeError"])
def test_a_fixture_that_fails_after_a_loss_is_reported_as_one_error(downstream, end):
    result = downstream(
        f"""
        import pytest

        @pytest.fixture
        def application(send):
            send(key="1/unknown")
            {end}

        def test_it(application): pass
        """
    )
    result.assert_outcomes(errors=1)


def test_a_report_right_after_the_response_has_the_outcome(downstream):
    result = downstream(
        """
        def test_it(tdpostback, send):
            for _ in range(20):
                send(key="1/unknown")
                assert len(tdpostback.auth_failures) == 1
                tdpostback.assert_auth_failed(count=1)
                tdpostback.clear()
                send()
                assert len(tdpostback.records()) == 1
                tdpostback.clear()
            send(key="1/unknown")
            assert not tdpostback
        """
    )
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["E       assert not *", "1 event: 1 rejected, at *"])


def test_reading_events_does_not_decide_what_is_held_or_delayed(downstream):
    downstream(
        """
        def test_held(tdpostback, send):
            with tdpostback.hold_validation():
                send()
                assert not tdpostback.records()

        def test_due_later(make_tdpostback):
            import pytest
            from pytest_tdpostback import SettleTimeout
            from sender import post

            postback = make_tdpostback(validation_delay=3600)
            post(postback.url, postback.write_key)
            assert not postback.records()
            assert not postback.auth_failures
            with pytest.raises(SettleTimeout):
                postback.clear()
            postback.clear()
        """
    ).assert_outcomes(passed=2)


@pytest.mark.parametrize(
    ("call", "error"),
    [
        ('tdpostback.assert_ingested("shop", "orders", where=lambda r: r["b"] == 2)', "KeyError"),
        ("tdpostback.wait_for(lambda e: e.seq / 0)", "ZeroDivisionError"),
        ('tdpostback.assert_ingested("shop", "orders", timeout="1")', "*ConfigurationError"),
        ("tdpostback.records()[1]", "IndexError"),
        ("tdpostback.events[1]", "IndexError"),
        ('asyncio.run(tdpostback.aio.assert_ingested("a", "b", timeout=0))', "AssertionError"),
        ('tdpostback.assert_ingested("a", "b", timeout=0)', "AssertionError"),
        ("tdpostback.assert_refused(timeout=0)", "AssertionError"),
    ],
)
def test_a_failure_shows_no_line_of_the_package(downstream, call, error):
    result = downstream(f"import asyncio\ndef test_it(tdpostback, send):\n    send()\n    {call}")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines([f"*: {error}*"])
    result.stdout.no_fnmatch_line("*pytest_tdpostback/*.py:[0-9]*")


def test_the_section_of_a_failed_test_lists_findings(downstream):
    result = downstream(
        """
        def test_it(send):
            send({"Id": 7})
            assert 1 == 2
        """
    )
    result.stdout.fnmatch_lines(
        ["#1 POST shop.orders: 200, ingested", "    record *", "    finding C1: *"]
    )


@pytest.mark.parametrize(
    "body",
    [
        'with tdpostback.expect_auth_failure(): send(key="1/unknown")',
        'send(key="1/unknown"); tdpostback.assert_auth_failed()',
    ],
)
def test_an_expected_loss_passes(downstream, body):
    downstream(f"def test_it(tdpostback, send):\n    {body}").assert_outcomes(passed=1)


def test_a_loss_that_an_assertion_reported_is_not_reported_again(downstream):
    result = downstream(
        """
        def test_own_failure(send):
            send(key="1/unknown")
            assert 1 == 2
        """
    )
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["E       assert 1 == 2", "*1 rejected, at*"])


def test_a_loss_in_teardown_is_an_error_of_the_teardown(downstream):
    result = downstream(
        """
        import pytest

        @pytest.fixture
        def flushing(send):
            yield
            send(key="1/unknown")

        def test_it(flushing): pass
        def test_the_next_one(tdpostback): assert not tdpostback.events
        """
    )
    result.assert_outcomes(passed=2, errors=1)
    result.stdout.fnmatch_lines(["*ERROR at teardown of test_it*", "Silent loss: 1 event got 200*"])


def test_an_error_of_the_teardown_is_reported_though_nothing_arrived(downstream):
    result = downstream(
        """
        import pytest

        @pytest.fixture
        def flushing(tdpostback):
            yield
            raise ZeroDivisionError

        @pytest.fixture(scope="module")
        def redirected(tdpostback_server):
            yield
            tdpostback_server.postback.redirect()

        def test_it(flushing): pass
        def test_the_next_one(redirected): pass
        """
    )
    result.assert_outcomes(passed=2, errors=2)
    result.stdout.fnmatch_lines(["E   *ZeroDivisionError", "redirect() at *:11 was never entered*"])


def test_a_loss_in_a_session_fixture_is_reported(downstream):
    result = downstream(
        """
        import pytest
        from sender import post

        @pytest.fixture(scope="session")
        def application(tdpostback_server):
            yield
            post(tdpostback_server.url, "1/unknown")

        def test_it(application): pass
        """
    )
    result.assert_outcomes(passed=1, errors=1)


def test_the_first_test_owns_what_reaches_the_session_server(downstream):
    downstream(
        """
        from sender import post

        def test_it(tdpostback_server):
            post(tdpostback_server.url, "1/unknown")
        """
    ).assert_outcomes(failed=1)


def test_errors_in_all_servers_of_a_test_are_raised(downstream):
    result = downstream(
        """
        from sender import post

        def test_it(make_tdpostback):
            for made, error in ((make_tdpostback(), KeyError), (make_tdpostback(), OSError)):
                def broken(arrival, error=error): raise error("in a condition")
                made.faults.drop(where=broken)
                post(made.url, made.write_key)
        """
    )
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        ["*2 errors happened while serving*", "*KeyError: 'in a condition'", "*OSError: in a cond*"]
    )


def test_an_event_that_cannot_settle_fails_at_once(downstream):
    result = downstream(
        """
        import pytest

        @pytest.mark.tdpostback(validation_delay=3600)
        def test_due_much_later(send): send()

        @pytest.mark.tdpostback(validation_delay=6)
        def test_due_a_little_too_late(send): send()

        def test_held(tdpostback, send):
            tdpostback.hold_validation().__enter__()
            send()
        """
    )
    result.assert_outcomes(failed=3)
    result.stdout.fnmatch_lines(
        [
            "1 event still pending: the next one is due in 3.6e+03 s",
            "1 event still pending: the next one is due in [56]* s",
            "1 event still pending: validation is held",
        ]
    )


def test_events_that_a_fixture_holds_may_be_pending_until_it_ends(downstream):
    downstream(
        """
        import pytest

        @pytest.fixture
        def held(tdpostback):
            with tdpostback.hold_validation():
                yield

        def test_it(held, send): send()
        """
    ).assert_outcomes(passed=1)


def test_an_error_inside_the_server_reaches_the_test(downstream):
    result = downstream(
        """
        def test_it(tdpostback, send):
            def broken(*_, **__): raise ZeroDivisionError("in the server")
            tdpostback._collector.receive = broken
            send()
        """
    )
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*ZeroDivisionError: in the server*"])


def test_a_finding_is_a_warning_of_its_test(downstream):
    source = """
        def test_it(send):
            send({"Id": 7})
            send({"Id": 8})
    """
    # As outside this run, which makes errors of warnings.
    result = downstream(source, "-W", "default")
    result.assert_outcomes(passed=1, warnings=1)
    result.stdout.fnmatch_lines(
        [
            "test_*.py::test_it",
            "*.py:1: PostbackWarning: C1: column 'Id' *(event #1 shop.orders)",
            "findings: C1 (1)",
        ]
    )
    downstream(source, "-W", "ignore").assert_outcomes(passed=1, warnings=0)
    result = downstream(source, "-W", "error::pytest_tdpostback.PostbackWarning")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        ["C1: column 'Id' *(event #1 shop.orders)", "FAILED *PostbackWarning: C1*"]
    )


def test_findings_of_a_huge_capture_are_bounded(downstream):
    downstream(
        """
        def test_it(tdpostback, send):
            send({"a": 1})
            head = tdpostback.events[0].request.head
            for number in range(5_000):
                exchange = tdpostback._collector.receive(head, b'{"A%d": 1}' % number, "peer:1")
                tdpostback._collector.response_sent(exchange)
        """,
        *("-W", "default"),
    ).assert_outcomes(passed=1, warnings=20)


@pytest.mark.parametrize(
    "options", [["-p", "no:terminal"], ["--setup-show"], ["-x"], ["--tb=line"]]
)
def test_a_loss_fails_the_run_whatever_the_options_of_pytest(downstream, options):
    result = downstream(WRONG_KEY, *options)
    assert result.ret == pytest.ExitCode.TESTS_FAILED


def test_the_junit_report_has_the_section_of_a_failed_test(downstream, pytester):
    downstream(WRONG_KEY, "--junit-xml=out.xml")
    text = (pytester.path / "out.xml").read_text("utf-8")
    assert "#1 POST shop.orders: rejected after 200, A5: write key 12345/abc… is unknown" in text
    assert 'errors="0" failures="1"' in text


def test_a_loss_fails_a_test_of_unittest(downstream):
    result = downstream(
        """
        import unittest
        import pytest
        from sender import post

        class TestIt(unittest.TestCase):
            @pytest.fixture(autouse=True)
            def _keep_postback(self, tdpostback):
                self.postback = tdpostback

            def test_good(self):
                post(self.postback.url, self.postback.write_key)
                self.postback.assert_ingested("shop", "orders", id=7)

            def test_lost(self):
                post(self.postback.url, "1/unknown")

            def test_own_failure(self):
                post(self.postback.url, "1/unknown")
                self.assertEqual(1, 2)
        """
    )
    result.assert_outcomes(passed=1, failed=2)
    result.stdout.fnmatch_lines(["FAILED *test_own_failure - AssertionError: 1 != 2"])


def test_a_loss_fails_a_doctest(downstream):
    downstream(
        '''
        def documented():
            """
            >>> postback = getfixture("tdpostback")
            >>> import sender
            >>> sender.post(postback.url, postback.write_key)
            200
            >>> postback.assert_ingested("shop", "orders")["id"]
            7
            """
        ''',
        "--doctest-modules",
    ).assert_outcomes(passed=1)


def test_a_skip_and_an_expected_failure_stay_what_they_are(downstream):
    downstream(
        """
        import pytest

        def test_skipped(send):
            send(key="1/unknown")
            pytest.skip("for a reason")

        @pytest.mark.xfail(strict=True)
        def test_expected(send): send(key="1/unknown")
        """
    ).assert_outcomes(skipped=1, xfailed=1)


def test_expected_losses_are_not_in_the_summary(downstream):
    result = downstream(
        """
        import pytest

        def test_it(tdpostback, send):
            with tdpostback.expect_auth_failure():
                send(key="1/unknown")
            with tdpostback.faults.drop():
                send()

        @pytest.mark.tdpostback(on_auth_failure="ignore")
        def test_ignored(send):
            send(key="1/unknown")
        """
    )
    result.assert_outcomes(passed=2)
    result.stdout.no_fnmatch_line("*= tdpostback =*")


def test_every_finding_is_counted_though_the_first_one_is_an_error(downstream):
    result = downstream(
        """
        def test_it(send):
            send({"Id": 7, "Total": 8})
        """,
        "-W",
        "error::pytest_tdpostback.PostbackWarning",
    )
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["findings: C1 (2)"])


def test_every_error_inside_the_server_reaches_the_test(downstream):
    result = downstream(
        """
        def test_it(tdpostback):
            tdpostback._collector.report_error(ZeroDivisionError("the first"))
            tdpostback._collector.report_error(KeyError("the second"))
        """
    )
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*ZeroDivisionError: the first*", "*KeyError: 'the second'*"])


@pytest.mark.parametrize("name", ["redirect", "hold_validation", "expect_auth_failure"])
def test_a_context_manager_that_is_never_entered_fails_its_test(downstream, name):
    result = downstream(
        f"""
        def test_forgot_with(tdpostback):
            tdpostback.{name}()

        def test_entered(tdpostback, send):
            with tdpostback.{name}({"timeout=0" if name == "expect_auth_failure" else ""}):
                send(key={"'1/unknown'" if name == "expect_auth_failure" else "None"})
        """
    )
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(
        [
            f"{name}() at *test_it.py:2 was never entered, so it did nothing",
            f"Fix: with tdpostback.{name}(...): ...",
            f"FAILED *test_forgot_with - ConfigurationError: {name}() at *",
        ]
    )


def test_clear_raises_an_unexpected_loss_first(downstream):
    result = downstream(
        """
        def test_it(tdpostback, send):
            send(key="1/unknown")
            tdpostback.clear()
        """
    )
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [">       tdpostback.clear()", "E   *Silent loss: 1 event got 200 *"]
    )


@pytest.mark.parametrize("setting", ["on_refusal", "on_unasserted"])
def test_clear_raises_first_what_a_setting_makes_a_failure(downstream, setting):
    result = downstream(
        f"""
        import pytest
        from sender import post

        @pytest.mark.tdpostback({setting}="fail")
        def test_it(tdpostback):
            post(tdpostback.url, {"None" if setting == "on_refusal" else "tdpostback.write_key"})
            tdpostback.clear()
        """
    )
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines([">       tdpostback.clear()", f'E   *({setting}="fail")'])


def test_a_coroutine_that_is_never_awaited_fails_its_test(downstream):
    result = downstream(
        """
        import asyncio

        async def forgets(tdpostback):
            tdpostback.aio.assert_ingested("shop", "orders")

        def test_forgot_await(tdpostback):
            asyncio.run(forgets(tdpostback))
        """
    )
    result.assert_outcomes(failed=1, warnings=0)
    result.stdout.fnmatch_lines(
        [
            "aio.assert_ingested() at *test_it.py:4 was never awaited, so it did nothing",
            "Fix: await tdpostback.aio.assert_ingested(...)",
        ]
    )


def test_a_failure_shows_whole_values_and_headers_with_vv(downstream):
    test = """
        def test_it(tdpostback, send):
            send({"note": 60 * "long" + "x", "items": [{"n": 1}]})
            note = 60 * "long" + "y"
            tdpostback.assert_ingested("shop", "orders", note=note, items=[{"n": 2}], timeout=0)
        """
    lines = ["E*; the first difference is at ?0??'n'?"]
    in_full = [
        "E*header X-TD-Write-Key: *…",
        "E*Full diff:*",
    ]
    differences = [  # in the order and the form of the version of pytest
        f"E*- *'note': '{60 * 'long'}x',",
        f"E*+ *'note': '{60 * 'long'}y',",
        "E*- *'n': 1*,",
        "E*+ *'n': 2*,",
    ]
    result = downstream(test, "-vv")
    result.stdout.fnmatch_lines(lines + in_full)
    result.stdout.fnmatch_lines_random(differences)
    result = downstream(test, "-v")
    result.stdout.fnmatch_lines(lines)
    result.stdout.no_fnmatch_line("E*header*")
    result.stdout.no_fnmatch_line("E*Full diff:*")


def test_a_restart_of_the_server_does_not_affect_the_next_tests(downstream):
    downstream(
        """
        import pytest
        from sender import post

        def test_before(tdpostback, send):
            send()
            tdpostback.assert_ingested("shop", "orders")

        def test_restarts(tdpostback_server):
            tdpostback_server.stop()
            tdpostback_server.start()
            assert post(tdpostback_server.url, tdpostback_server.write_key) == 200

        @pytest.mark.parametrize("number", range(20))
        def test_after(tdpostback, send, number):
            send()
            tdpostback.assert_ingested("shop", "orders")
        """
    ).assert_outcomes(passed=22)


def test_an_expected_failure_shows_the_text_alone(downstream):
    result = downstream(
        """
        import pytest

        @pytest.mark.xfail(strict=True)
        def test_expected(send): send(key="1/unknown")
        """,
        *XFAIL_TB,
    )
    result.assert_outcomes(xfailed=1)
    if XFAIL_TB:
        result.stdout.fnmatch_lines(["Silent loss: 1 event got 200 but was never stored."])
    result.stdout.no_fnmatch_line("*pytest_tdpostback/*.py*")


@pytest.mark.parametrize("fixture", ["tdpostback", "make_tdpostback"])
def test_a_fixture_in_a_wider_scope_gets_a_hint(downstream, fixture):
    result = downstream(
        f"""
        import pytest

        @pytest.fixture(scope="module")
        def wide({fixture}): ...

        def test_it(wide): ...
        """
    )
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(
        ["ScopeMismatch: *", f"{fixture} belongs to one test. * use tdpostback_server, *"]
    )


def test_the_rest_interface_shows_the_test_that_runs(downstream):
    downstream(
        """
        import json
        from urllib.request import urlopen

        def test_it(tdpostback, tdpostback_server, send):
            send()
            with urlopen(tdpostback_server.url + "/.tdpostback/events") as response:
                assert [event["seq"] for event in json.load(response)] == [1]
        """,
        "--tdpostback-inspection",
    ).assert_outcomes(passed=1)


def test_the_rest_interface_belongs_to_the_url_that_is_asked(downstream):
    downstream(
        """
        import json
        from urllib.error import HTTPError
        from urllib.request import urlopen
        import pytest
        from sender import post

        def events(postback):
            with urlopen(postback.url + "/.tdpostback/events") as response:
                return [event["seq"] for event in json.load(response)]

        @pytest.mark.tdpostback(inspection=True)
        def test_marked(tdpostback, make_tdpostback, send):
            send()
            assert events(tdpostback) == [1]
            assert events(make_tdpostback()) == []

        def test_made(make_tdpostback, tdpostback):
            made = make_tdpostback(inspection=True)
            post(made.url, made.write_key)
            assert events(made) == [1]
            with pytest.raises(HTTPError, match="404") as caught:
                events(tdpostback)
            caught.value.close()
        """
    ).assert_outcomes(passed=2)


def test_a_library_that_is_missing_is_named_at_the_line_of_the_test(downstream):
    result = downstream(
        """
        import sys

        def test_it(tdpostback, monkeypatch):
            monkeypatch.setitem(sys.modules, "httpx", None)
            tdpostback.httpx_transport()
        """
    )
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*ConfigurationError: httpx_transport() needs httpx: *"])
    result.stdout.no_fnmatch_line("*pytest_tdpostback/*.py*")
