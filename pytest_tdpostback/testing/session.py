"""A run of tests on one server: which test owns what arrives, and what arrives after its end."""

from __future__ import annotations

import sys
import weakref
from collections import deque
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING, Any

from ..collector.events import Event, Events
from ..errors import ConfigurationError
from ..protocol.escaping import escaped
from ..server.server import CollectorServer
from ..server.tls import authority
from .check import RESPONSE_SECONDS, raise_errors
from .postback import Member
from .receiver import Neighbours
from .server import PostbackServer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from ..collector.collector import Collector
    from ..protocol.settings import Settings
    from ..server.server import Listener
    from .postback import Postback
    from .receiver import Compare
    from .report import Summary

__tracebackhide__ = True  # a failure shows the lines of the test, not ours

PORTS_KEPT_OPEN = 256
"""How many ports of finished tests stay open at most, so that late events are noticed."""
PORTS_NOT_REUSED = 2_000
"""How many ports that the run used last are not taken again. Linux offers about 7,000 of them."""


class TestContext(Neighbours):
    """One test: its settings, its `Postback` objects, and whether it failed."""

    __test__ = False  # its name looks like that of a class of tests

    def __init__(self, server: RunServer, node_id: str, settings: Settings) -> None:
        self.node_id = node_id
        self.settings = settings
        self.compare = server.compare
        self.members: list[Member] = []
        self.collectors: list[Collector] = []
        """Those of its `Postback` objects, if something needed them."""
        self.failed = False
        """Whether the test has failed already: one failure is enough."""
        self.ended = False
        """Whether the test is over: what arrives from then on is late."""
        self._server = server
        self._own: Member | None = None
        self._held_by_fixture: list[Collector] = []
        self._redirects: ExitStack | None = None

    @property
    def own(self) -> Member:
        """The test's own `Postback`, which also receives what arrives at the server's URL."""
        if (own := self._own) is not None:  # the loop asks for each request, and must not wait
            return own
        with self._server.lock:
            if self._own is None:
                key = self._server.write_key
                self._own = self._new_member("tdpostback_server.postback", self.settings, key)
                self._own.receiver.generated_key = key
            return self._own

    def open(self) -> Postback:
        """The test's own `Postback`, with a port and a write key of its own."""
        receiver, _, postback = self.own
        if not receiver.own_port:
            if self.settings.tls:
                authority()  # raises without the extra
            receiver.own_port, receiver.name, receiver.generated_key = True, "tdpostback", None
        return postback

    def make(self, settings: Settings, write_keys: Iterable[str]) -> Postback:
        """Another `Postback` of this test."""
        if settings.tls:
            authority()  # raises without the extra
        member = self._new_member("other", settings)
        member.receiver.own_port = True
        member.receiver.collector.keys.add_all(write_keys)
        if settings.redirect or settings.block_network:
            self.redirect(member)
        return member.postback

    def _new_member(self, name: str, settings: Settings, key: str | None = None) -> Member:
        """Another `Postback`, which the test reaches by the expression `name`."""

        def make_collector() -> Collector:
            collector = self._server.make_collector(settings)
            if key is not None:
                collector.keys.add(key)
            self.used(collector)
            return collector

        server, setting = self._server, '@pytest.mark.tdpostback({}="{}")'
        member = Member.made(
            server,
            make_collector,
            server.trust,
            server.hosts,
            name=name,
            setting=setting,
            neighbours=self,
        )
        self.members.append(member)
        return member

    def redirect(self, member: Member) -> None:
        """Redirect the service's hosts to one of its `Postback` objects until it ends."""
        self._redirects = self._redirects or ExitStack()
        receiver = member.receiver
        self._redirects.enter_context(receiver.redirect(receiver.own_hosts))

    def used(self, collector: Collector) -> None:
        """Check it at the end of the test, or listen for late events if the test is over."""
        if not self.ended:
            self.collectors.append(collector)
            return
        reference, reached_late = weakref.ref(collector), self._server.reached_late

        def arrived() -> None:
            collector = reference()
            if collector is not None and collector.log:
                reached_late[collector] = self.node_id

        collector.subscribe(arrived)

    def begin_call(self) -> None:
        """The code of the test begins. What a fixture holds now, that fixture will release."""
        self._held_by_fixture = [each for each in self.collectors if each.holds]

    def check(self, *, last: bool = False) -> list[str]:
        """Raise what the test fails with: of the first of its `Postback` objects that fails.

        Before the last check, what a fixture holds may stay pending. The result is the texts of the
        findings that were not reported yet.
        """
        if self.failed or not self.collectors:
            return []
        try:
            raise_errors(self.collectors)
            used = [each for each in self.members if each.receiver.used]
            for receiver, check, _ in used:
                held = receiver.collector in self._held_by_fixture and receiver.collector.holds
                check.check(wait=last or not held)
        except BaseException:
            self.failed = True
            raise
        return [found for each in used for found in each.check.findings_to_warn_of()]

    def end(self) -> list[Member]:
        """End what the test did to this process, and give up its `Postback` objects."""
        if self._redirects is not None:
            self._redirects.close()
        redirect = sys.modules.get("pytest_tdpostback.server.redirect")
        if redirect is not None:  # else no redirect was ever made
            redirect.restore_environment()
        self.ended = True
        members, self.members, self._own = self.members, [], None
        self.collectors.clear()
        return members

    def owner_of(self, key: str, collector: Collector) -> str | None:
        """Whose write key `key` is; `None` if it is not known or is a key of `collector`."""
        if self.ended or key in collector.keys:
            return None
        if any(key in each.keys for each in self.collectors):
            return "another Postback of this test"
        server = self._server
        return "tdpostback_server" if key == server.write_key else server.owners.get(key)

    def events_at_other_urls(self, collector: Collector) -> Iterator[tuple[str, Event]]:
        """Events at other URLs of this test, and during it at those of finished tests."""
        for receiver, _, postback in self.members:
            if not postback.empty and receiver.collector is not collector:
                receiver.collector.wait_for_responses()
                for event in Events(receiver.collector.log):
                    yield _sent_to(event, receiver.url), event
        server = self._server
        for reached, test in [] if self.ended else list(server.reached_late.items()):
            reached.wait_for_responses()
            urls = [each.url for each in server.kept_open if each.current_collector() is reached]
            for event in Events(reached.log):
                yield f"{_sent_to(event, [*urls, server.url][0])} of {test}", event


class RunServer(PostbackServer):
    """The server of a run of tests. What arrives at its URL belongs to the test that runs now."""

    def __init__(self, settings: Settings, summary: Summary, compare: Compare) -> None:
        """`settings` are those of the run; `summary` takes what is reported at its end.

        `compare` is how pytest shows that two values differ; it gives `None` without `-vv`.
        """
        super().__init__(**vars(settings))
        self.context: TestContext | None = None
        """The test that runs now."""
        self.compare = compare
        self.summary = summary
        self._own.receiver.name = "tdpostback_server.postback"
        self._own.receiver.setting = "tdpostback_{} = {} in the ini file"
        self._stopped_by = ""
        """The id of the test that stopped the server last."""
        self.reached_late: dict[Collector, str] = {}
        """The ids of finished tests, by the collectors with their late events: those that came
        during the test that runs now or have no outcome yet. The others are in the summary."""
        self.kept_open: deque[Listener] = deque()
        """The listeners of finished tests, the oldest first."""
        self._most_open = PORTS_KEPT_OPEN
        with suppress(ImportError):  # Windows does not count sockets among open files
            import resource

            descriptors, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
            self._most_open = min(PORTS_KEPT_OPEN, descriptors // 4)
        self._used_ports: dict[int, None] = {}
        """Those that were used last, the oldest first."""
        self.owners: dict[str, str] = {}
        """For the write keys of finished tests: the id of the test."""

    @property
    def postback(self) -> Postback:
        """The `Postback` of the test that runs now; between tests, that of the run."""
        return (self.context.own if self.context else self._own).postback

    def current_collector(self) -> Collector:
        """The collector of the test that runs now; between tests, that of the run."""
        return self.context.own.receiver.collector if self.context else self.collector

    def begin(self, node_id: str, settings: Settings) -> TestContext:
        """From now on, what arrives at this server's URL belongs to a test.

        The server starts again if the test before stopped it.
        """
        if not self.is_running():
            try:
                self.start()
            except ConfigurationError as error:
                raise ConfigurationError(
                    f"{self._stopped_by} stopped tdpostback_server, so it has to start again: "
                    f"{str(error).partition(';')[0]}; free that port, or do not stop the server"
                ) from None
        for collector in list(self.reached_late):
            collector.wait_for_responses(RESPONSE_SECONDS)
            if collector.settled():
                self._note_late(collector)
        self.context = TestContext(self, node_id, settings)
        return self.context

    def end(self, context: TestContext) -> None:
        """A test is over. Its events are forgotten; its ports stay open for a while."""
        if self.context is context:
            self.context = None
        for receiver, check, _ in context.end():
            if "faults" in vars(receiver):  # a cached property
                receiver.faults.clear()
            receiver.ended_test = context.node_id
            self.kept_open += receiver.listeners
            receiver.listeners = self.kept_open
            if receiver.generated_key is not None:
                self.owners[receiver.generated_key] = context.node_id
            if not receiver.used:
                continue
            collector = receiver.collector
            for rule in check.reported:
                self.summary.findings[rule] += 1
            with collector.lock:
                if collector.log:
                    late = [] if context.failed else check.unchecked()
                    self.summary.take(collector, context.node_id, late)
                context.used(collector)
        if len(self.kept_open) > self._most_open:
            oldest = [self.kept_open.popleft() for _ in range(len(self.kept_open) // 4)]
            self.close_listeners(oldest)
            for listener in oldest:
                self._note_late(listener.current_collector())

    def open_listener(self, collector: Callable[[], Collector], **options: Any) -> Listener:
        """Open a port that this run has not used lately."""
        rejected: list[Listener] = []
        while (listener := super().open_listener(collector, **options)).port in self._used_ports:
            if len(rejected) == 100:  # the machine has few ports
                break
            rejected.append(listener)  # open until the end, or the system may offer it again
        self.close_listeners(rejected)
        self._used_ports[listener.port] = None
        if len(self._used_ports) > PORTS_NOT_REUSED:
            del self._used_ports[next(iter(self._used_ports))]
        return listener

    def stop(self) -> None:
        """Stop serving; note what reached finished tests."""
        self._stopped_by = self.context.node_id if self.context else "something between two tests"
        CollectorServer.stop(self)
        self.close_listeners(self.kept_open)  # a start does not open them again
        self.kept_open.clear()
        self.note_late_events()

    def check(self) -> None:
        """Raise what went wrong between tests. What went wrong within one failed that one."""
        self.handler_errors.clear()
        self._own.check.check()

    def note_late_events(self) -> None:
        """Put what reached finished tests, and what came after the last test, in the summary."""
        for collector in list(self.reached_late):
            self._note_late(collector)
        if self.collector.log:
            self.summary.take(self.collector, "between tests", Events(self.collector.log))

    def _note_late(self, collector: Collector) -> None:
        test = self.reached_late.pop(collector, None)
        if test is not None:
            collector.wait_for_responses(0)
            with collector.lock:
                self.summary.take(collector, test, Events(collector.log))


def _sent_to(event: Event, url: str) -> str:
    """Where `event`, which arrived at `url` or instead at a host of the service, was sent."""
    host = escaped(event.request.head.host)
    if ":" not in host:  # a host of the service: what it is called with has no port
        return host or url
    return f"{url.partition(':')[0]}://{host}"
