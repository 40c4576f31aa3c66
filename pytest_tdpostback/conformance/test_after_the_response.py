"""Checks of the rules of what happens after the response (Y1 to Y5)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from pytest_tdpostback.conformance.catalogue import checks
from pytest_tdpostback.conformance.target import JSON, WRONG_KEY, Endpoint

if TYPE_CHECKING:
    from pytest_tdpostback.conformance.inspection import InspectionClient
    from pytest_tdpostback.conformance.wire import RawResponse

LONG = 3_600
KEY = "1/limited-by-the-check"


@checks("Y1")
def test_response_does_not_wait_for_the_validation(
    target: Endpoint, inspection: InspectionClient
) -> None:
    inspection.hold()
    assert with_key(target, WRONG_KEY if _afterwards(target) else target.key).status == 200
    (event,) = inspection.events()
    assert event["state"] == "pending"


@checks("Y2")
def test_pending_event_is_not_a_record(target: Endpoint, inspection: InspectionClient) -> None:
    path = target.path(table=f"{target.table}_pending_{target.run}")
    inspection.hold()
    target.post(path=path)
    (event,) = inspection.events()
    assert (event["state"], event["record"]) == ("pending", None)
    assert inspection.records(target.database, path.rpartition("/")[2]) == []
    inspection.release()
    pending = inspection.settle()
    assert pending == []
    assert len(inspection.records(target.database, path.rpartition("/")[2])) == 1


@checks("Y3")
def test_sender_sees_no_difference(target: Endpoint) -> None:
    right, wrong = target.post(), with_key(target, WRONG_KEY)
    assert (wrong.status, wrong.body) == (right.status, right.body)
    assert [name for name, _ in wrong.headers] == [name for name, _ in right.headers]


@checks("Y3")
def test_invalid_key_fails_afterwards(target: Endpoint, inspection: InspectionClient) -> None:
    with_key(target, WRONG_KEY)
    assert inspection.rejected()["record"] is None


@checks("Y4")
@pytest.mark.parametrize("limit", ["databases", "tables"])
def test_key_may_be_limited(target: Endpoint, inspection: InspectionClient, limit: str) -> None:
    inside = target.database if limit == "databases" else target.table
    inspection.add_key(KEY, **{limit: [inside]})
    with_key(target, KEY)
    assert inspection.record()
    outside = {limit[:-1]: f"{inside}_other"}
    response = with_key(target, KEY, path=target.path(**outside))
    assert_invalid(target, response, inspection)


@checks("Y4")
def test_key_may_be_revoked(target: Endpoint, inspection: InspectionClient) -> None:
    inspection.add_key(KEY)
    with_key(target, KEY)
    assert inspection.record()
    inspection.revoke(KEY)
    assert_invalid(target, with_key(target, KEY), inspection)


@checks("Y5")
def test_validation_takes_as_long_as_it_is_set_to(
    target: Endpoint, inspection: InspectionClient
) -> None:
    inspection.configure(validation_delay=LONG)
    target.post()
    pending = inspection.settle(timeout=0.05)
    assert len(pending) == 1
    inspection.clear()


@checks("Y5")
def test_validation_can_be_held_and_released(
    target: Endpoint, inspection: InspectionClient
) -> None:
    inspection.hold()
    target.post()
    pending = inspection.settle(timeout=0.05)
    assert len(pending) == 1
    inspection.release()
    assert inspection.record()


def with_key(target: Endpoint, key: str, **how: Any) -> RawResponse:
    """The response to a small event with `key`."""
    return target.post(headers=[("Content-Type", JSON), ("X-TD-Write-Key", key)], **how)


def assert_invalid(target: Endpoint, response: RawResponse, inspection: InspectionClient) -> None:
    """Check that an invalid key was refused at once (A6) or rejected after its 200 (A5)."""
    event = inspection.event()
    if _afterwards(target):
        assert (response.status, event["state"], event["rule"]) == (200, "rejected", "A5")
    else:
        assert (response.status, event["state"], event["rule"]) == (403, "refused", "A6")


def _afterwards(target: Endpoint) -> bool:
    return not target.profile.refuses_unknown_keys
