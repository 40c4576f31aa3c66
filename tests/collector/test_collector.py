"""Receiving, validating, waiting: what the collector promises to the layers above it."""

from __future__ import annotations

import logging
import threading

import pytest

from pytest_tdpostback import ConfigurationError
from pytest_tdpostback.collector import collector as collectors
from pytest_tdpostback.collector.collector import Collector, Effect
from pytest_tdpostback.collector.events import Events
from pytest_tdpostback.collector.waiting import Cancellation, WaitCancelled, this_thread
from pytest_tdpostback.protocol.request import RequestHead
from pytest_tdpostback.protocol.settings import Settings
from tests.collector.conftest import KEY

DEADLINE = 10.0


class ManualTimers:
    """Timers that a test fires by hand."""

    def __init__(self):
        self.waiting = []

    def call_later(self, seconds, function):
        timer = _ManualTimer(self, seconds, function)
        self.waiting.append(timer)
        return timer

    def fire(self):
        """Fire the one timer there is."""
        (timer,) = self.waiting
        self.waiting.clear()
        timer.function()


class _ManualTimer:
    def __init__(self, timers, seconds, function):
        self._timers = timers
        self.seconds = seconds
        self.function = function

    def cancel(self):
        self._timers.waiting.remove(self)


@pytest.fixture
def now(monkeypatch):
    """Real time that a test sets: `now[0]`, in seconds."""
    moment = [1000.0]
    monkeypatch.setattr(collectors, "real_time", lambda: moment[0])
    return moment


@pytest.fixture
def timers():
    return ManualTimers()


@pytest.fixture
def slow(timers):
    """A collector that validates an hour later."""
    collector = Collector(Settings(validation_delay=3600), call_later=timers.call_later)
    collector.keys.add(KEY)
    return collector


def states(collector):
    return [str(event.state) for event in Events(collector.log)]


def test_an_event_is_pending_until_its_response_is_sent(collector, receive):
    exchange = receive(collector)
    assert states(collector) == ["pending"]
    collector.response_sent(exchange)
    collector.response_sent(exchange)
    assert states(collector) == ["ingested"]
    assert len(collector.log.records("web", "visits")) == 1


def test_an_event_that_is_due_earlier_does_not_wait_for_one_that_is_due_later(
    slow, store, now, timers
):
    store(slow)
    slow.configure(Settings(validation_delay=1))
    store(slow)
    now[0] += 2
    timers.fire()
    assert states(slow) == ["pending", "ingested"]
    now[0] += 3600
    timers.fire()
    assert states(slow) == ["ingested", "ingested"]
    assert not timers.waiting


def test_clear_cancels_the_timer_of_what_was_pending(slow, store, timers):
    store(slow)
    assert len(timers.waiting) == 1
    slow.clear()
    assert not timers.waiting


def test_a_late_response_is_reported_to_the_log_of_its_event(collector, receive):
    before = receive(collector)
    log = collector.log
    collector.clear()
    receive(collector)
    collector.response_sent(before)
    assert states(collector) == ["pending"]
    assert [str(event.state) for event in Events(log)] == ["ingested"]
    assert Events(collector.log)[0].seq == 2


class _SlowLogHandler(logging.Handler):
    """A handler of Python's log that takes as long as a test wants."""

    def __init__(self):
        super().__init__()
        self.began, self.may_end = threading.Event(), threading.Event()
        self.messages = []

    def emit(self, record):
        self.began.set()
        self.may_end.wait(DEADLINE)
        self.messages.append(record.getMessage())


@pytest.mark.parametrize("way", ["refused", "rejected", "rejected later"])
def test_a_loss_is_in_the_log_of_python_once_nothing_is_in_progress(way, receive, timers, now):
    """[W4] whoever waited for the outcome reads the line about it."""
    delay = 3600 if way == "rejected later" else 0
    collector = Collector(Settings(validation_delay=delay), call_later=timers.call_later)

    def lose():
        exchange = receive(collector, [] if way == "refused" else {})
        collector.response_sent(exchange)
        if delay:
            now[0] += delay
            timers.fire()

    logger, handler = logging.getLogger("pytest_tdpostback"), _SlowLogHandler()
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    sender = threading.Thread(target=lose)
    try:
        sender.start()
        assert handler.began.wait(DEADLINE)
        assert collector.settled()
        assert collector.log.in_progress == 1
        handler.may_end.set()
        collector.wait_for_responses(DEADLINE)
        assert len(handler.messages) == 1
    finally:
        handler.may_end.set()
        logger.removeHandler(handler)
        logger.setLevel(level)
        sender.join(DEADLINE)


def test_a_release_without_a_hold_is_an_error_and_changes_nothing(collector, store):
    with pytest.raises(ConfigurationError, match="not held"):
        collector.release()
    store(collector)
    assert states(collector) == ["ingested"]


def test_every_hold_needs_its_release(collector, store):
    collector.hold()
    collector.hold()
    store(collector)
    collector.release()
    assert states(collector) == ["pending"]
    assert collector.why_pending(5) == "validation is held"
    collector.release()
    assert states(collector) == ["ingested"]


def test_old_events_keep_the_settings_they_were_judged_by(collector, store):
    store(collector, {"n": 1})
    store(collector, {"n": 1}, **{"X-TD-Write-Key": ""}, Authorization=f"TD1 {KEY}")
    collector.configure(Settings().changed({"profile": "v2-2.0.0", "value_types": "string"}))
    store(collector, {"n": 1}, **{"X-TD-Write-Key": ""}, Authorization=f"TD1 {KEY}")
    first, second, third = Events(collector.log)
    assert first.columns()["n"] == 1
    assert (str(second.state), second.rule) == ("refused", "A4")
    assert third.columns()["n"] == "1"


def test_subscribers_are_called_without_the_lock(collector, store):
    seen = []

    def look():
        other = threading.Thread(target=lambda: seen.append(len(collector.account().__str__())))
        other.start()
        other.join(DEADLINE)

    unsubscribe = collector.subscribe(look)
    store(collector)
    assert len(seen) == 2, "one call for the arrival, one for the outcome"
    unsubscribe()
    store(collector)
    assert len(seen) == 2


def test_a_condition_is_asked_without_the_lock(collector, store):
    def condition():
        other = threading.Thread(target=store, args=(collector,))
        other.start()
        other.join(DEADLINE)
        return not other.is_alive()

    assert collector.wait_until(condition, 0)


def test_a_condition_of_a_fault_is_asked_without_the_lock(collector, receive):
    def hook(arrival):
        assert dict(arrival)["id"] == 1
        other = threading.Thread(target=collector.account)
        other.start()
        other.join(DEADLINE)
        return None if other.is_alive() else Effect("drop", stored=False)

    collector.fault_hook = hook
    receive(collector)
    assert states(collector) == ["lost"]


def test_a_wait_ends_with_the_change_that_meets_its_condition(collector, store):
    threading.Thread(target=store, args=(collector,)).start()
    assert collector.wait_until(lambda: len(collector.log.records()), DEADLINE) == 1


def test_a_wait_gives_the_last_value_when_its_time_is_over(collector):
    assert collector.wait_until(lambda: 0, 0.01) == 0


def test_a_wait_decides_what_becomes_due_meanwhile(slow, store):
    slow.configure(Settings(validation_delay=0.05))
    store(slow)
    assert slow.settle(DEADLINE)


def test_a_wait_can_be_cancelled_from_another_thread(collector):
    cancellation, ended = Cancellation(), []
    waits = threading.Event()

    def never():
        waits.set()
        return False

    def wait():
        this_thread.cancellation = cancellation
        try:
            collector.wait_until(never, 3600)
        except WaitCancelled:
            ended.append("cancelled")

    thread = threading.Thread(target=wait, daemon=True)
    thread.start()
    assert waits.wait(DEADLINE)
    cancellation.cancel()
    thread.join(DEADLINE)
    assert ended == ["cancelled"]


def test_a_response_that_was_returned_counts_as_sent_when_somebody_waits(collector, receive):
    exchange = receive(collector)
    collector.response_returned(exchange)
    assert states(collector) == ["pending"]
    assert collector.settle(0)
    assert states(collector) == ["ingested"]


def test_the_log_tells_changes_in_the_order_in_which_they_happened(collector, receive):
    first, second = receive(collector), receive(collector)
    collector.response_sent(second)
    collector.response_sent(first)
    changes = [collector.log.change(number) for number in range(len(collector.log.changes))]
    assert changes == [(0, False), (1, False), (1, True), (0, True)]


def test_a_pending_event_fails_with_a_key_that_is_revoked_meanwhile(collector, store):
    """[Y4] the key is judged when the event is validated."""
    collector.hold()
    store(collector)
    collector.keys.revoke(KEY)
    collector.release()
    (event,) = Events(collector.log)
    assert (str(event.state), event.rule) == ("rejected", "A5")
    assert event.reason == "write key 12345/abc… was revoked"


def test_refused_connections_wake_who_waits_and_are_forgotten_by_clear(collector):
    threading.Thread(target=collector.note_refused_connection, args=("no HTTP",)).start()
    refused = collector.wait_until(lambda: collector.refused_connections, DEADLINE)
    assert [each.reason for each in refused] == ["no HTTP"]
    collector.clear()
    assert collector.refused_connections == []


def test_a_preflight_after_which_a_browser_sends_nothing_is_noted(collector):
    fields = {"Host": "127.0.0.1:80", "Origin": "http://a.example"}
    for method in ("POST", "PUT"):
        asked = fields | {"Access-Control-Request-Method": method}
        head = RequestHead.of("OPTIONS", "/postback/v3/event/shop/orders", asked.items())
        assert collector.receive(head, b"", "127.0.0.1:1").response.status == 204
    assert not collector.log
    (noted,) = collector.refused_connections
    reason = "127.0.0.1:1 at 127.0.0.1:80: its preflight asks for the method PUT;"
    assert noted.reason.startswith(reason)
