"""`PostbackServer`: the fake server without pytest."""

from __future__ import annotations

import warnings
from functools import cached_property
from typing import TYPE_CHECKING, ClassVar

from ..errors import PostbackWarning
from ..protocol.secrets import without_keys
from ..protocol.settings import Settings
from ..server.connection import INSPECTION_PREFIX
from ..server.server import CollectorServer, servers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from ssl import SSLContext
    from typing import Unpack

    from werkzeug.wrappers import Request
    from werkzeug.wrappers import Response as WerkzeugResponse

    from ..collector.collector import Collector
    from ..protocol.profiles import Profile, ProfileName
    from ..protocol.settings import ServerSettingValues
    from ..server.host_listeners import HostListeners
    from ..server.tls import TrustFiles
    from .postback import Member, Postback

__tracebackhide__ = True  # a failure shows the lines of the test, not ours


class PostbackServer(CollectorServer):
    """A fake server of the Postback API for programs and for other test runners than pytest.

    It is a `pytest_httpserver.HTTPServerBase`: start it, `check` it and stop it, or use it as a
    context manager. Stopping warns of what `check` would raise.

    It starts without what a test looks through and without TLS; both are loaded when they are used.
    """

    inspection: ClassVar[Callable[[Request, Collector, str], WerkzeugResponse]]
    """Responds to a call of the REST interface, which is in a layer above.

    The package sets it when it loads this class for a program, and the plugin for a run of tests.
    """

    def __init__(
        self,
        host: str = "127.0.0.1",
        port: int = 0,
        *,
        profile: ProfileName | Profile | None = "openapi-1.0.0",
        write_keys: Iterable[str] = (),
        ssl_context: SSLContext | None = None,
        expose: bool = False,
        inspection: bool = False,
        **settings: Unpack[ServerSettingValues],
    ) -> None:
        """Make a server. It listens from `start` on.

        Args:
            host: The address to listen at, a loopback address by default.
            port: The port to listen at; 0 (the default) takes a free one.
            profile: The documents to imitate; with `None`, the host of a request decides.
            write_keys: Write keys that are valid besides `write_key`.
            ssl_context: Serves HTTPS with this context.
            expose: Allows an address that other machines can reach.
            inspection: Serves the REST interface below `/.tdpostback/`.
            **settings: Settings, as the fixtures take them.

        Raises:
            ConfigurationError: A value is not valid.
        """
        given = {"profile": profile, "inspection": inspection, **settings}
        chosen = Settings().changed(given, "PostbackServer")
        if chosen.tls and ssl_context is None:
            from ..server.tls import own_context

            ssl_context = own_context(host)
        super().__init__(host, port, settings=chosen, ssl_context=ssl_context, expose=expose)
        self._member: Member | None = None
        self.collector.keys.add_all(write_keys)
        self._unraised: list[Exception] = []
        """What `check` has to raise, though it was found earlier."""
        if chosen.inspection and expose:
            warning = (
                "expose=True with inspection=True: every machine that can reach this server can "
                "read its events and change its keys and settings"
            )
            warnings.warn(warning, PostbackWarning, stacklevel=2)

    @property
    def url(self) -> str:
        """The base URL, no trailing slash."""
        return self.url_for("/").rstrip("/")

    @cached_property
    def trust(self) -> TrustFiles:
        """The files with which clients trust this server."""
        from ..server.tls import TrustFiles

        return TrustFiles()

    @cached_property
    def hosts(self) -> HostListeners:
        """The listeners in place of the service's hosts, for the collector that is current."""
        from ..server.host_listeners import HostListeners

        return HostListeners(self, self.current_collector, [])

    @cached_property
    def write_key(self) -> str:
        """A write key that is valid here, `account/secret`. Its `repr` is shortened."""
        return self._own.receiver.write_key

    @property
    def postback(self) -> Postback:
        """A `Postback` of everything that arrives; in pytest, that of the test that runs now."""
        return self._own.postback

    @property
    def _own(self) -> Member:
        with self.lock:
            if self._member is None:
                from .postback import Member

                names = {"name": "server.postback", "setting": 'PostbackServer({}="{}")'}
                self._member = Member.made(
                    self, lambda: self.collector, self.trust, self.hosts, **names
                )
            return self._member

    def dispatch(self, request: Request) -> WerkzeugResponse:
        """Respond to what is no event: a preflight (R5), or a call of the REST interface."""
        collector = request.environ.get("tdpostback.collector") or self.current_collector()
        if request.path.startswith(INSPECTION_PREFIX) and collector.settings.inspection:
            return type(self).inspection(request, collector, self.host)
        return super().dispatch(request)

    def stop(self) -> None:
        """Stop serving, and warn of what `check` would raise; it can still be called."""
        super().stop()
        self._warn_of_failure()

    def __exit__(self, kind: object, error: object, traceback: object) -> None:
        """Stop; if an exception ends the block, there is no warning."""
        if self.is_running():
            super().stop()
        if error is None:
            self._warn_of_failure()

    def check(self) -> None:
        """Raise what a test would fail with (see `Postback.check`); warn of findings.

        An error that happened in `dispatch` is raised, too.
        """
        found, self._unraised = self._unraised, []
        if len(found) > 1:
            raise ExceptionGroup(f"the server stopped with {len(found)} failures", found)
        if found:
            raise found[0]
        self._check_outcomes()
        for text in self._own.check.findings_to_warn_of():
            warnings.warn(text, PostbackWarning, stacklevel=2)

    def _check_outcomes(self) -> None:
        super().check()
        self._own.check.check()

    def _warn_of_failure(self) -> None:
        """Warn of what `check` would raise, and leave it for `check`."""
        try:
            self._check_outcomes()
        except Exception as failure:  # noqa: BLE001 - whatever it is, somebody has to know
            self._unraised.append(failure)
            text = f"{type(failure).__name__}: {failure}"
            message = f"nobody called server.check(), which raises this:\n{without_keys(text)}"
            warnings.warn(message, PostbackWarning, stacklevel=3)


def known_keys() -> list[str]:
    """Every write key that was ever valid at the URL of a server of this process."""
    return [key for server in list(servers) for key in server.collector.keys.known()]
