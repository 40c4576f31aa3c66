"""pytest's hooks and fixtures: wiring only, every heavy import inside a function."""

from __future__ import annotations

import threading
import warnings
from typing import TYPE_CHECKING, Any

import pytest

# Bound now, before a test can freeze the clock: what is real time is found out on import.
from .collector import waiting as _real_time  # noqa: F401
from .errors import ConfigurationError, PostbackError, PostbackWarning

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator
    from pathlib import Path

    from .protocol.settings import Settings
    from .testing.postback import Postback
    from .testing.report import Tally
    from .testing.server import PostbackServer
    from .testing.session import RunServer, Scope

MARKER = "tdpostback"
REDIRECTED = "_tdpostback_redirected"


class Run:
    """What the hooks and fixtures of one process share; at rest there is no server."""

    def __init__(self, settings: Settings) -> None:
        """`settings` are those of options and ini."""
        self.settings = settings
        self.server: RunServer | None = None
        self.tally: Tally | None = None
        self.request: pytest.FixtureRequest | None = None
        """That of the server."""

    def folder(self) -> Path:
        """A new folder of the run, for the server's files."""
        assert self.request is not None
        factory: pytest.TempPathFactory = self.request.getfixturevalue("tmp_path_factory")
        return factory.mktemp("tdpostback")


class _Here(threading.local):
    """The test that this thread set up last; in a thread that set up none, the last of all."""

    item: pytest.Item | None = None


_here = _Here()
_run = pytest.StashKey[Run]()
_scope = pytest.StashKey["Scope"]()
_before = pytest.StashKey["pytest.Item | None"]()
_section = pytest.StashKey[str]()


# settings


def pytest_addoption(parser: pytest.Parser) -> None:
    """An option and an ini key for each setting, and the options of the contract check."""
    from dataclasses import fields

    from .conformance.options import add_options
    from .protocol.settings import Settings

    group = parser.getgroup("tdpostback", "test double of Treasure Data's Postback API")
    for row in fields(Settings):
        rule = row.metadata["rule"]
        note = row.metadata["help"] + (f" (rule {rule})" if rule else "")
        names = dict.fromkeys([_option(row.name), f"--tdpostback-{row.name}"])
        bare = {"nargs": "?", "const": "true"} if isinstance(row.default, bool) else {}
        group.addoption(*names, default=None, metavar="VALUE", help=note, **bare)
        parser.addini(f"tdpostback_{row.name}", note, default=None)
    add_options(group)


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker; a wrong option or ini value is a usage error."""
    from dataclasses import fields

    from .conformance.options import refuse_workers
    from .protocol.settings import Settings

    names = ", ".join(f"{row.name}=..." for row in fields(Settings))
    config.addinivalue_line("markers", f"{MARKER}({names}): settings of this test's double")
    try:
        refuse_workers(config)
        config.stash[_run] = Run(_configured(config))
    except ConfigurationError as error:
        raise pytest.UsageError(str(error)) from None


def pytest_report_header(config: pytest.Config) -> list[str]:
    """A line where a setting changes the run."""
    from .protocol.settings import Settings

    chosen, default = vars(config.stash[_run].settings), vars(Settings())
    changed = [f"{name}={value}" for name, value in chosen.items() if value != default[name]]
    return [f"tdpostback: {', '.join(changed)}"] if changed else []


def _option(name: str) -> str:
    return f"--tdpostback-{name.replace('_', '-')}"


def _configured(config: pytest.Config) -> Settings:
    from dataclasses import fields

    from .protocol.settings import Settings

    settings = Settings()
    for row in fields(Settings):
        ini = f"tdpostback_{row.name}"
        option = _option(row.name)
        for where, value in (
            (f"ini {ini}", config.getini(ini)),
            (option, config.getoption(option)),
        ):
            if value is not None and value != "":
                settings = settings.changed({row.name: value}, where)
    return settings


def _settings_of(item: pytest.Item) -> Settings:
    __tracebackhide__ = True
    settings = item.config.stash[_run].settings
    if MARKER not in item.keywords:  # which is found out sooner than that there is no marker
        return settings
    for marker in reversed(list(item.iter_markers(MARKER))):
        where = f"{item.nodeid}: @pytest.mark.{MARKER}"
        if marker.args:
            raise ConfigurationError(f"{where} takes keyword arguments only, not {marker.args!r}")
        settings = settings.changed(marker.kwargs, where)
    return settings


# the life of a test


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """From its setup on, a test owns what arrives at the run's server."""
    item.stash[_before] = _here.item
    _Here.item = _here.item = item
    run = item.config.stash[_run]
    try:
        settings = _settings_of(item)
    except Exception as error:  # noqa: BLE001 - shown without our frames
        raise _plain(error) from None
    if run.server is not None:
        item.stash[_scope] = run.server.begin(item.nodeid, settings)
    if settings.redirect or settings.block_network:
        names = getattr(item, "fixturenames", None)
        if names is not None and REDIRECTED not in names:
            vars(item)["fixturenames"] = [REDIRECTED, *names]


@pytest.hookimpl(tryfirst=True)
def pytest_fixture_setup(
    fixturedef: pytest.FixtureDef[object], request: pytest.FixtureRequest
) -> None:
    """The first double needs the server; as an argument it would cost every test more."""
    run = request.config.stash[_run]
    if fixturedef.argname == "tdpostback_server":
        run.request = request
    elif fixturedef.argname in ("tdpostback", "make_tdpostback") and run.server is None:
        request.getfixturevalue("tdpostback_server")


@pytest.hookimpl(wrapper=True, trylast=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    """A test that lost events without saying so fails, as if by its own hand."""
    scope = item.stash.get(_scope, None)
    if scope is not None:
        scope.call()
    try:
        result = yield
    except BaseException:
        scope = item.stash.get(_scope, None)
        if scope is not None:
            scope.failed = True
        raise
    scope = item.stash.get(_scope, None)
    if scope is not None:
        _conclude(item, scope)
    return result


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_teardown(item: pytest.Item) -> Generator[None, object, object]:
    """Once all fixtures are gone: what was sent while they were torn down counts too."""
    try:
        result = yield
    except BaseException:
        _end(item, failed=True)
        raise
    else:
        _end(item)
        return result
    finally:
        _here.item = item.stash.get(_before, _here.item)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A failed test's report shows what arrived."""
    report = yield
    if report.failed:
        if _scope in item.stash:
            item.stash[_scope].failed = True
        text: str = _section_of(item)
        shown: Any = _without_keys(report.longrepr)
        report.longrepr = shown
        if text and hasattr(shown, "addsection"):
            shown.addsection("tdpostback", text)
        if call.excinfo is not None and isinstance(call.excinfo.value, pytest.fail.Exception):
            _point_at(item, report, call.excinfo.value)
    return report


def _conclude(item: pytest.Item, scope: Scope, *, last: bool = False) -> None:
    """Raise what the test fails with, and warn of its findings."""
    if scope.quiet:
        return
    try:
        scope.check(last=last)
        if not scope.failed:
            _warn(item, scope)
    except (PostbackError, Warning) as error:
        scope.failed = True
        raise _plain(error) from None


def _warn(item: pytest.Item, scope: Scope) -> None:
    """Warn of each finding, as if by the line where the test begins."""
    for event, finding in scope.findings():
        from .testing import formatting

        line = (item.location[1] or 0) + 1
        scope.count_finding(finding)
        warnings.warn_explicit(
            formatting.found(event, finding), PostbackWarning, str(item.path), line
        )


def _end(item: pytest.Item, *, failed: bool = False) -> None:
    """The test of `item` is over: look once more, keep what its report needs, let it go."""
    scope = item.stash.get(_scope, None)
    server = item.config.stash[_run].server
    if scope is None or server is None:
        return
    scope.failed = scope.failed or failed
    try:
        _conclude(item, scope, last=True)
    except BaseException:
        failed = True
        raise
    finally:
        if failed:
            item.stash[_section] = _section_of(item)
        del item.stash[_scope]
        server.end(scope)


def _section_of(item: pytest.Item) -> str:
    scope = item.stash.get(_scope, None)
    if scope is None:
        text = item.stash.get(_section, "")
        item.stash[_section] = ""
        return text
    from .testing.report import section

    return section(scope.postbacks)


def _plain(error: Exception) -> Exception:
    """`error`, of its own class still, but shown by its text alone: no line of a test raised it."""
    kind = type(error)
    # What pytest.fail(pytrace=False) raises is shown by its text.
    shown = type(kind.__name__, (kind, pytest.fail.Exception), {"__module__": "pytest_tdpostback"})
    plain: Any = shown(*error.args)
    vars(plain).update(vars(error), msg=str(error), pytrace=False)
    assert isinstance(plain, Exception)
    return plain


def _point_at(item: pytest.Item, report: pytest.TestReport, error: BaseException) -> None:
    """The place of a failure that no line of the test raised is the test."""
    crash = getattr(report.longrepr, "reprcrash", None)
    if type(error).__module__ == "pytest_tdpostback" and crash is not None:
        crash.path, crash.lineno = str(item.path), (item.location[1] or 0) + 1


def _without_keys(shown: Any) -> Any:
    """`shown`, a piece of a report, in which pytest may have printed a write key from within."""
    from .protocol.secrets import without_bare_keys

    if isinstance(shown, str):
        return without_bare_keys(shown)
    if type(shown) in (list, tuple):
        return type(shown)(map(_without_keys, shown))
    if type(shown).__module__ == "_pytest._code.code":  # pytest's own: others' may be frozen
        for name, piece in vars(shown).items():
            setattr(shown, name, _without_keys(piece))
    return shown


def pytest_assertrepr_compare(op: str, left: object, right: object) -> list[str] | None:
    """A write key is compared by what may be shown of it."""
    from .protocol.secrets import Redacted

    if isinstance(left, Redacted) or isinstance(right, Redacted):
        return [f"{left!r} {op} {right!r}"]
    return None


# the summary of the run


def pytest_sessionfinish(session: pytest.Session) -> None:
    """A worker of xdist hands what it counted to the controller."""
    tally = session.config.stash[_run].tally
    if tally is not None and hasattr(session.config, "workeroutput"):
        session.config.workeroutput["tdpostback"] = tally.plain()


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """The controller adds what a worker of xdist counted."""
    counted = getattr(node, "workeroutput", {}).get("tdpostback")
    if counted:
        _tally(node.config).add(counted)


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """What was lost in silence, found, and heard too late."""
    tally = config.stash[_run].tally
    lines = tally.lines() if tally is not None else []
    if lines:
        terminalreporter.section("tdpostback")
        for line in lines:
            terminalreporter.line(line)


def _tally(config: pytest.Config) -> Tally:
    run = config.stash[_run]
    if run.tally is None:
        from .testing.report import Tally

        run.tally = Tally()
    return run.tally


# fixtures


@pytest.fixture(scope="session")
def tdpostback_server() -> Iterator[PostbackServer]:
    """The running `PostbackServer` of this process; its `url` and `write_key` never change."""
    from .server.tls import TrustFiles
    from .testing.session import RunServer

    config = _running().config
    run = config.stash[_run]
    with RunServer(run.settings, _tally(config)) as server:
        server.trust = TrustFiles(run.folder)
        run.server = server
        _scope_of(_running())
        yield server
        try:
            if _here.item is not None:
                _end(_here.item)
            server.check()
        finally:
            run.server = None


@pytest.fixture
def tdpostback() -> Postback:
    """This test's double of the Postback API, with a URL and a write key of its own."""
    return _scope_of(_running()).open()


@pytest.fixture
def make_tdpostback() -> Callable[..., Postback]:
    """Factory of further doubles: `make_tdpostback(profile=..., write_keys=[...], **settings)`."""
    scope = _scope_of(_running())

    def make(*, write_keys: Iterable[str] = (), **settings: Any) -> Postback:
        __tracebackhide__ = True
        chosen = scope.settings.changed(settings, "make_tdpostback(...)")
        return scope.make(chosen, write_keys)

    return make


@pytest.fixture(name=REDIRECTED)
def _redirected(tdpostback_server: PostbackServer) -> None:  # noqa: ARG001 - which leads there
    """The service's hosts end at this test's double, before any other fixture is set up."""
    _scope_of(_running()).redirect()


def _running() -> pytest.Item:
    assert _here.item is not None
    return _here.item


def _scope_of(item: pytest.Item) -> Scope:
    if _scope not in item.stash:
        server = item.config.stash[_run].server
        assert server is not None
        item.stash[_scope] = server.begin(item.nodeid, _settings_of(item))
    return item.stash[_scope]
