"""`PostbackServer`: the double without pytest."""

from __future__ import annotations

import threading
import warnings
from typing import TYPE_CHECKING, Any

from ..errors import PostbackWarning
from ..protocol.settings import Settings
from ..server.host_listeners import HostListeners
from ..server.server import CollectorServer
from ..server.tls import TrustFiles, own_names, server_context
from . import formatting
from .inspection import PREFIX, Inspection
from .postback import Postback
from .report import NewFindings

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from ssl import SSLContext
    from types import TracebackType

    from werkzeug.wrappers import Request
    from werkzeug.wrappers import Response as WerkzeugResponse

    from ..collector.collector import Collector
    from ..collector.events import Event
    from ..protocol.profiles import Profile
    from ..protocol.request import RequestHead
    from ..server.listener import Listener
    from .assertions import Assertions


class PostbackServer(CollectorServer):
    """A double of the Postback API on a port of its own, for programs and other test runners.

    A `pytest_httpserver.HTTPServerBase`: start it, `check` it and stop it, or use it as a context
    manager, which in the end warns of what nobody checked.
    """

    def __init__(
        self,
        host: str = "127.0.0.1",
        port: int = 0,
        *,
        profile: str | Profile | None = "openapi-1.0.0",
        write_keys: Iterable[str] = (),
        ssl_context: SSLContext | None = None,
        expose: bool = False,
        inspection: bool = False,
        **settings: Any,
    ) -> None:
        """Nothing listens before `start`.

        `host` and `port` are where to listen, port 0 takes a free one; `profile` says which
        documents to imitate (`None`: the host of a request decides); `write_keys` are valid beside
        `write_key`; `ssl_context` serves HTTPS; `expose` allows a host that is not loopback;
        `inspection` also answers questions about the double itself, below `/.tdpostback/`;
        `settings` are those of the fixtures. Raises `ConfigurationError` for what is not valid.
        """
        __tracebackhide__ = True
        chosen = Settings().changed({"profile": profile, **settings}, "PostbackServer")
        if chosen.tls and ssl_context is None:
            ssl_context = server_context(own_names(host))
        super().__init__(host, port, settings=chosen, ssl_context=ssl_context, expose=expose)
        self.trust = TrustFiles()
        self.making = threading.RLock()
        """Held while a double or its collector is made."""
        self._postback = Postback(self, lambda: self.collector)
        self._inspection = Inspection(lambda: self.postback) if inspection else None
        self._postback.keys.add_all(write_keys)
        self._findings = NewFindings(self._postback)
        self.host_listeners = HostListeners(self, self.current_collector)
        """Listeners in place of the service's hosts, for the collector whose events arrive now."""

    @property
    def url(self) -> str:
        """Base URL, no trailing slash."""
        return self.url_for("/").rstrip("/")

    @property
    def write_key(self) -> str:
        """A write key that is valid here, `account/secret`; its `repr` is shortened."""
        return self._postback.write_key

    @property
    def postback(self) -> Postback:
        """A `Postback` of everything that arrives: in a test run, of the test running now."""
        return self._postback

    def current_collector(self) -> Collector:
        """Whose events arrive now."""
        return self.postback._collector

    def opened(self, collector: Collector, listener: Listener) -> None:
        """The double of `collector` has a URL of its own now."""

    def owner_of(self, key: str, asking: Assertions) -> str | None:  # noqa: ARG002 - for a test run
        """Whose write key `key` is, where another double of this run made it."""
        return None

    def elsewhere(self, postback: Assertions) -> Iterator[tuple[str, Event]]:  # noqa: ARG002
        """What arrived at URLs that have to do with `postback`, but not at its own."""
        return iter(())

    def name_of(self, postback: Assertions) -> str:  # noqa: ARG002
        """What to call `postback` in code that a text proposes."""
        return "server.postback"

    def lenience(self, postback: Assertions) -> str:  # noqa: ARG002
        """What lets every failure at `postback` pass."""
        return 'for all of them, PostbackServer(on_auth_failure="ignore")'

    def is_inspection(self, head: RequestHead) -> bool:
        """Whether `head` asks the double about itself, and it answers such questions."""
        return self._inspection is not None and str(head.target).startswith(PREFIX)

    def dispatch(self, request: Request) -> WerkzeugResponse:
        """Answer what is no event: a preflight (R5), or a question about the double itself."""
        if self._inspection is not None and request.path.startswith(PREFIX):
            return self._inspection.respond(request)
        return super().dispatch(request)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Stop; warn of what `check` would have raised, unless an error is on its way."""
        super().__exit__(kind, error, traceback)
        if error is None:
            try:
                self._check_outcomes()
            except Exception as unseen:  # noqa: BLE001 - whatever it is, it is told
                warnings.warn(formatting.unchecked(unseen), PostbackWarning, stacklevel=2)

    def check(self) -> None:
        """Raise what a test would have failed with, and errors of `dispatch`; warn of findings."""
        __tracebackhide__ = True
        self._check_outcomes()
        for event, finding in self._findings:
            warnings.warn(formatting.found(event, finding), PostbackWarning, stacklevel=2)

    def _check_outcomes(self) -> None:
        __tracebackhide__ = True
        super().check()
        self.postback.check()
