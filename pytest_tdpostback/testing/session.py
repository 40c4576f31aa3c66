"""A test run: which test owns what arrives, and what is left of it when the test is over."""

from __future__ import annotations

import weakref
from collections import deque
from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING, Any

from ..collector.events import Events
from .postback import Postback
from .report import NewFindings, Tally
from .server import PostbackServer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from ..collector.collector import Collector
    from ..collector.events import Event
    from ..protocol.findings import Finding
    from ..protocol.settings import Settings
    from ..server.listener import Listener
    from .assertions import Assertions

KEPT_PORTS = 256
"""Listening ports of finished tests that stay open, so that late requests are heard."""
BATCH = 16
"""Ports that are opened at once: waking the server's thread costs more than a port."""
REMEMBERED_KEYS = 4_096
"""Write keys of finished tests whose owner is remembered, for the text of a failure."""


class Scope:
    """The doubles of one test, made when they are needed."""

    def __init__(self, server: RunServer, name: str, settings: Settings) -> None:
        """`name` is the test's id, `settings` those of its marker, options and ini."""
        self.name = name
        self.settings = settings
        self.postbacks: list[Postback] = []
        self.failed = False
        """Whether the test has failed already: one failure is enough."""
        self.late: dict[Collector, tuple[str, int]] = {}
        """Collectors of finished tests that were reached meanwhile: where, and the first event."""
        self._server = server
        self._own: Postback | None = None
        self._findings: dict[Postback, NewFindings] = {}
        self._held: set[Postback] = set()
        self._redirects: ExitStack | None = None

    @property
    def postback(self) -> Postback:
        """The test's own double, which also takes what arrives at the run's address."""
        with self._server.making:
            if self._own is None:
                self._own = self._server.new_postback(self.settings, key=self._server.write_key)
                self.postbacks.append(self._own)
            return self._own

    def open(self) -> Postback:
        """The test's own double on a port of its own."""
        postback = self.postback
        if not postback.listens:
            _check_tls(self.settings)
            postback.listen()
            self.redirect()
            postback.renew_key()
        return postback

    def redirect(self) -> None:
        """Lead the service's hosts to the test's own double, where a setting says so."""
        if self._redirects is None and _redirects(self.settings):
            self._redirect(self.postback)

    def make(self, settings: Settings, write_keys: Iterable[str]) -> Postback:
        """A further double of this test."""
        __tracebackhide__ = True
        _check_tls(settings)
        made = self._server.new_postback(settings)
        made.keys.add_all(write_keys)
        made.listen()
        if _redirects(settings):
            self._redirect(made)
        self.postbacks.append(made)
        return made

    @property
    def quiet(self) -> bool:
        """Whether a check of its doubles would find nothing new."""
        return all(postback.quiet for postback in self.postbacks)

    def call(self) -> None:
        """The test's own code begins: what a fixture holds until now, it will release."""
        self._held = {each for each in self.postbacks if each.held}

    def check(self, *, last: bool = False) -> None:
        """Raise what the test fails with; the first of its doubles that has something to say.

        Until the `last` check, what a fixture holds may stay pending.
        """
        __tracebackhide__ = True
        if self.failed:
            return
        try:
            for postback in self.postbacks:
                held = postback in self._held and postback.held
                postback.check(wait=last or not held)
        except BaseException:
            self.failed = True
            raise

    def findings(self) -> Iterator[tuple[Event, Finding]]:
        """Findings that were not told yet."""
        for postback in self.postbacks:
            if not postback.empty:
                yield from self._findings.setdefault(postback, NewFindings(postback))

    def count_finding(self, finding: Finding) -> None:
        """Have the summary of the run count `finding`."""
        self._server.tally.findings[finding.rule] += 1

    def end(self) -> None:
        """End what the doubles did to this process; their ports stay open."""
        self._findings.clear()
        if self._redirects is not None:
            self._redirects.close()
        if any(postback.redirected for postback in self.postbacks):
            from ..server.redirect import restore_environment

            restore_environment()

    @property
    def listeners(self) -> list[Listener]:
        """What the doubles listen with."""
        return [listener for postback in self.postbacks for listener in postback.listeners]

    def _redirect(self, postback: Postback) -> None:
        self._redirects = self._redirects or ExitStack()
        self._redirects.enter_context(postback._redirection(postback.own_host_listeners))


class RunServer(PostbackServer):
    """The shared server of a test run: its own address belongs to the test running now."""

    def __init__(self, settings: Settings, tally: Tally) -> None:
        """`settings` are those of the run; `tally` takes what its summary tells."""
        super().__init__(**vars(settings))
        self.scope: Scope | None = None
        self.tally = tally
        self._late: dict[Collector, str] = {}
        """Collectors of finished tests that were reached since: of which test."""
        self._urls: weakref.WeakKeyDictionary[Collector, str] = weakref.WeakKeyDictionary()
        self._portless: weakref.WeakKeyDictionary[Collector, str] = weakref.WeakKeyDictionary()
        """Collectors of finished tests that nobody had asked for a URL yet: of which test."""
        self._finished: deque[list[Listener]] = deque()
        self._kept = 0
        self._most_kept = min(KEPT_PORTS, _descriptors() // 4)
        self._spare: list[Listener] = []
        self._owners: dict[str, str] = {}

    @property
    def postback(self) -> Postback:
        """The `Postback` of the test running now; between tests, of the run."""
        scope = self.scope
        return scope.postback if scope else self._postback

    def new_postback(self, settings: Settings, key: str | None = None) -> Postback:
        """A double whose address is this server's until it listens on its own."""
        return Postback(self, partial(self._new_collector, settings, key), write_key=key)

    def begin(self, name: str, settings: Settings) -> Scope:
        """The test `name` owns from now on what arrives here."""
        self.scope = Scope(self, name, settings)
        return self.scope

    def end(self, scope: Scope) -> None:
        """The test of `scope` is over, and so are its faults; its ports stay open for a while."""
        if self.scope is scope:
            self.scope = None
        scope.end()
        for postback in scope.postbacks:
            self._forget(postback, scope)
        listeners = scope.listeners
        if listeners:
            self._keep(listeners)
            if self._kept >= self._most_kept + BATCH:
                self._close_oldest()

    def open_listener(self, collector: Callable[[], Collector], **options: Any) -> Listener:
        """As any server does; plain ports are opened in batches."""
        if any(options.values()) or not self.is_running():
            return super().open_listener(collector, **options)
        try:
            listener = self._spare.pop()
        except IndexError:
            first, *further = self._open_batch()
            self._spare += further
            listener = first
        listener.collector = collector
        return listener

    def opened(self, collector: Collector, listener: Listener) -> None:
        """One that a finished test left running stays open for a while, as the others do."""
        test = self._portless.get(collector)
        if test is not None:
            self._urls[collector] = listener.url
            self._keep([listener])

    def stop(self) -> None:
        """Stop, and note what reached finished tests late."""
        super().stop()
        self._finished.clear()
        for collector in list(self._late):
            self._note_late(collector)

    def check(self) -> None:
        """Raise what went wrong between tests; what went wrong within one failed that one."""
        __tracebackhide__ = True
        self.handler_errors.clear()
        self._postback.check()

    def owner_of(self, key: str, asking: Assertions) -> str | None:
        """The test or double whose write key `key` is; `None` where it is that of `asking`."""
        if key in asking._collector.keys:
            return None
        scope = self.scope
        if scope and any(key in each.keys for each in scope.postbacks):
            return "another double of this test"
        if key == self.write_key:
            return "tdpostback_server"
        return self._owners.get(key)

    def elsewhere(self, postback: Assertions) -> Iterator[tuple[str, Event]]:
        """What reached the other doubles of this test, or during it those of finished tests."""
        scope = self.scope
        if scope is None or postback not in scope.postbacks:
            return
        own = [each for each in scope.postbacks if each != postback and not each.empty]
        others = [(each._collector, each.url, 0) for each in own]
        others += [(each, *late) for each, late in list(scope.late.items())]
        for collector, where, first in others:
            collector.wait_for_responses()
            yield from ((where, event) for event in Events(collector.log) if event.seq >= first)

    def name_of(self, postback: Assertions) -> str:
        """How a test calls `postback`; a double that it made has a name of its own choice."""
        if self.scope is None or postback not in self.scope.postbacks:
            return "tdpostback_server.postback"
        if postback is not self.scope._own:
            return "double"
        return "tdpostback" if self.scope._own.listens else "tdpostback_server.postback"

    def lenience(self, postback: Assertions) -> str:
        """What lets every failure at `postback` pass."""
        if postback is self._postback:
            return "for the whole run, --tdpostback-on-auth-failure=ignore"
        return 'for the whole test, @pytest.mark.tdpostback(on_auth_failure="ignore")'

    def _forget(self, postback: Postback, scope: Scope) -> None:
        """Make room: what arrives from now on is late, what arrived is not needed any more."""
        with self.making:
            if postback.untouched:
                make = partial(self._late_collector, scope.name, postback._make_collector)
                postback._make_collector = make
                return
        collector = postback._collector
        if "faults" in vars(postback):
            postback.faults.clear()
        self._watch(collector, scope.name, postback._listener.url if postback._listener else "")
        if postback._write_key is not None:
            self._owners[postback._write_key] = scope.name
            if len(self._owners) > REMEMBERED_KEYS:
                del self._owners[next(iter(self._owners))]
        if collector.empty:
            return
        with collector.lock:
            self.tally.count(postback)
            if not scope.failed and not postback.quiet:
                self.tally.arrived_late(scope.name, postback.unchecked())
            postback.clear()

    def _new_collector(self, settings: Settings, key: str | None) -> Collector:
        collector = self.make_collector(settings)
        if key is not None:
            collector.keys.add(key)
        return collector

    def _late_collector(self, test: str, make: Callable[[], Collector]) -> Collector:
        """One that is asked for by what a finished test left running."""
        collector = make()
        self._watch(collector, test)
        return collector

    def _watch(self, collector: Collector, test: str, url: str = "") -> None:
        """Hear of what reaches `collector`, of the finished `test`, from now on."""
        collector.subscribe(
            partial(self._came_late, test, weakref.ref(collector), [collector.next_seq])
        )
        self._urls[collector] = url
        if not url:
            self._portless[collector] = test

    def _came_late(self, test: str, reached: weakref.ref[Collector], known: list[int]) -> None:
        """Note that an event reaches a finished test, and the first one while another runs."""
        collector = reached()
        if collector is None or collector.next_seq == known[-1]:
            return
        first, known[0] = known[0], collector.next_seq
        self._late[collector] = test
        scope = self.scope
        if scope is not None:
            scope.late.setdefault(
                collector, (f"{self._urls[collector] or self.url} of {test}", first)
            )

    def _keep(self, listeners: list[Listener]) -> None:
        self._finished.append(listeners)
        self._kept += len(listeners)

    def _close_oldest(self) -> None:
        oldest: list[Listener] = []
        while self._kept > self._most_kept:
            listeners = self._finished.popleft()
            self._kept -= len(listeners)
            oldest += listeners
        self._close_batch(oldest)
        for listener in oldest:
            self._note_late(listener.collector())

    def _open_batch(self) -> list[Listener]:
        return self.open_listeners(BATCH)

    def _close_batch(self, batch: list[Listener]) -> None:
        self.close_listeners(batch)

    def _note_late(self, collector: Collector) -> None:
        test = self._late.pop(collector, None)
        if test is None:
            return
        with collector.lock:
            self.tally.arrived_late(test, Events(collector.log))
            collector.clear()


def _redirects(settings: Settings) -> bool:
    return settings.redirect or settings.block_network


def _check_tls(settings: Settings) -> None:
    """Raise `ConfigurationError` where the setting asks for what is not installed."""
    if settings.tls:
        from ..server.tls import authority

        authority()


def _descriptors() -> int:
    """How many files this process may have open."""
    try:
        import resource
    except ImportError:  # Windows has no such limit on sockets
        return 4 * KEPT_PORTS
    return min(resource.getrlimit(resource.RLIMIT_NOFILE)[0], 4 * KEPT_PORTS)
