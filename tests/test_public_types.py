"""What users write, as the type checkers see it: mypy and basedpyright read this file too."""

from __future__ import annotations

import inspect
import re
from typing import TYPE_CHECKING, assert_type

import pytest_tdpostback
from pytest_tdpostback import (
    Account,
    Clock,
    Event,
    EventState,
    FaultHandle,
    Finding,
    Postback,
    PostbackFactory,
    PostbackServer,
    Record,
    WriteKeys,
    load_schema,
)
from pytest_tdpostback.protocol import settings
from pytest_tdpostback.testing.assertions import ExpectedFailures

if TYPE_CHECKING:
    from pytest_tdpostback import *  # noqa: F403 - it gives users every public name, too


def test_a_count_decides_what_assert_ingested_returns(tdpostback: Postback) -> None:
    tdpostback.keys.accept_any()
    assert_type(tdpostback.assert_ingested("web", "visits", count=0), list[Record])
    if TYPE_CHECKING:
        assert_type(tdpostback.assert_ingested("web", "visits"), Record)
        assert_type(tdpostback.assert_ingested("web", "visits", count=None), list[Record])


def test_settings_are_typed_for_the_factory_and_the_server(
    make_tdpostback: PostbackFactory,
) -> None:
    made = make_tdpostback(value_types="string", write_keys=["1/a"], profile="v2-2.0.0")
    assert_type(made, Postback)
    with PostbackServer(strict=True, validation_delay=0.5) as server:
        assert_type(server.postback, Postback)


def test_the_typed_settings_are_those_that_exist() -> None:
    source = inspect.getsource(settings)  # type checkers alone see the class
    typed = source.partition("class ServerSettingValues(")[2].partition("\n\n\n")[0]
    names = re.findall(r"^        (\w+): ", typed, re.MULTILINE)
    assert sorted(names) == sorted(settings.SETTINGS)


def test_every_public_name_can_be_imported_and_is_listed() -> None:
    names = vars(pytest_tdpostback)["__all__"]  # type checkers do not see the list
    for name in names:
        assert getattr(pytest_tdpostback, name).__doc__
    assert sorted(dir(pytest_tdpostback)) == dir(pytest_tdpostback)
    assert set(names) <= set(dir(pytest_tdpostback))


def uses_of_everything(tdpostback: Postback, make_tdpostback: PostbackFactory) -> None:
    """Never runs: mypy and basedpyright read it."""
    aio, faults = tdpostback.aio, tdpostback.faults
    visits = tdpostback.assert_ingested
    assert_type(visits("web", "visits", user="ada", timeout=1), Record)
    assert_type(visits("web", "visits", count=2, where={"a b": 1}), list[Record])
    assert_type(visits("web", "visits", count=None, where=lambda row: row["a"]), list[Record])
    visits("web", "visits", where=3)  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue, reportArgumentType]
    visits("web")  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]
    assert_type(tdpostback.assert_refused("web", status=400, rule="B2", count=1), list[Event])
    assert_type(tdpostback.assert_auth_failed("web", key="1/a"), list[Event])
    tdpostback.assert_nothing_ingested("web", where={"a b": 1}, user="x")
    tdpostback.assert_no_requests(0.1)
    tdpostback.assert_valid({"type": "object"}, "web")
    assert_type(PostbackError("why"), PostbackError)  # noqa: F405 - imported with `*`
    event = tdpostback.wait_for(lambda event: event.state is EventState.INGESTED, timeout=1)
    assert_type(event, Event)
    assert_type(event.findings, list[Finding])
    assert_type(event.record, Record | None)
    assert_type((event.key, event.rule), tuple[str | None, str | None])
    assert_type(tdpostback.records("web"), list[Record])
    tdpostback.claim(event, *tdpostback.refused, *tdpostback.events[1:])
    with (
        tdpostback.expect_auth_failure("web", count=1) as failures,
        tdpostback.hold_validation(),
        tdpostback.redirect(hosts=["service.example"], block_network=True),
    ):
        assert_type(failures, list[Event])
    assert_type(faults.reset(before="answer", times=1, where={"a": 1}), FaultHandle)
    faults.reset(before="nope")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    with faults.sequence([503, "ok", faults.delay(0.1)], table="visits") as handle:
        assert_type(handle, FaultHandle)
    assert_type(tdpostback.account, Account)
    assert_type(tdpostback.clock, Clock)
    assert_type(tdpostback.keys, WriteKeys)
    assert_type(tdpostback.keys.add("1/a", tables="visits"), str)
    assert_type(aio.expect_auth_failure("web"), ExpectedFailures)
    aio.expect_auth_failure(colour="red")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    make_tdpostback(colour="red")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    make_tdpostback(profile="v2")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    PostbackServer(profile="v2")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    load_schema("recrod")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    faults.sequence(["nope"])  # type: ignore[list-item]  # pyright: ignore[reportArgumentType]
    pytest_tdpostback.Nonsense  # type: ignore[attr-defined]  # noqa: B018  # pyright: ignore[reportAttributeAccessIssue, reportUnusedExpression]
    make_tdpostback(stale_time="keep")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


async def uses_of_coroutines(tdpostback: Postback) -> None:
    """Never runs either."""
    aio = tdpostback.aio
    assert_type(await aio.assert_ingested("web", "visits"), Record)
    assert_type(await aio.assert_ingested("web", "visits", count=2), list[Record])
    assert_type(await aio.wait_for(lambda event: event.status, timeout=1), Event)
    assert_type(await aio.assert_refused("web", status=400), list[Event])
    assert_type(await aio.assert_auth_failed(key="1/a"), list[Event])
    await aio.settle(1.0)
    await aio.assert_no_requests()
    await aio.assert_valid(True, "web")
    await aio.assert_nothing_ingested("web", user="ada")
    await aio.check()
    async with aio.expect_auth_failure("web", count=1) as failures:
        assert_type(failures, list[Event])
