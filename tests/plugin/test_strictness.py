"""The settings that make more than a silent loss a failure, and what they let pass."""

from __future__ import annotations

import pytest

REFUSED = """
    def test_refused(tdpostback):
        post(tdpostback.url, None)
"""
UNASSERTED = """
    def test_a_duplicate_after_the_assertion(tdpostback, send):
        send()
        tdpostback.assert_ingested("shop", "orders", id=7)
        send()
        tdpostback.settle()
"""
FINDING = """
    def test_a_finding(tdpostback, send):
        send({"Id": 7})
        tdpostback.assert_ingested("shop", "orders")
"""
CLAIMED = """
    def test_claimed(tdpostback, send):
        send({"by": "assert_ingested"})
        tdpostback.assert_ingested("shop", "orders", by="assert_ingested")
        send({"by": "claim"})
        tdpostback.settle()
        tdpostback.claim(tdpostback.events[-1])
        send({"by": "wait_for"})
        tdpostback.wait_for(lambda event: event.payload == {"by": "wait_for"})
        tdpostback.settle()
        tdpostback.clear()
        send({"by": "assert_valid"})
        tdpostback.assert_valid(True)
        post(tdpostback.url, None)
        tdpostback.assert_refused("shop", "orders", rule="A4", count=1)
        with tdpostback.expect_auth_failure():
            send(key="1/unknown")
"""
IMPORT = "from sender import post\n"


def source(*tests):
    return "\n".join(["    " + IMPORT, *tests])


@pytest.mark.parametrize(
    ("test", "setting", "line"),
    [
        (
            REFUSED,
            "on_refusal",
            '1 event refused (4xx), and no assertion claimed it (on_refusal="fail")',
        ),
        (
            UNASSERTED,
            "on_unasserted",
            '1 event ingested, and no assertion claimed it (on_unasserted="fail")',
        ),
        (FINDING, "on_finding", "1 finding: C1: column 'Id' gets an alias: *"),
    ],
)
def test_a_setting_makes_one_more_kind_of_event_a_failure(downstream, test, setting, line):
    option = f"--tdpostback-{setting.replace('_', '-')}=fail"
    result = downstream(source(test, CLAIMED), option)
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines([line, f"FAILED *{line[:36]}*"])
    result.stdout.no_fnmatch_line("*pytest_tdpostback/*.py*")


@pytest.mark.parametrize(
    ("given", "failed"),
    [
        ("", 0),
        ("strict = true", 3),
        ("strict = true\ntdpostback_on_refusal = ignore", 2),
        ("strict = true\ntdpostback_on_finding = fail:C2", 2),
        ("on_finding = fail:C1", 1),
        ("on_finding = fail:C2", 0),
    ],
)
def test_strict_sets_all_of_them_except_those_set_by_name(downstream, pytester, given, failed):
    pytester.makeini(f"[pytest]\ntdpostback_{given}" if given else "[pytest]")
    # A finding that fails no test is a warning; the run around this one makes errors of those.
    result = downstream(source(REFUSED, UNASSERTED, FINDING, CLAIMED), "-Walways")
    result.assert_outcomes(
        passed=4 - failed, failed=failed, warnings=result.parseoutcomes().get("warnings", 0)
    )


def test_a_finding_can_be_ignored(downstream):
    result = downstream(source(FINDING), "--tdpostback-on-finding=ignore")
    result.assert_outcomes(passed=1, warnings=0)
    result.stdout.no_fnmatch_line("findings: *")


def test_a_finding_that_fails_is_found_behind_many_that_warn(downstream):
    result = downstream(
        """
        def test_it(tdpostback, send):
            send({f"Column{number}": number for number in range(25)})
            send({"time": 1})
        """,
        *("--tdpostback-on-finding=fail:T6", "-W", "ignore"),
    )
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*T6: the column time is replaced *", "findings: T6 (1)"])


def test_the_marker_and_the_factory_are_strict_too(downstream):
    downstream(
        """
        import pytest
        from sender import post

        @pytest.mark.tdpostback(strict=True)
        def test_marked(tdpostback):
            post(tdpostback.url, None)

        def test_made(make_tdpostback):
            post(make_tdpostback(on_refusal="fail").url, None)

        def test_plain(tdpostback):
            post(tdpostback.url, None)
        """
    ).assert_outcomes(passed=1, failed=2)


LEFT_NO_EVENT = """
    from http.client import HTTPConnection
    from urllib.parse import urlsplit

    import pytest
    from sender import post

    def send_too_large_a_head(url, size=70_000):
        assert post(url, None, path="/" + size * "a") == 431

    def test_no_assertion_can_claim_it(tdpostback):
        send_too_large_a_head(tdpostback.url)

    def test_it_is_found_behind_an_event(make_tdpostback):
        other = make_tdpostback()
        post(other.url, other.write_key)
        other.assert_ingested("shop", "orders")
        other.check()
        send_too_large_a_head(other.url)

    def test_each_one_is_raised_once(tdpostback):
        for _ in range(2):
            send_too_large_a_head(tdpostback.url)
            with pytest.raises(AssertionError, match=r"1 connection refused \\(4xx\\) with 431"):
                tdpostback.clear()
            tdpostback.clear()

    def test_a_403_for_another_host_comes_from_the_proxy_not_the_service(tdpostback):
        proxy = urlsplit(tdpostback.proxy_environ()["HTTPS_PROXY"])
        connection = HTTPConnection(proxy.hostname, proxy.port)
        connection.set_tunnel("example.org", 443)
        with pytest.raises(OSError, match="403"):
            connection.connect()

    @pytest.mark.tdpostback(on_refusal="ignore")
    def test_it_is_allowed(tdpostback):
        send_too_large_a_head(tdpostback.url)
"""


@pytest.mark.parametrize(
    ("option", "workers"),
    [("on-refusal=fail", 0), ("strict", 0), pytest.param("strict", 1, marks=pytest.mark.once)],
)
def test_a_4xx_that_left_no_event_fails_too(downstream, option, workers):
    beside = {"plugins": ["xdist"], "apart": True} if workers else {}
    options = [f"-n{workers}"] if workers else []
    result = downstream(LEFT_NO_EVENT, f"--tdpostback-{option}", *options, **beside)
    result.assert_outcomes(passed=3, failed=2)
    line = '1 connection refused (4xx) with 431, which left no event (on_refusal="fail")'
    result.stdout.fnmatch_lines([line, "FAILED *1 connection refused (4xx) with 431*"])


def test_a_4xx_that_left_no_event_is_ignored_by_default(downstream):
    downstream(
        """
        from sender import post

        def test_it(tdpostback):
            assert post(tdpostback.url, None, path="/" + 70_000 * "a") == 431
        """
    ).assert_outcomes(passed=1)


LATE = """
    import threading
    from sender import post

    go, sent = threading.Event(), threading.Event()

    def test_starts_a_sender(tdpostback):
        url, key = tdpostback.url, tdpostback.write_key
        def work():
            go.wait(10)
            post(url, key)
            sent.set()
        threading.Thread(target=work).start()

    def test_runs_meanwhile(tdpostback):
        go.set()
        assert sent.wait(10)
"""


@pytest.mark.parametrize(
    ("option", "code", "workers"),
    [
        ("report", 0, 0),
        ("fail", 1, 0),
        pytest.param("fail", 1, 1, marks=pytest.mark.once),
    ],
)
def test_a_late_event_can_fail_the_run(downstream, option, code, workers):
    beside = {"plugins": ["xdist"], "apart": True} if workers else {}
    options = [f"-n{workers}"] if workers else []
    result = downstream(LATE, f"--tdpostback-on-late={option}", *options, **beside)
    result.assert_outcomes(passed=2)
    result.stdout.fnmatch_lines(
        [
            "arrived after the end of their test:",
            "  test_it.py::test_starts_a_sender: #1 POST shop.orders: 200, ingested",
        ]
    )
    assert result.ret == code


def test_an_event_after_the_last_test_is_late(downstream, pytester):
    pytester.makepyfile(
        sends_at_the_end="""
        from sender import post

        def pytest_sessionfinish(session):
            url, key, shared_url, shared_key = session.config.late
            post(url, key)
            post(shared_url, shared_key, {"shared": 1})
        """
    )
    pytester.syspathinsert()
    result = downstream(
        """
        def test_last(tdpostback, tdpostback_server, request):
            request.config.late = (
                tdpostback.url,
                tdpostback.write_key,
                tdpostback_server.url,
                tdpostback_server.write_key,
            )
        """,
        "-psends_at_the_end",
    )
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(
        [
            "arrived after the end of their test:",
            "  test_it.py::test_last: #1 POST shop.orders: 200, ingested",
            "  between tests: #1 POST shop.orders: 200, ingested",
        ]
    )
