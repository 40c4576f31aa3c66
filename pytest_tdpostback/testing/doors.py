"""The ways in: the double's own URL, the service's hosts, a proxy, WSGI and clients in process."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from ..protocol.profiles import by_host
from ..server.host_listeners import HostListeners

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from ssl import SSLContext

    import httpx
    from _typeshed.wsgi import WSGIApplication
    from pytest_httpserver import HTTPServer
    from requests.adapters import BaseAdapter
    from werkzeug.wrappers import Request
    from werkzeug.wrappers import Response as WerkzeugResponse

    from ..collector.collector import Collector
    from ..server.listener import Listener
    from ..server.redirect import Redirect, Redirection
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
        self.redirected = False
        """Whether `redirect` was called."""

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
        __tracebackhide__ = True
        return self._server.trust.ca

    def ssl_context(self) -> SSLContext:
        """A new context for a client that trusts the run's authority and checks as usual.

        Raises `ConfigurationError` where the extra `tls` is not installed.
        """
        __tracebackhide__ = True
        from ..server.tls import client_context

        return client_context()

    # the service's hosts

    def redirect(self, *, hosts: Iterable[str] = (), block_network: bool = False) -> Redirection:
        """Return a context manager; inside it, the service's hosts lead to this fake server.

        The ports 80 and 443 of every known host, of the setting `extra_hosts` and of `hosts` are
        redirected, for connections that this process opens. They use real sockets, and the client
        verifies TLS against this run's authority. With `block_network`, a connection to another
        host that is not this machine raises `BlockedConnection`, which names the host. If several
        redirects are active, the last one decides; after all have ended, everything is as it was.
        Entering raises `ConfigurationError` if the extra `tls` is not installed.
        """
        return self._redirection(self._host_listeners, hosts, block_network=block_network)

    def proxy_environ(self, *, hosts: Iterable[str] = ()) -> dict[str, str]:
        """Return the environment of a subprocess whose requests to the service shall arrive here.

        It is this process's own environment, with a proxy that connects to the service's hosts (the
        known ones, the setting `extra_hosts` and `hosts`) and to no other host, and with this run's
        authority beside the usual ones.
        Raises `ConfigurationError` if the extra `tls` is not installed.
        """
        __tracebackhide__ = True
        return self._host_listeners.proxy_environ(self._hosts(hosts), self._server.trust)

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
    def own_host_listeners(self) -> HostListeners:
        """Listeners in place of the service's hosts for this fake server alone."""
        listeners = HostListeners(self._server, lambda: self._collector)
        listeners.opened = self.listeners
        return listeners

    @property
    def _host_listeners(self) -> HostListeners:
        """Those of the server, if this one shares the server's URL."""
        return self.own_host_listeners if self.listens else self._server.host_listeners

    def _redirection(
        self, listeners: HostListeners, hosts: Iterable[str] = (), *, block_network: bool = False
    ) -> Redirection:
        from ..server.redirect import Redirection

        def make() -> Redirect:
            __tracebackhide__ = True
            settings = self._collector.settings
            return listeners.redirect(
                self._hosts(hosts),
                block_network=block_network or settings.block_network,
                allow_hosts=settings.allow_hosts,
            )

        self.redirected = True
        return Redirection(make)

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
