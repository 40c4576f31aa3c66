"""Where the events of one collector arrive: its URL, its ports, and what a message calls it."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from ..protocol.profiles import by_host
from ..server.host_listeners import HostListeners
from ..server.tls import own_context

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, MutableSequence

    from ..collector.collector import Collector
    from ..collector.events import Event
    from ..server.faults import FaultHandle, Faults
    from ..server.redirect import Redirection
    from ..server.server import CollectorServer, Listener
    from ..server.tls import TrustFiles

    Compare = Callable[[object, object], list[str] | None]

__tracebackhide__ = True  # a failure shows the lines of the test, not ours


class Neighbours:
    """The test that a receiver belongs to, and what is around it. Here: nothing."""

    compare: Compare = staticmethod(lambda wanted, got: None)  # noqa: ARG005
    """How two values differ, both in full, if the user asked for that (`-vv`)."""

    def owner_of(self, key: str, collector: Collector) -> str | None:  # noqa: ARG002
        """Whose write key `key` is; `None` if it is not known or is a key of `collector`."""
        return None

    def events_at_other_urls(self, collector: Collector) -> Iterator[tuple[str, Event]]:  # noqa: ARG002
        """Events that arrived at other collectors while `collector` waits, with their URLs."""
        return iter(())


class Receiver:
    """Where the events of one collector arrive.

    It has the URL of the server, or a port of its own, which opens when somebody asks for the URL.
    """

    def __init__(
        self,
        server: CollectorServer,
        make_collector: Callable[[], Collector],
        trust: TrustFiles,
        shared_hosts: HostListeners,
        *,
        name: str,
        setting: str,
        neighbours: Neighbours | None = None,
    ) -> None:
        """A receiver on `server`.

        `make_collector()` is called when something first needs the collector, because that would be
        most of the cost of a test that does not use its `Postback`. `name` is the expression by
        which a test reaches the `Postback`, `setting` the code that sets `{}` to `{}`.
        """
        self.server = server
        self.trust = trust
        self.name = name
        self.setting = setting
        self.shared_hosts = shared_hosts
        self.own_port = False
        """Whether it has a port of its own; else it has the URL of the server."""
        self.neighbours = neighbours or Neighbours()
        self.listeners: MutableSequence[Listener] = []
        """Takes everything that is opened for it."""
        self.generated_key: str | None = None
        """The write key, if somebody asked for it."""
        self.ended_test = ""
        """The test that it belongs to, if that has ended: what arrives now is late."""
        self.used = False
        """Whether something needed the collector."""
        self._in_process = False
        self._listener: Listener | None = None
        self._make_collector = make_collector
        self._collector: Collector | None = None

    @property
    def collector(self) -> Collector:
        """The collector that receives the events."""
        if self._collector is None:
            with self.server.lock:
                if self._collector is None:
                    self._collector = self._make_collector()
                    self.used = True
        return self._collector

    @property
    def collector_in_process(self) -> Collector:
        """The collector, for a client without a socket: it can send though the server stopped."""
        self._in_process = True
        return self.collector

    @property
    def closed(self) -> bool:
        """Whether nothing can arrive in time any more, or get its outcome."""
        if self.server.is_running() or self._in_process:
            return bool(self.ended_test)
        return self.collector.settled()

    @property
    def url(self) -> str:
        """The base URL, no trailing slash."""
        if not self.own_port:
            return self.server.url_for("/").rstrip("/")
        with self.server.lock:
            if self._listener is None:
                collector = self.collector
                context = own_context(self.server.host) if collector.settings.tls else None
                self._listener = self.server.open_listener(lambda: collector, ssl_context=context)
                self.listeners.append(self._listener)
            return self._listener.url

    @property
    def write_key(self) -> str:
        """A valid write key, which is generated when somebody first asks for it."""
        if self.generated_key is None:
            self.server.check_not_copy()
            self.generated_key = self.collector.keys.add()
        return self.generated_key

    @cached_property
    def faults(self) -> Faults:
        """The faults of the collector."""
        from ..server.faults import Faults

        return Faults(self.collector)

    def unmatched_faults(self) -> list[FaultHandle]:
        """The faults whose limits matched no event."""
        return self.faults.unmatched() if "faults" in vars(self) else []

    @property
    def hosts(self) -> HostListeners:
        """The listeners in place of the service's hosts."""
        return self.own_hosts if self.own_port else self.shared_hosts

    @cached_property
    def own_hosts(self) -> HostListeners:
        """Listeners in place of the service's hosts for this collector alone."""
        collector = self.collector
        return HostListeners(self.server, lambda: collector, self.listeners)

    def redirect(
        self, hosts: HostListeners, more_names: Iterable[str] = (), *, block_network: bool = False
    ) -> Redirection:
        """A context manager that connects this process to `hosts`, not to the service."""
        from ..server.redirect import Redirection

        return Redirection(
            lambda: hosts.redirect(
                self._host_names(more_names),
                block_network=block_network or self.collector.settings.block_network,
                allow_hosts=self.collector.settings.allow_hosts,
            )
        )

    def proxy_environ(self, more_names: Iterable[str] = ()) -> dict[str, str]:
        """The environment of a subprocess whose connections to the service's hosts end here."""
        return self.hosts.proxy_environ(self._host_names(more_names), self.trust)

    def _host_names(self, more: Iterable[str]) -> tuple[str, ...]:
        settings = self.collector.settings
        given = settings.changed({"extra_hosts": more}, "hosts").extra_hosts
        return tuple(sorted({*by_host, *settings.extra_hosts, *given}))
