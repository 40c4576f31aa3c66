"""The matrix proves what a sender does: each of these senders is caught or cleared by it."""

from __future__ import annotations

from typing import Any, cast

import pytest

from pytest_tdpostback import ConfigurationError, FaultCase, fault_matrix
from tests.server.faults.clients import ERROR, Sender

MATRIX = fault_matrix(seed=7, patience=0.3)


def cases(**arguments: Any) -> list[FaultCase]:
    return [cast("FaultCase", param.values[0]) for param in fault_matrix(**arguments)]


CASES = {case.name: case for case in cases(seed=7, patience=0.3)}
TABLE = ("shop", "orders", "id")


def send_and_forget(sender, payload):
    sender.by_http_client(payload)


def send_until_answered(sender, payload):
    """At least once: tries again after any error."""
    for _ in range(3):
        if sender.by_requests(payload) == 200:
            return


def send_at_most_once(sender, payload):
    """Tries again only what was surely not stored: the service said so."""
    for _ in range(3):
        if sender.by_socket(payload) in (200, ERROR):
            return


def send_until_200_without_reading(sender, payload):
    """Believes that an error means lost, in its own way: sends anything twice."""
    sender.by_socket(payload)
    sender.by_socket(payload)


def deliver(send, postback, case):
    deliver_values(send, postback, case, range(3))


def deliver_values(send, postback, case, values):
    sender = Sender(postback, timeout=0.2)
    with case.apply(postback):
        for value in values:
            send(sender, {"id": value})


def verdict(check):
    try:
        check()
    except AssertionError as error:
        return str(error)
    return None


@pytest.mark.parametrize("case", MATRIX)
def test_at_least_once(tdpostback, case):
    deliver(send_until_answered, tdpostback, case)

    case.assert_at_least_once(tdpostback, *TABLE, range(3))
    if case.stored_at_least_once:
        tdpostback.assert_ingested("shop", "orders", count=None, id=0)


@pytest.mark.parametrize("case", MATRIX)
def test_at_most_once(tdpostback, case):
    deliver(send_at_most_once, tdpostback, case)

    case.assert_at_most_once(tdpostback, *TABLE)
    if case.stored_at_most_once:
        stored = [record["id"] for record in tdpostback.records()]
        assert len(stored) == len(set(stored))


@pytest.mark.parametrize("case", MATRIX)
def test_fire_and_forget_is_caught_where_it_loses(tdpostback, case):
    deliver(send_and_forget, tdpostback, case)

    said = verdict(lambda: case.assert_at_least_once(tdpostback, *TABLE, range(3)))

    harmless = ("delay", "drip", "late", "garbage", "drop", "duplicate", "reset-before-answer")
    if case.name.startswith((*harmless, "truncate")):
        assert said is None
    else:
        assert said.startswith(
            f"not stored at least once under {case.name}: no record with id in [0"
        )
        assert f"fault {tdpostback.events[0].fault}" in said


@pytest.mark.parametrize("case", MATRIX)
def test_sending_again_what_was_stored_is_caught(tdpostback, case):
    deliver(send_until_200_without_reading, tdpostback, case)

    said = verdict(lambda: case.assert_at_most_once(tdpostback, *TABLE))

    assert said.startswith(f"stored more than once under {case.name}: id in [")
    assert "POST" in said


def test_an_event_that_was_never_sent_is_missing(tdpostback):
    case = CASES["status-503"]
    deliver(send_until_answered, tdpostback, case)

    said = verdict(lambda: case.assert_at_least_once(tdpostback, *TABLE, [0, 9]))

    assert said.endswith("no record with id in [9]\n  none of them was sent")


def test_a_case_that_is_never_entered_fails_the_test(tdpostback):
    CASES["status-503"].apply(tdpostback)
    with pytest.raises(ConfigurationError) as caught:
        tdpostback.check()
    head, fix = str(caught.value).splitlines()
    assert head.startswith(f"case.apply() at {__file__}:")
    assert head.endswith(" was never entered, so it did nothing")
    assert fix == "Fix: with case.apply(...): ..."


def test_a_case_that_hits_nothing_proves_nothing(tdpostback):
    case = CASES["status-503"]

    nothing = pytest.raises(AssertionError, match="status-503 hit no event: send inside the block")
    with nothing, case.apply(tdpostback):
        pass


def test_an_error_inside_is_not_hidden(tdpostback):
    with pytest.raises(ZeroDivisionError), CASES["status-503"].apply(tdpostback):
        _ = 1 / 0
    assert Sender(tdpostback).by_socket({"id": 1}) == 200


def test_a_client_without_a_timeout_is_released(tdpostback):
    sender = Sender(tdpostback)
    with CASES["hang"].apply(tdpostback), sender.connect() as client:
        client.send(sender.request({"id": 1}))
        assert client.socket.recv(1) == b""


def test_every_fault_is_in_it():
    matrix = fault_matrix()
    ids = [param.id for param in matrix]
    assert len(set(ids)) == len(ids) == 16
    assert [case.name for case in cases() if case.needs_timeout] == ["late", "hang"]
    assert repr(CASES["drop"]) == "<FaultCase drop>"


def test_seed_decides(tdpostback):
    def hits(seed):
        counts = []
        for case in cases(seed=seed):
            if case.needs_timeout:  # it hits one event, whatever the seed
                continue
            with case.apply(tdpostback) as handle:
                for number in range(3):
                    Sender(tdpostback).by_socket({"id": number})
            counts.append(len(handle.events))
        return counts

    assert hits(3) == hits(3) != hits(4)


@pytest.mark.parametrize("arguments", [{"seed": "x"}, {"patience": 0}, {"patience": None}])
def test_wrong_arguments(arguments):
    (name,) = arguments
    with pytest.raises(ConfigurationError, match=f"fault_matrix\\({name}="):
        fault_matrix(**arguments)


def test_a_column_that_holds_a_list(tdpostback):
    case = CASES["status-503"]
    deliver_values(send_until_answered, tdpostback, case, [[1, 2], {"a": 1}, "x"])

    case.assert_at_least_once(tdpostback, *TABLE, [[1, 2], {"a": 1}, "x"])
    case.assert_at_most_once(tdpostback, *TABLE)
    said = verdict(lambda: case.assert_at_least_once(tdpostback, *TABLE, [[1, 2], [3]]))
    assert "no record with id in [[3]]" in said


def test_a_list_that_is_stored_twice(tdpostback):
    case = CASES["reset-before-answer"]
    deliver_values(send_until_200_without_reading, tdpostback, case, [[1, 2], {"a": 1}])

    said = verdict(lambda: case.assert_at_most_once(tdpostback, *TABLE))

    assert ": id in [[1, 2], {'a': 1}]" in said


@pytest.mark.parametrize("name", ["status-503", "drop"])
def test_values_are_those_of_the_record(make_tdpostback, name):
    postback = make_tdpostback(value_types="string")
    deliver(send_until_answered, postback, CASES[name])

    CASES[name].assert_at_least_once(postback, *TABLE, ["0", "1", "2"])
    CASES[name].assert_at_most_once(postback, *TABLE)
    said = verdict(lambda: CASES[name].assert_at_least_once(postback, *TABLE, [1]))
    assert "no record with id in [1]" in said
