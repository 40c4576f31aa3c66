"""`PostbackServer` without pytest is as strict as the fixtures."""

from __future__ import annotations

import asyncio
import copy
import pickle
import sys
import warnings
from typing import Any

import pytest
import requests

from pytest_tdpostback import (
    ConfigurationError,
    PostbackServer,
    PostbackWarning,
    SettleTimeout,
    UnexpectedAuthFailure,
)


def send(server, key="12345/abcdef"):
    requests.post(
        server.postback.event_url("shop", "orders"),
        json={"id": 7},
        headers={"X-TD-Write-Key": key},
        timeout=10,
    )


def lose_one(server):
    send(server)
    server.postback.settle()


def test_check_raises_once_what_a_test_would_fail_with():
    with PostbackServer() as server:
        lose_one(server)
        with pytest.raises(UnexpectedAuthFailure, match="Silent loss") as caught:
            server.check()
        assert [event.seq for event in caught.value.events] == [1]
        server.check()


def test_check_names_what_there_is_without_pytest():
    with PostbackServer() as server:
        lose_one(server)
        with pytest.raises(UnexpectedAuthFailure) as caught:
            server.check()
    assert str(caught.value).splitlines() == [
        "Silent loss: 1 event got 200 but was never stored.",
        "  #1 POST shop.orders: write key 12345/abc… is unknown (A5)",
        (
            "Fix: send server.postback.write_key, or register yours: "
            'server.postback.keys.add("12345/abc…")'
        ),
        'Expected? with server.postback.expect_auth_failure("shop", "orders"): ...',
        'Expected every time? PostbackServer(on_auth_failure="ignore")',
        "tdpostback rules A5",
    ]


@pytest.mark.parametrize(
    ("setting", "value", "key"),
    [
        ("on_refusal", "ignore", None),
        ("on_unasserted", "ignore", "1/a"),
        ("on_finding", "ignore:R8", "1/a"),
    ],
)
def test_check_names_the_argument_that_allows_it(setting, value, key):
    settings: Any = {setting: "fail"}
    with PostbackServer(write_keys=["1/a"], **settings) as server:
        requests.post(
            server.postback.event_url("Shop", "orders"),
            json={"id": 7},
            headers={"X-TD-Write-Key": key},
            timeout=10,
        )
        with pytest.raises(AssertionError) as caught:
            server.check()
        assert f'llow it: PostbackServer({setting}="{value}")' in str(caught.value)
        server.postback.clear()


def test_a_loss_that_nobody_looked_at_is_a_warning():
    with (
        pytest.warns(PostbackWarning, match=r"nobody called server\.check\(\)"),
        PostbackServer() as server,
    ):
        lose_one(server)


def test_a_loss_that_was_still_pending_is_a_warning():
    with (
        pytest.warns(PostbackWarning, match="UnexpectedAuthFailure: Silent loss: 1 event"),
        PostbackServer(validation_delay=0.2) as server,
    ):
        send(server)


def test_what_is_pending_for_longer_is_a_warning():
    with (
        pytest.warns(PostbackWarning, match="SettleTimeout: 1 event still pending"),
        PostbackServer(validation_delay=3600) as server,
    ):
        send(server, server.write_key)


def test_an_error_while_serving_is_a_warning():
    class Broken(PostbackServer):
        def dispatch(self, _):
            raise ZeroDivisionError("no answer today")

    with (
        pytest.warns(PostbackWarning, match="ZeroDivisionError: no answer today"),
        Broken(inspection=True) as server,
    ):
        requests.get(f"{server.url}/.tdpostback/", timeout=10)


def test_an_expected_loss_is_none():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with PostbackServer() as server, server.postback.expect_auth_failure():
            lose_one(server)


def test_an_error_on_its_way_is_not_hidden():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(ZeroDivisionError), PostbackServer() as server:  # noqa: PT012
            lose_one(server)
            raise ZeroDivisionError


def test_what_is_expected_stays_so_when_the_context_ends_with_an_error():
    with PostbackServer() as server:
        with pytest.raises(ZeroDivisionError), server.postback.expect_auth_failure():  # noqa: PT012
            lose_one(server)
            raise ZeroDivisionError
        server.check()


def test_what_cannot_settle_is_named_at_once():
    with PostbackServer(validation_delay=3600) as server:
        requests.post(
            server.postback.event_url("shop", "orders"),
            json={"id": 7},
            headers={"X-TD-Write-Key": server.write_key},
            timeout=10,
        )
        with pytest.raises(SettleTimeout, match=r"1 event still pending: the next one is due in"):
            server.check()
        server.postback.clear()


@pytest.mark.parametrize("odd", [float("nan"), float("inf"), 1e30, 10**400, -1e10, 3e11, "now"])
def test_a_clock_knows_no_other_time_than_an_answer_can_say(odd):
    with PostbackServer() as server:
        clock = server.postback.clock
        with pytest.raises(ConfigurationError, match=r"clock.freeze\(.*1970 to 9999|seconds"):
            clock.freeze(odd)
        with pytest.raises(ConfigurationError, match=r"clock.advance\(.*1970 to 9999|seconds"):
            clock.advance(odd)
        clock.freeze(253_402_300_799)
        with pytest.raises(ConfigurationError, match="1970 to 9999"):
            clock.advance(1)
        clock.advance(-1)
        send(server, server.write_key)
        record = server.postback.assert_ingested("shop", "orders", id=7)
        assert record["time"] == "253402300798"


def test_a_url_with_a_key_is_shown_without_it():
    with PostbackServer() as server:
        url = server.postback.event_url("shop", "orders", td_write_key=server.write_key)
        secret = server.write_key.partition("/")[2]
    assert secret in url
    assert secret not in repr(url)
    assert secret not in repr(server.write_key)


def test_findings_after_a_clear_are_told_too():
    with PostbackServer() as server:
        for column in ("First", "Second"):
            requests.post(
                server.postback.event_url("shop", "orders"),
                json={column: 1},
                headers={"X-TD-Write-Key": server.write_key},
                timeout=10,
            )
            with pytest.warns(PostbackWarning, match=f"C1: column '{column}'"):
                server.check()
            server.postback.clear()


def test_a_loss_that_nobody_looked_at_before_stop_is_a_warning():
    server = PostbackServer()
    server.start()
    lose_one(server)
    with pytest.warns(PostbackWarning, match="UnexpectedAuthFailure: Silent loss: 1 event"):
        server.stop()
    with pytest.raises(UnexpectedAuthFailure, match="Silent loss: 1 event"):
        server.check()
    server.check()


def test_a_loss_that_was_checked_is_no_warning_of_stop():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        server = PostbackServer()
        server.start()
        lose_one(server)
        with pytest.raises(UnexpectedAuthFailure):
            server.check()
        server.stop()


def test_clear_raises_an_unexpected_failure_first():
    with PostbackServer() as server:
        send(server)
        with pytest.raises(UnexpectedAuthFailure, match="Silent loss: 1 event"):
            server.postback.clear()
        assert len(server.postback.events) == 1
        server.postback.clear()
        assert len(server.postback.events) == 0


@pytest.mark.parametrize("delay", [0.3, 3600])
def test_clear_does_not_forget_what_is_pending(delay):
    with PostbackServer(validation_delay=delay) as server:
        send(server)
        why = "Silent loss: 1 event" if delay < 1 else "1 event still pending: the next one is due"
        with pytest.raises((UnexpectedAuthFailure, SettleTimeout), match=why):
            server.postback.clear()
        server.postback.clear()
        assert server.postback.empty


def test_clear_while_validation_is_held_raises_first():
    with PostbackServer() as server, server.postback.hold_validation():
        send(server)
        with pytest.raises(SettleTimeout, match="1 event still pending: validation is held"):
            server.postback.clear()
        server.postback.clear()


def test_each_stop_warns_of_what_it_found_itself():
    server = PostbackServer()
    for key in ("1/first", "1/second"):
        server.start()
        send(server, key)
        with pytest.warns(PostbackWarning, match=key[:3]) as told:
            server.stop()
        assert len(told) == 1
    with pytest.raises(ExceptionGroup, match="the server stopped with 2 failures") as caught:
        server.check()
    assert ["1/f" in str(error) for error in caught.value.exceptions] == [True, False]
    server.check()


def test_every_error_while_serving_is_raised():
    with PostbackServer() as server:
        first, second = ZeroDivisionError("first"), KeyError("second")
        server.collector.report_error(first)
        server.collector.report_error(second)
        with pytest.raises(ExceptionGroup, match="2 errors happened while serving") as caught:
            server.check()
        assert caught.value.exceptions == (first, second)
        server.check()


@pytest.mark.parametrize(
    ("name", "call"),
    [
        ("redirect", lambda postback: postback.redirect()),
        ("hold_validation", lambda postback: postback.hold_validation()),
        ("expect_auth_failure", lambda postback: postback.expect_auth_failure()),
    ],
)
def test_a_context_manager_that_is_never_entered_is_named_with_its_line(name, call):
    with PostbackServer() as server:
        line = call.__code__.co_firstlineno
        call(server.postback)
        with pytest.raises(ConfigurationError) as caught:
            server.check()
        first, fix = str(caught.value).splitlines()
        assert first == f"{name}() at {__file__}:{line} was never entered, so it did nothing"
        assert fix == f"Fix: with server.postback.{name}(...): ..."
        server.check()


def test_a_coroutine_that_is_never_awaited_is_named_with_its_line():
    with PostbackServer() as server:
        _ = server.postback.aio.settle()
        line = sys._getframe().f_lineno - 1
        with pytest.raises(ConfigurationError) as caught:
            server.check()
        first, fix = str(caught.value).splitlines()
        assert first == f"aio.settle() at {__file__}:{line} was never awaited, so it did nothing"
        assert fix == "Fix: await server.postback.aio.settle(...)"
        asyncio.run(server.postback.aio.settle())
        server.check()


def test_the_rest_interface_at_an_exposed_address_is_a_warning():
    with pytest.warns(PostbackWarning, match="expose=True with inspection=True"):
        PostbackServer("0.0.0.0", expose=True, inspection=True)


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, pickle.dumps])
def test_what_cannot_be_copied_says_so(copied):
    with PostbackServer() as server:
        for each in (server.postback, server.postback.faults.status(503)):
            with pytest.raises(TypeError, match=r"a (Postback|fault) cannot be copied or pickled"):
                copied([each] if copied is copy.deepcopy else each)


def test_only_names_of_the_contract_are_public():
    with PostbackServer() as server:
        names = {name for name in dir(server.postback) if not name.startswith("_")}
    assert names == {
        *("url", "write_key", "event_url", "keys", "events", "records", "auth_failures", "refused"),
        *("settle", "hold_validation", "expect_auth_failure", "assert_ingested", "claim"),
        *("assert_nothing_ingested", "assert_refused", "assert_auth_failed", "assert_no_requests"),
        *("wait_for", "aio", "faults", "assert_valid", "account", "settings", "empty", "check"),
        *("redirect", "proxy_environ", "httpx_transport", "async_httpx_transport"),
        *("requests_adapter", "wsgi_app", "mount", "ca_file", "ssl_context", "clock", "clear"),
    }
