"""Where the events of one collector arrive: its URL, its ports, and what a message calls it."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING

from ..protocol.profiles import by_host
from .fronts import LOOPBACK, Fronts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from ..collector.collector import Collector
    from ..collector.events import Event
    from ..server.listener import Listener
    from ..server.server import CollectorServer
    from ..server.tls import TrustFiles


class Neighbours:
    """The other `Postback` objects of a run, as far as a message is about them. Here: none."""

    def owner_of(self, key: str, endpoint: Endpoint) -> str | None:  # noqa: ARG002
        """Whose write key `key` is; `None` if it is not known or belongs to `endpoint`."""
        return None

    def events_elsewhere(self, collector: Collector) -> Iterator[tuple[str, Event]]:  # noqa: ARG002
        """Events that arrived at other collectors while `collector` waits, with their URLs."""
        return iter(())


class Endpoint:
    """Where the events of one collector arrive.

    It has the URL of the server, or a port of its own, which opens when somebody asks for the URL.
    """

    def __init__(
        self,
        server: CollectorServer,
        collector: Collector,
        trust: TrustFiles,
        *,
        name: str,
        ignore_losses: str,
        shared_hosts: Fronts | None = None,
        neighbours: Neighbours | None = None,
    ) -> None:
        """An endpoint of `collector` on `server`.

        Args:
            server: Opens the ports.
            collector: Receives the events.
            trust: The files with the certificate of the run's authority.
            name: The expression by which a test reaches the `Postback`.
            ignore_losses: The code that allows every rejection.
            shared_hosts: The host listeners of the server, as long as there is no own port.
            neighbours: What messages need to know about the rest of the run.
        """
        self.server = server
        self.collector = collector
        self.trust = trust
        self.name = name
        self.ignore_losses = ignore_losses
        self.neighbours = neighbours or Neighbours()
        self.own_port = shared_hosts is None
        """Whether it has a port of its own, and not the URL of the server."""
        self.listeners: list[Listener] = []
        """Everything that was opened for it."""
        self.opened: Callable[[Endpoint], object] | None = None
        """Called when a port opens."""
        self._shared_hosts = shared_hosts
        self._own_hosts: Fronts | None = None
        self._listener: Listener | None = None
        self._write_key: str | None = None
        self._opening = threading.Lock()

    @property
    def url(self) -> str:
        """The base URL, no trailing slash."""
        if not self.own_port:
            return self.server.url_for("/").rstrip("/")
        with self._opening:
            if self._listener is None:
                self._listener = self._open()
        return self._listener.url

    @property
    def open_url(self) -> str:
        """The base URL if its port is open, else an empty string."""
        return self._listener.url if self._listener else ""

    @property
    def write_key(self) -> str:
        """A valid write key, which is generated when it is first asked for."""
        if self._write_key is None:
            self._write_key = self.collector.keys.add()
        return self._write_key

    @write_key.setter
    def write_key(self, key: str | None) -> None:
        self._write_key = key

    @property
    def generated_key(self) -> str | None:
        """The write key if somebody asked for it."""
        return self._write_key

    @property
    def hosts(self) -> Fronts:
        """What listens in place of the service's hosts."""
        if not self.own_port and self._shared_hosts is not None:
            return self._shared_hosts
        if self._own_hosts is None:
            collector = self.collector
            self._own_hosts = Fronts(self.server, lambda: collector, self.listeners)
        return self._own_hosts

    def host_names(self, more: Iterable[str] = ()) -> tuple[str, ...]:
        """The service's hosts, those of the setting `extra_hosts`, and `more`."""
        settings = self.collector.settings
        given = settings.changed({"extra_hosts": more}, "hosts").extra_hosts
        return tuple(sorted({*by_host, *settings.extra_hosts, *given}))

    @contextmanager
    def redirect(
        self,
        hosts: Iterable[str] = (),
        *,
        block_network: bool = False,
        listeners: Fronts | None = None,
    ) -> Iterator[None]:
        """Connect this process to `listeners` instead of the service's hosts."""
        __tracebackhide__ = True
        from ..server import redirect

        names, fronts = self.host_names(hosts), listeners or self.hosts
        opened = fronts.of(names)
        proxies = redirect.proxies_of_environment()
        stand_ins = [fronts.proxy(names)] if proxies else []
        chosen = redirect.Redirect(
            names,
            {port: listener.port for port, listener in opened.items()},
            partial(fronts.hang_up, [*opened.values(), *stand_ins]),
            proxies={place: listener.port for place in proxies for listener in stand_ins},
            block_network=block_network or self.collector.settings.block_network,
            blocked=fronts.note_blocked,
        )
        redirect.begin(chosen)
        try:
            yield
        finally:
            redirect.end(chosen)

    def proxy_environ(self, hosts: Iterable[str] = ()) -> dict[str, str]:
        """The environment of a program whose connections to the service's hosts end here."""
        __tracebackhide__ = True
        from ..server.proxy import environment

        names = self.host_names(hosts)
        ports = {port: listener.port for port, listener in self.hosts.of(names).items()}
        proxy = f"http://{LOOPBACK}:{self.hosts.proxy(names).port}"
        return environment(proxy, ports, names, self.trust)

    def _open(self) -> Listener:
        context = None
        if self.collector.settings.tls:
            from ..server.tls import own_names, server_context

            context = server_context(own_names(self.server.host))
        collector = self.collector
        listener = self.server.open(lambda: collector, ssl_context=context)
        self.listeners.append(listener)
        self._listener = listener
        if self.opened is not None:
            self.opened(self)
        return listener
