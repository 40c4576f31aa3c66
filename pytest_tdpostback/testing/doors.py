"""The ways in: the double's own URL, the service's hosts, a proxy, WSGI and clients in process."""

from __future__ import annotations

from contextlib import contextmanager
from functools import cached_property, partial
from typing import TYPE_CHECKING, cast

from ..protocol.profiles import by_host
from .fronts import LOOPBACK, Fronts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from ssl import SSLContext

    import httpx
    from _typeshed.wsgi import WSGIApplication
    from pytest_httpserver import HTTPServer
    from requests.adapters import BaseAdapter
    from werkzeug.wrappers import Request
    from werkzeug.wrappers import Response as WerkzeugResponse

    from ..collector.collector import Collector
    from ..server.listener import Listener
    from .postback import Postback
    from .server import PostbackServer


class Doors:
    """The half of `Postback` that lets requests in."""

    def __init__(self, server: PostbackServer, make_collector: Callable[[], Collector]) -> None:
        """`server` listens for the collector that `make_collector()` makes when it is needed."""
        self._server = server
        self._make_collector = make_collector
        self.listens = False
        """Whether it has a URL of its own, and not the server's."""
        self._listener: Listener | None = None
        self.listeners: list[Listener] = []
        self.blocked: list[str] = []
        """Hosts that a redirect to it did not let somebody connect to."""

    @property
    def untouched(self) -> bool:
        """Whether nobody has done anything with it yet, and so nothing has arrived."""
        return "_collector" not in vars(self)

    @cached_property
    def _collector(self) -> Collector:
        """What takes its events; made once, whichever thread asks first."""
        with self._server.making:
            if self.untouched:
                vars(self)["_collector"] = self._make_collector()
            return vars(self)["_collector"]  # type: ignore[no-any-return]

    # its own URL

    def listen(self) -> None:
        """Have a port of its own from now on: it is opened when somebody asks for the URL."""
        self.listens = True

    @property
    def url(self) -> str:
        """Base URL of this double, no trailing slash."""
        if not self.listens:
            return self._server.url
        with self._collector.lock:
            if self._listener is None:
                self._listener = self._open_own()
        return self._listener.url

    @property
    def ca_file(self) -> str:
        """The path of a PEM file with the certificate of the run's authority, for clients.

        Raises `ConfigurationError` where the extra `tls` is not installed.
        """
        return self._server.trust.ca

    def ssl_context(self) -> SSLContext:
        """A new context for a client that trusts the run's authority and checks as usual.

        Raises `ConfigurationError` where the extra `tls` is not installed.
        """
        from ..server.tls import client_context

        return client_context()

    # the service's hosts

    @contextmanager
    def redirect(self, *, hosts: Iterable[str] = (), block_network: bool = False) -> Iterator[None]:
        """Let connections of this process to the service's hosts end here, while it lasts.

        The ports 80 and 443 of every known host, of the setting `extra_hosts` and of `hosts` lead
        to this double, over real sockets; the client verifies TLS, against the run's authority.
        `block_network` refuses every connection to another host that is not this machine, with a
        `BlockedConnection` that names it. Of several redirects the last one decides; when all have
        ended, everything is as it was.
        Raises `ConfigurationError` where the extra `tls` is not installed.
        """
        with self._redirect(self._fronts, hosts, block_network=block_network):
            yield

    def proxy_environ(self, *, hosts: Iterable[str] = ()) -> dict[str, str]:
        """The environment of a program in any language whose connections shall end here.

        It is this process's own, with a proxy that leads to the service's hosts (the known ones,
        the setting `extra_hosts` and `hosts`) and to nowhere else, and with the run's authority
        beside the usual ones. Raises `ConfigurationError` where the extra `tls` is not installed.
        """
        from ..server.proxy import environment

        names, fronts = self._hosts(hosts), self._fronts
        ports = {port: listener.port for port, listener in fronts.of(names).items()}
        proxy = f"http://{LOOPBACK}:{fronts.proxy(names).port}"
        return environment(proxy, ports, names, self._server.trust)

    # without sockets

    def httpx_transport(self) -> httpx.BaseTransport:
        """A transport for `httpx.Client` that leads to this double without a socket.

        Raises `ConfigurationError` where httpx is not installed.
        """
        from ..server.in_process import httpx_transport

        return httpx_transport(self._collector)

    def async_httpx_transport(self) -> httpx.AsyncBaseTransport:
        """A transport for `httpx.AsyncClient` that leads to this double without a socket.

        Raises `ConfigurationError` where httpx is not installed.
        """
        from ..server.in_process import async_httpx_transport

        return async_httpx_transport(self._collector)

    def requests_adapter(self) -> BaseAdapter:
        """An adapter to mount on a `requests.Session`; it leads to this double without a socket.

        Raises `ConfigurationError` where requests is not installed.
        """
        from ..server.in_process import requests_adapter

        return requests_adapter(self._collector)

    @cached_property
    def wsgi_app(self) -> WSGIApplication:
        """The same collector as a WSGI application."""
        from ..server.wsgi import application

        collector = self._collector
        return application(lambda: collector)

    def mount(self, httpserver: HTTPServer) -> None:
        """Serve every request to `httpserver` (of pytest-httpserver) with this double."""
        import re

        from ..server.wsgi import respond

        def handle(request: Request) -> WerkzeugResponse:
            response = respond(self._collector, request)
            del response.headers["Date"]  # the server in front writes its own
            return response

        httpserver.expect_request(re.compile("")).respond_with_handler(handle)

    # within

    def _hosts(self, further: Iterable[str]) -> tuple[str, ...]:
        settings = self._collector.settings.changed({"extra_hosts": further}, "hosts")
        return tuple(
            sorted({*by_host, *self._collector.settings.extra_hosts, *settings.extra_hosts})
        )

    @cached_property
    def own_fronts(self) -> Fronts:
        """What listens in place of the service's hosts for this double alone."""
        this = cast("Postback", self)
        return Fronts(self._server, lambda: this, self.listeners)

    @property
    def _fronts(self) -> Fronts:
        """Whoever has the server's URL shares its fronts too."""
        return self.own_fronts if self.listens else self._server.fronts

    @contextmanager
    def _redirect(
        self, fronts: Fronts, hosts: Iterable[str] = (), *, block_network: bool = False
    ) -> Iterator[None]:
        from ..server import redirect

        names = self._hosts(hosts)
        listeners = fronts.of(names)
        proxies = redirect.proxies_of_environment()
        instead = [fronts.proxy(names)] if proxies else []
        chosen = redirect.Redirect(
            names,
            {port: listener.port for port, listener in listeners.items()},
            partial(fronts.hang_up, [*listeners.values(), *instead]),
            proxies={place: listener.port for place in proxies for listener in instead},
            block_network=block_network or self._collector.settings.block_network,
            blocked=fronts.note_blocked,
        )
        redirect.begin(chosen)
        try:
            yield
        finally:
            redirect.end(chosen)

    def _open_own(self) -> Listener:
        context = None
        if self._collector.settings.tls:
            from ..server.tls import own_names, server_context

            context = server_context(own_names(self._server.host))
        collector = self._collector
        listener = self._server.open_listener(lambda: collector, ssl_context=context)
        self.listeners.append(listener)
        self._server.opened(collector, listener)
        return listener
