"""pytest's hooks and fixtures: wiring only, every heavy import inside a function."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator

    from .protocol.settings import Settings
    from .testing.postback import Postback
    from .testing.run import RunServer, Scope
    from .testing.server import PostbackServer

MARKER = "tdpostback"
_server = pytest.StashKey["RunServer"]()
_scope = pytest.StashKey["Scope"]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """An option and an ini key for each setting, and the options of the contract check."""
    from dataclasses import fields

    from .conformance.options import add_options
    from .protocol.settings import Settings

    group = parser.getgroup("tdpostback", "test double of Treasure Data's Postback API")
    for row in fields(Settings):
        rule = row.metadata["rule"]
        note = row.metadata["help"] + (f" (rule {rule})" if rule else "")
        group.addoption(
            f"--tdpostback-{row.name.replace('_', '-')}", default=None, metavar="VALUE", help=note
        )
        parser.addini(f"tdpostback_{row.name}", note, default=None)
    add_options(group)


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker; a wrong option or ini value is a usage error."""
    from dataclasses import fields

    from .errors import ConfigurationError
    from .protocol.settings import Settings

    names = ", ".join(f"{row.name}=..." for row in fields(Settings))
    config.addinivalue_line("markers", f"{MARKER}({names}): settings of this test's double")
    try:
        _settings(config)
    except ConfigurationError as error:
        raise pytest.UsageError(str(error)) from None


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> Generator[None, object, object]:
    """From its setup on, a test owns what arrives at the run's server."""
    settings = _settings_of(item)
    server = item.config.stash.get(_server, None)
    if server is not None:
        item.stash[_scope] = server.begin(item.nodeid, settings)
    return (yield)


@pytest.hookimpl(wrapper=True, trylast=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    """A test that lost events without saying so fails, as if by its own hand."""
    __tracebackhide__ = True
    try:
        result = yield
        scope = item.stash.get(_scope, None)
        if scope is not None:
            scope.check()
    except BaseException:
        _report(item)
        raise
    return result


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_teardown(item: pytest.Item) -> Generator[None, object, object]:
    """Once all fixtures are gone: what was sent while they were torn down counts too."""
    __tracebackhide__ = True
    try:
        return (yield)
    finally:
        _finish(item)


def _finish(item: pytest.Item) -> None:
    __tracebackhide__ = True
    scope = item.stash.get(_scope, None)
    server = item.config.stash.get(_server, None)
    if scope is None or server is None:
        return
    del item.stash[_scope]
    try:
        scope.check()
    finally:
        server.end(scope)


def _report(item: pytest.Item) -> None:
    scope = item.stash.get(_scope, None)
    if scope is None:
        return
    from .testing.run import report

    text = report(scope.postbacks)
    if text:
        item.add_report_section("call", "tdpostback", text)


@pytest.fixture(scope="session")
def tdpostback_server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[PostbackServer]:
    """The running `PostbackServer` of this process; its `url` and `write_key` never change."""
    from .testing.run import RunServer
    from .transport.tls import TrustFiles

    with RunServer(_settings(request.config)) as server:
        server.trust = TrustFiles(lambda: tmp_path_factory.mktemp("tdpostback"))
        request.config.stash[_server] = server
        yield server
        del request.config.stash[_server]
        server.check()


@pytest.fixture
def tdpostback(request: pytest.FixtureRequest, tdpostback_server: RunServer) -> Postback:
    """This test's double of the Postback API, with a URL and a write key of its own."""
    return _scope_of(request, tdpostback_server).open()


@pytest.fixture
def make_tdpostback(
    request: pytest.FixtureRequest, tdpostback_server: RunServer
) -> Callable[..., Postback]:
    """Factory of further doubles: `make_tdpostback(profile=..., write_keys=[...], **settings)`."""
    scope = _scope_of(request, tdpostback_server)

    def make(*, write_keys: Iterable[str] = (), **settings: Any) -> Postback:
        chosen = scope.settings.changed(settings, "make_tdpostback")
        return scope.make(chosen, write_keys)

    return make


def _scope_of(request: pytest.FixtureRequest, server: RunServer) -> Scope:
    item = request.node
    if _scope not in item.stash:
        item.stash[_scope] = server.begin(item.nodeid, _settings_of(item))
    return item.stash[_scope]


def _settings_of(item: pytest.Item) -> Settings:
    from .errors import ConfigurationError

    settings = _settings(item.config)
    for marker in reversed(list(item.iter_markers(MARKER))):
        if marker.args:
            message = f"@pytest.mark.{MARKER} takes keyword arguments only, not {marker.args!r}"
            raise ConfigurationError(f"{item.nodeid}: {message}")
        settings = settings.changed(marker.kwargs, f"{item.nodeid}: @pytest.mark.{MARKER}")
    return settings


def _settings(config: pytest.Config) -> Settings:
    from dataclasses import fields

    from .protocol.settings import Settings

    settings = Settings()
    for row in fields(Settings):
        option = f"--tdpostback-{row.name.replace('_', '-')}"
        ini = f"tdpostback_{row.name}"
        for where, value in (
            (f"ini {ini}", config.getini(ini)),
            (option, config.getoption(option)),
        ):
            if value is not None and value != "":
                settings = settings.changed({row.name: value}, where)
    return settings
