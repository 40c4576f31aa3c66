"""pytest's hooks and fixtures: wiring only, every heavy import inside a function."""

from __future__ import annotations

import re
import sys
import threading
import warnings
from typing import TYPE_CHECKING, Any

import pytest

# Bound now, before a test can freeze the clock: what is real time is found out on import.
from .collector import waiting as _real_time  # noqa: F401
from .errors import ConfigurationError, PostbackError, PostbackWarning, StrictnessFailure

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator
    from typing import Unpack

    from .protocol.settings import Settings, SettingValues
    from .testing.postback import Postback, PostbackFactory
    from .testing.report import Summary
    from .testing.server import PostbackServer
    from .testing.session import RunServer, TestContext

__tracebackhide__ = True  # a failure shows the lines of the test, not ours

MARKER = "tdpostback"
_runs: list[Run] = []
"""The runs of pytest in this process: a test of a plugin may run pytest within pytest."""
_CONTROLS = re.compile(
    r"\x1b(?!\[[\d;]*m)|[\x00-\x08\x0b-\x1a\x1c-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]"
)
"""Control characters, but no line breaks, and no colours, which pytest and its plugins print."""
_WRONG_SCOPE = re.compile(r"ScopeMismatch: .*? fixture (tdpostback|make_tdpostback) with ")
_HINT_OF_SCOPE = (
    "{fixture} belongs to one test. In a fixture of a wider scope, use tdpostback_server, or make "
    "a PostbackServer there."
)


def pytest_addoption(parser: pytest.Parser) -> None:
    """An option and an ini key for each setting, and the options of the contract check."""
    from .conformance.options import add_options
    from .protocol.settings import SETTINGS

    group = parser.getgroup("tdpostback", "fake server of Treasure Data's Postback API")
    for name, row in SETTINGS.items():
        note = row.help + (f" (rule {row.rule})" if row.rule else "")
        names = dict.fromkeys([_option(name), f"--tdpostback-{name}"])
        bare = {"nargs": "?", "const": "true"} if isinstance(row.default, bool) else {}
        group.addoption(*names, default=None, metavar="VALUE", help=note, **bare)
        parser.addini(f"tdpostback_{name}", note, default=None)
    add_options(group)


def _option(name: str) -> str:
    return f"--tdpostback-{name.replace('_', '-')}"


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker and the other hooks; a wrong option or ini value is a usage error."""
    from .conformance.options import check_target
    from .protocol.settings import Settings

    settings = Settings()
    names = ", ".join(f"{name}=..." for name in vars(settings))
    config.addinivalue_line("markers", f"{MARKER}({names}): settings of this test's fake server")
    try:
        check_target(config)
        for name in vars(settings):
            ini, option = f"tdpostback_{name}", _option(name)
            for where, value in (
                (f"ini {ini}", config.getini(ini)),
                (option, config.getoption(option)),
            ):
                if value is not None and value != "":
                    settings = settings.changed({name: value}, where)
    except ConfigurationError as error:
        raise pytest.UsageError(str(error)) from None
    _runs.append(Run(config, settings))
    config.pluginmanager.register(_runs[-1])


# The fixtures find their test without `request` or `pytestconfig`: either takes each test 0.05 ms,
# which is as much as the rest of the fixture.


@pytest.fixture(scope="session")
def tdpostback_server() -> Iterator[PostbackServer]:
    """The running `PostbackServer` of this process; its `url` and `write_key` never change."""
    run = _run()
    server = run.started_server()
    if run.item is not None:
        run.context_of(run.item)
    yield server
    server.check()


@pytest.fixture
def tdpostback() -> Postback:
    """This test's fake server of the Postback API, with a URL and a write key of its own."""
    run = _run()
    return run.context_of(run.item).open()


@pytest.fixture
def make_tdpostback() -> PostbackFactory:
    """Makes more: `make_tdpostback(profile=..., write_keys=[...], **settings) -> Postback`."""
    run = _run()
    context = run.context_of(run.item)

    def make(*, write_keys: Iterable[str] = (), **settings: Unpack[SettingValues]) -> Postback:
        chosen = context.settings.changed(settings, "make_tdpostback(...)")
        return context.make(chosen, write_keys)

    return make


def _run() -> Run:
    """The innermost run that runs a test; pytester also makes configurations that run none."""
    return next((run for run in reversed(_runs) if run.item is not None), _runs[-1])


class Run:
    """The hooks of one run of tests in this process. At rest there is no server."""

    def __init__(self, config: pytest.Config, settings: Settings) -> None:
        self.config = config
        self.settings = settings
        self.server: RunServer | None = None
        self.summary: Summary | None = None
        self._last_item: pytest.Item | None = None
        self._local = threading.local()
        self.contexts: dict[pytest.Item, TestContext] = {}
        """Those of the tests that did not end, if there is a server."""
        self.to_redirect: pytest.Item | None = None
        """A test whose redirect begins before its first fixture."""
        self.failure: BaseException | None = None
        """What the plugin raised last, and no line of a test."""

    def started_server(self) -> RunServer:
        """The server, which starts when it is first needed."""
        if self.server is None:
            from .inspector.rest import respond
            from .testing.session import RunServer

            RunServer.inspection = respond
            server = RunServer(self.settings, self.made_summary(), self.compare)
            server.start()
            self.server = server
        return self.server

    def compare(self, wanted: object, got: object) -> list[str] | None:
        """How pytest shows that two values differ, in its lines; `None` without `-vv`."""
        if self.config.getoption("verbose") < 2:
            return None
        compare = self.config.hook.pytest_assertrepr_compare
        explained = compare(config=self.config, op="==", left=wanted, right=got)
        return next((lines for lines in explained if lines), [])

    def made_summary(self) -> Summary:
        """What the summary of the run is made of."""
        if self.summary is None:
            from .testing.report import Summary

            self.summary = Summary()
        return self.summary

    @property
    def item(self) -> pytest.Item | None:
        """The test that this thread set up, else the one that was set up last."""
        return getattr(self._local, "item", self._last_item)

    def context_of(self, item: pytest.Item | None) -> TestContext:
        """The context of a test, which begins with its setup or when it first needs the server."""
        assert item is not None
        context = self.contexts.get(item)
        if context is None:
            server = self.started_server()
            context = self.contexts[item] = server.begin(item.nodeid, self.settings_of(item))
        return context

    def settings_of(self, item: pytest.Item) -> Settings:
        """The settings of a test: those of the run, changed by its markers."""
        settings = self.settings
        for marker in reversed(list(item.iter_markers(MARKER))):
            where = f"{item.nodeid}: @pytest.mark.{MARKER}"
            if marker.args:
                message = f"{where} takes keyword arguments only, not {marker.args!r}"
                raise ConfigurationError(message)
            settings = settings.changed(marker.kwargs, where)
        return settings

    # the life of a test

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        """From its setup on, a test owns what arrives at the URL of the server."""
        self._last_item = self._local.item = item
        try:
            settings = self.settings_of(item)
            if self.server is not None:
                self.contexts[item] = self.server.begin(item.nodeid, settings)
        except Exception as error:
            self.failure = error
            raise
        self.to_redirect = item if settings.redirect or settings.block_network else None

    @pytest.hookimpl(tryfirst=True)
    def pytest_fixture_setup(
        self, fixturedef: pytest.FixtureDef[object], request: pytest.FixtureRequest
    ) -> None:
        """A redirect begins before the first fixture, after the setup hooks of other plugins."""
        try:
            self._begin_redirect()
        except BaseException as error:
            # Other tests set the fixture up anew: pytest forgets only a fixture that has a result.
            fixturedef.cached_result = None, None, (error, error.__traceback__)
            fixturedef.finish(request)  # type: ignore[arg-type]
            raise

    @pytest.hookimpl(wrapper=True, trylast=True)
    def pytest_runtest_call(self, item: pytest.Item) -> Generator[None, object, object]:
        """An unexpected loss fails the test, as a failure of the test itself."""
        self._begin_redirect()
        if item in self.contexts:
            self.contexts[item].begin_call()
        result = yield
        self._conclude(item)
        return result

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_teardown(self, item: pytest.Item) -> Generator[None, object, object]:
        """What is sent while fixtures are torn down counts, too."""
        result = yield
        self._conclude(item, last=True)
        return result

    def _begin_redirect(self) -> None:
        item, self.to_redirect = self.to_redirect, None
        if item is not None:
            try:
                context = self.context_of(item)
                context.redirect(context.own)
            except Exception as error:
                self.failure = error
                raise

    def _conclude(self, item: pytest.Item, *, last: bool = False) -> None:
        """Raise what the test fails with, and warn of its findings at the line where it begins."""
        context = self.contexts.get(item)
        if context is None:
            return
        try:
            for text in context.check(last=last):
                warnings.warn_explicit(text, PostbackWarning, str(item.path), _first_line(item))
        except (PostbackError, StrictnessFailure, Warning) as error:
            context.failed = True
            self.failure = error
            if self.config.getoption("usepdb", default=False):
                _raise_in_test(item, error)
            raise

    # reports

    @pytest.hookimpl(tryfirst=True)
    def pytest_exception_interact(
        self, node: pytest.Item | pytest.Collector, call: pytest.CallInfo[Any]
    ) -> None:
        """A debugger stops outside of our files; it names a test that no line of its own failed."""
        if call.excinfo is None or not self.config.getoption("usepdb", default=False):
            return
        end = part = call.excinfo.tb
        while part.tb_next is not None:
            part = part.tb_next
            if "__tracebackhide__" not in part.tb_frame.f_globals:
                end = part
        end.tb_next = None
        reporter = self.config.pluginmanager.get_plugin("terminalreporter")
        failed_after_its_end = call.excinfo.value is self.failure
        if isinstance(node, pytest.Item) and failed_after_its_end and reporter is not None:
            reporter.ensure_newline()
            reporter.write_line(
                f"{node.nodeid} begins at line {_first_line(node)}, and has failed after its end:"
            )

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[None]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """The report of a failed test shows what arrived, and no whole write key."""
        report = yield
        context = self.contexts.get(item)
        if call.excinfo is not None:
            if context is not None and (report.failed or call.when == "call"):
                context.failed = True  # a skip in the test itself counts, too
            if report.failed or hasattr(report, "wasxfail"):
                self._complete(report, item, call.excinfo)
        # The test ends here, not earlier: its report shows what arrived.
        if call.when == "teardown" and context is not None and self.server is not None:
            del self.contexts[item]
            self.server.end(context)
        return report

    def _complete(
        self,
        report: pytest.TestReport,
        item: pytest.Item,
        failure: pytest.ExceptionInfo[BaseException],
    ) -> None:
        from .protocol.secrets import KeyRedactor

        if failure.value is self.failure:
            report.longrepr = text = failure.getrepr(style="value")
            if text.reprcrash is not None:
                text.reprcrash.path, text.reprcrash.lineno = str(item.path), _first_line(item)
                text.reprcrash.message = f"{failure.typename}: {failure.value}"
        known = [self.config.getoption("--tdpostback-key") or ""]
        servers = sys.modules.get("pytest_tdpostback.testing.server")
        if servers is not None:  # else there is no server, and a failing test does not pay for it
            known += servers.known_keys()
        if item in self.contexts:
            known += [key for each in self.contexts[item].collectors for key in each.keys.known()]
        uses_server, redact = self._uses_server(item), KeyRedactor(known)

        def safe(text: str) -> str:
            text = redact(text)
            return _CONTROLS.sub(lambda it: ascii(it[0])[1:-1], text) if uses_server else text

        shown: Any = _shown_by(safe, report.longrepr)
        report.longrepr = shown
        if report.failed and hasattr(shown, "addsection"):
            if uses_server:
                from .testing.report import section

                arrived = section(member.receiver for member in self.contexts[item].members)
                if arrived:
                    shown.addsection("tdpostback", redact(arrived))
            wrong_scope = _WRONG_SCOPE.match(str(failure.value))
            if wrong_scope:
                shown.addsection("tdpostback", _HINT_OF_SCOPE.format(fixture=wrong_scope[1]))

    def _uses_server(self, item: pytest.Item | None) -> bool:
        return item in self.contexts and bool(self.contexts[item].members)

    def pytest_assertrepr_compare(self, op: str, left: object, right: object) -> list[str] | None:
        """A comparison shows write keys shortened, and no control characters of senders."""
        from .protocol.escaping import escaped
        from .protocol.secrets import Redacted

        if isinstance(left, Redacted) or isinstance(right, Redacted):
            return [f"{left!r} {op} {right!r}"]
        if not (isinstance(left, str) and isinstance(right, str) and self._uses_server(self.item)):
            return None
        safe_left, safe_right = (
            Redacted("\n".join(map(escaped, text.split("\n"))), text) for text in (left, right)
        )
        if (safe_left, safe_right) == (left, right):
            return None
        manager = self.config.pluginmanager
        compare = manager.subset_hook_caller("pytest_assertrepr_compare", [self])
        shown = compare(config=self.config, op=op, left=safe_left, right=safe_right)
        return next(iter(shown), None)

    # the header and the summary of the run

    def pytest_unconfigure(self) -> None:
        """The run is over."""
        _runs.remove(self)

    def pytest_report_header(self) -> list[str]:
        """A line where a setting changes the run."""
        default = vars(type(self.settings)())
        chosen = vars(self.settings).items()
        changed = [f"{name}={value}" for name, value in chosen if value != default[name]]
        return [f"tdpostback: {', '.join(changed)}"] if changed else []

    @pytest.hookimpl(wrapper=True, trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> Generator[None, object, object]:
        """The server stops when nobody can send any more; then late events are counted."""
        result = yield
        server, self.server = self.server, None
        if server is not None and server.is_running():
            server.stop()
        elif server is not None:
            server.note_late_events()
        if self.summary is None:
            return result
        if hasattr(self.config, "workeroutput"):
            self.config.workeroutput["tdpostback"] = self.summary.to_json()
        elif self.summary.late_failures and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED
        return result

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        """The controller of xdist adds what a worker counted."""
        counted = getattr(node, "workeroutput", {}).get("tdpostback")
        if counted:
            self.made_summary().add(counted)

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        """Unexpected losses, findings and late events."""
        lines = list(self.summary.lines()) if self.summary is not None else []
        if lines:
            terminalreporter.section("tdpostback")
        for line in lines:
            terminalreporter.line(line)


def _first_line(item: pytest.Item) -> int:
    return (item.location[1] or 0) + 1


def _raise_in_test(item: pytest.Item, error: Exception) -> None:
    """Raise `error` where the test begins, because a debugger stops where it was raised.

    The variables there are `error` and the fixtures of the test, whose own code has returned.
    """
    raises = compile("\n" * (_first_line(item) - 1) + "raise error", str(item.path), "exec")
    module = vars(item.module) if isinstance(item, pytest.Function) else {}
    fixtures = getattr(item, "funcargs", {})
    error.__traceback__ = None
    exec(raises.replace(co_name=item.name), module, {**fixtures, "error": error})  # noqa: S102


def _shown_by(safe: Callable[[str], str], shown: Any) -> Any:
    """A piece of a report with each of its texts as `safe` returns it."""
    if isinstance(shown, str):
        return safe(shown)
    if type(shown) in (list, tuple):
        return type(shown)(_shown_by(safe, piece) for piece in shown)
    if type(shown).__module__ == "_pytest._code.code":  # objects of others may be frozen
        for name, piece in vars(shown).items():
            setattr(shown, name, _shown_by(safe, piece))
    return shown
