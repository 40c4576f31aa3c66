"""The fake server passes the contract check: over its wire, and as WSGI behind other servers."""

from __future__ import annotations

import http.server
import os
import socket
import threading
import wsgiref.simple_server
import xml.etree.ElementTree as ET
from contextlib import contextmanager

import pytest
import werkzeug.serving

from pytest_tdpostback import PostbackServer
from pytest_tdpostback.conformance.catalogue import INSPECTED, status_of
from pytest_tdpostback.conformance.target import WRONG_KEY
from pytest_tdpostback.inspector.rest import inspected
from pytest_tdpostback.protocol import judge
from pytest_tdpostback.protocol.profiles import profiles
from pytest_tdpostback.protocol.rules import rules
from tests.checkout import INSIDE
from tests.conformance.mutants import function
from tests.conformance.running import KEY, run_checks

PACKAGE = ("--pyargs", "pytest_tdpostback.conformance")
OF_THE_CONNECTION = {"A4", "B6", "B11", "W3"}
"""Rules with checks that another server in front of the fake server hides."""

each_profile = pytest.mark.parametrize("profile", [profile.name for profile in profiles])
DEFAULT = "openapi-1.0.0"
OTHERS = [profile.name for profile in profiles if profile.name != DEFAULT]


class Quiet(wsgiref.simple_server.WSGIRequestHandler):
    def log_message(self, *_) -> None:
        """Say nothing."""


class QuietWerkzeug(werkzeug.serving.WSGIRequestHandler):
    def log(self, *_) -> None:
        """Say nothing."""


def by_wsgiref(app):
    return wsgiref.simple_server.make_server("127.0.0.1", 0, app, handler_class=Quiet)


def by_werkzeug(app):
    handler = QuietWerkzeug
    return werkzeug.serving.make_server("127.0.0.1", 0, app, threaded=True, request_handler=handler)


@contextmanager
def behind(make, app):
    """The URL at which another server serves a WSGI application."""
    server = make(app)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextmanager
def serving(profile, *, inspection):
    words = {"inspection": inspection, "on_auth_failure": "ignore"}
    with PostbackServer(profile=profiles[profile], write_keys=[KEY], **words) as server:
        yield server


def rules_in(profile):
    spoken = {profile, (profiles[profile].postback or profiles[profile]).name}
    return {rule.id for rule in rules if not spoken.isdisjoint(rule.profiles)}


@pytest.mark.parametrize(
    "profile", [DEFAULT, *(pytest.param(name, marks=pytest.mark.once) for name in OTHERS)]
)
def test_the_fake_server_passes_every_check_of_its_profile(profile: str) -> None:
    with serving(profile, inspection=True) as server:
        outcome = run_checks(server.url, profile)
    assert outcome.code == pytest.ExitCode.OK, outcome.text()
    assert outcome.rules("passed") == rules_in(profile)
    assert set(outcome.counts) == {"passed"}


@pytest.mark.once
@each_profile
def test_without_inspection_what_cannot_be_seen_is_not_passed(profile: str) -> None:
    """Nor does the run send more than small marked events to its one table."""
    with serving(profile, inspection=False) as server:
        outcome = run_checks(server.url, profile)
        events = server.postback.events
        rows = server.postback.records()
        assert 0 < len({(event.received_at, event.request.body) for event in events}) < 250
        assert {(row.database, row.table) for row in rows} == {("tdpostback_conformance", "checks")}
        assert len({row["td_conformance"] for row in rows}) == 1
        assert max(len(event.request.body) for event in events) < 6_000
    assert outcome.code == pytest.ExitCode.OK, outcome.text()
    hidden = {name for name in rules_in(profile) if status_of(name) == INSPECTED}
    assert hidden <= outcome.rules("skipped") - outcome.rules("passed")


@pytest.mark.once
@pytest.mark.parametrize(
    ("make", "profile"), [(by_werkzeug, DEFAULT), (by_wsgiref, "ingestion-v1")]
)
def test_the_wsgi_application_passes_behind_another_server(profile: str, make) -> None:
    server = PostbackServer(profile=profiles[profile], write_keys=[KEY])
    with behind(make, inspected(server.collector, server.postback.wsgi_app)) as url:
        outcome = run_checks(url, profile)
    assert outcome.code == pytest.ExitCode.OK, outcome.text()
    assert outcome.rules("skipped") == OF_THE_CONNECTION
    assert outcome.rules("passed") >= rules_in(profile) - OF_THE_CONNECTION


@pytest.mark.once
def test_the_checks_write_to_one_table_even_if_the_service_takes_any_route(monkeypatch) -> None:
    def any_route(route, head):
        database, table, refusal = route(head)
        return ("any", "route", None) if refusal else (database, table, None)

    function(judge._route, any_route)(monkeypatch)
    with serving(DEFAULT, inspection=False) as server:
        outcome = run_checks(server.url, DEFAULT)
        rows = server.postback.records()
    assert outcome.rules("failed") == {"R2", "R3"}
    assert {(row.database, row.table) for row in rows} == {("tdpostback_conformance", "checks")}


def run_package(pytester, *options):
    return pytester.runpytest_inprocess(
        *PACKAGE,
        *options,
        *INSIDE,
        "-pno:cacheprovider",
        "-Wignore::pytest.PytestAssertRewriteWarning",
    )


@pytest.mark.parametrize(
    ("chosen", "passed", "counted"),
    [
        ("A5 or V2 or A6", 3, "3 checks of 2 rules"),
        ("test_unknown_key_gets_200", 1, "1 check of 1 rule"),
    ],
)
def test_without_a_target_a_fake_server_is_checked(pytester, chosen, passed, counted) -> None:
    result = run_package(pytester, "-v", f"-k{chosen}")
    result.assert_outcomes(passed=passed, deselected=result.parseoutcomes()["deselected"])
    result.stdout.fnmatch_lines(
        [
            "contract check: a fake server as openapi-1.0.0",
            f"{counted}, with at most 500 requests to tdpostback_conformance.checks",
            "not in openapi-1.0.0: A6 A9 A10 I1 I2 *",
            "*::test_unknown_key_gets_200[[]A5[]] PASSED*",
        ]
    )


def test_what_is_not_observable_is_shown_as_that(pytester) -> None:
    with serving("openapi-1.0.0", inspection=False) as server:
        result = run_package(
            pytester,
            "-v",
            "-kA5 or V2",
            f"--tdpostback-target={server.url}/",
            f"--tdpostback-key={KEY}",
        )
    result.assert_outcomes(passed=1, deselected=result.parseoutcomes()["deselected"])
    result.stdout.fnmatch_lines(
        [
            "*::test_event_with_an_unknown_key_fails_afterwards[[]A5[]] NOT OBSERVABLE*",
            "*::test_values_keep_their_types[[]V2[]] NOT OBSERVABLE*",
            "not observable: V2",
            "observable in part: A5",
            "*1 passed*2 not observable*",
        ]
    )


def test_junit_report_names_the_rules(pytester) -> None:
    with serving("article-2015", inspection=False) as server:
        where = (f"--tdpostback-target={server.url}", f"--tdpostback-key={KEY}")
        named = "--tdpostback-profile=article-2015"
        result = run_package(pytester, *where, named, "-kA6 or T1", "--junitxml=report.xml")
    assert result.ret == pytest.ExitCode.OK
    cases = ET.parse(pytester.path / "report.xml").iter("testcase")
    seen = {}
    for case in cases:
        (rule,) = case.iterfind("properties/property[@name='rule']")
        skipped = case.find("skipped")
        message = "" if skipped is None else skipped.get("message", "")
        seen[rule.get("value"), message.partition(":")[0]] = case.get("name")
    assert seen.keys() == {("A6", ""), ("A6", "not observable"), ("T1", "not observable")}


@pytest.mark.parametrize("fault", ["garbage", "reset", "status"])
def test_no_output_holds_the_key_or_a_control_character_of_the_target(pytester, fault) -> None:
    secret = "my-own-words-that-nobody-should-see"
    with serving("openapi-1.0.0", inspection=False) as server:
        getattr(server.postback.faults, fault)(*[503] * (fault == "status"))
        result = run_package(
            pytester,
            *("-vv", "--showlocals", "--full-trace", "-kR1 or A5", "--junit-xml=report.xml"),
            *(f"--tdpostback-target={server.url}", f"--tdpostback-key=77/{secret}"),
        )
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    output = result.stdout.str() + (pytester.path / "report.xml").read_text("utf-8")
    shown = {secret[start : start + 12] for start in range(len(secret) - 11)}
    assert [line for line in output.splitlines() if any(piece in line for piece in shown)] == []
    assert "".join(output.split("\n")).isprintable()


NAMED = ["--tdpostback-target=http://localhost", "--tdpostback-key=1/a"]


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (["--tdpostback-target=http://localhost"], "give --tdpostback-target and --tdpostback-key"),
        (["--tdpostback-key=1/a"], "give --tdpostback-target and --tdpostback-key"),
        (["--tdpostback-key=1/a", "--tdpostback-target=here"], "'here': give http://host"),
        (
            ["--tdpostback-target=http://192.0.2.1:8080", "--tdpostback-key=1/a"],
            "the write key would travel without encryption; give an https:// URL, or add --tdpost",
        ),
        *(
            ([f"--tdpostback-target={url}", "--tdpostback-key=1/a"], "give a URL without a user")
            for url in ("http://user:hidden@localhost", "http://localhost/?td_write_key=1/hidden")
        ),
        (["--tdpostback-database=a-b"], "--tdpostback-database 'a-b': give ASCII letters, digits"),
        (["--tdpostback-table="], "--tdpostback-table '': give ASCII letters, digits and _"),
        ([*NAMED, "-n2"], "the checks of one target cannot run side by side; leave -n out"),
    ],
)
def test_options_that_do_not_fit_are_usage_errors(pytester, options, text) -> None:
    result = run_package(pytester, *options)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"ERROR: *{text}*"])
    assert "hidden" not in result.stdout.str() + result.stderr.str()


@pytest.mark.once
@pytest.mark.parametrize("setting", ["redirect", "block_network"])
def test_the_target_is_checked_although_a_setting_asks_for_a_redirect(
    pytester, monkeypatch, setting
) -> None:
    """A host of the service is named: without its real address, no check may pass."""
    pytester.makeini(f"[pytest]\ntdpostback_{setting} = true\n")
    pytester.makepyfile(
        sitecustomize="""
        import socket

        original = socket.getaddrinfo

        def getaddrinfo(host, *arguments, **named):
            if "treasuredata" in str(host):
                raise OSError("no network in this test")
            return original(host, *arguments, **named)

        socket.getaddrinfo = getaddrinfo
        """
    )
    monkeypatch.setenv("PYTHONPATH", str(pytester.path), prepend=os.pathsep)
    result = pytester.runpytest_subprocess(
        *PACKAGE,
        "--tdpostback-target=https://in.treasuredata.com",
        "--tdpostback-key=1/a",
        "-kA5",
        "-pno:cacheprovider",
    )
    result.stdout.fnmatch_lines(["*cannot reach https://in.treasuredata.com: no network*"])


class RespondsWithText(http.server.BaseHTTPRequestHandler):
    """Every response is 200 without JSON, as a proxy of a company or a parked domain sends it."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.send_response(200)
        self.send_header("Content-Length", "5")
        self.end_headers()
        self.wfile.write(b"Hello")

    do_POST = do_OPTIONS = do_GET  # noqa: N815 - the names that the class looks for

    def log_message(self, *_) -> None:
        """Say nothing."""


@pytest.mark.once
def test_a_target_that_responds_without_json_is_not_observable() -> None:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), RespondsWithText) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            url = f"http://127.0.0.1:{server.server_port}"
            outcome = run_checks(url, "openapi-1.0.0")
        finally:
            server.shutdown()
            thread.join()
    hidden = {name for name in rules_in("openapi-1.0.0") if status_of(name) == INSPECTED}
    assert hidden <= outcome.rules("skipped") - outcome.rules("failed")
    assert "Error:" not in outcome.text().replace("AssertionError:", "")


def test_checks_of_methods_send_a_key_that_no_account_has() -> None:
    """[R4] a service that took the method would not store the event."""
    with serving("v2-2.0.0", inspection=False) as server:
        run_checks(
            server.url,
            "v2-2.0.0",
            "test_route.py::test_other_method_is_refused",
            "test_route.py::test_get_is_refused",
        )
        keys = {event.request.headers["X-TD-Write-Key"] for event in server.postback.events}
    assert keys == {WRONG_KEY}


def test_target_that_cannot_be_reached_ends_the_run_at_once(pytester) -> None:
    with socket.create_server(("127.0.0.1", 0)) as nobody:
        url = f"http://127.0.0.1:{nobody.getsockname()[1]}"
    result = run_package(pytester, f"--tdpostback-target={url}", "--tdpostback-key=1/a")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stdout.fnmatch_lines([f"*cannot reach {url}: *"])
    assert "ConnectionRefusedError" not in result.stdout.str()


def test_findings_that_checks_provoke_are_no_warnings(pytester) -> None:
    pytester.makeini("[pytest]\nfilterwarnings =\n    error::pytest_tdpostback.PostbackWarning\n")
    result = run_package(pytester, "-kR3 or B10")
    assert result.ret == pytest.ExitCode.OK
    assert "warnings" not in result.parseoutcomes()


def test_known_host_speaks_its_profile(pytester) -> None:
    where = "--tdpostback-target=https://us01.records.in.treasuredata.com"
    result = run_package(pytester, where, "--tdpostback-key=1/a", "--collect-only", "-q", "-kA9")
    assert result.ret == pytest.ExitCode.OK
    result.stdout.fnmatch_lines(["contract check: * as ingestion-v1"])
