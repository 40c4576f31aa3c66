"""Checks of the rules of authentication (A1 to A10)."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import quote

import pytest

from pytest_tdpostback.conformance.catalogue import checks
from pytest_tdpostback.conformance.target import JSON, WRONG_KEY, Endpoint

if TYPE_CHECKING:
    from pytest_tdpostback.conformance.inspection import InspectionClient

TYPE = ("Content-Type", JSON)
KEY = "X-TD-Write-Key"
AT_ONCE = ("article-2015",)
AFTERWARDS = ("openapi-1.0.0", "v2-2.0.0")


def by_key(key: str) -> str:
    """The parameter that carries `key`."""
    return f"td_write_key={quote(key, safe='')}"


@checks("A1")
@pytest.mark.parametrize("name", ["X-TD-Write-Key", "x-td-write-key", "X-TD-WRITE-KEY"])
def test_key_in_the_header(target: Endpoint, name: str) -> None:
    assert target.post(headers=[TYPE, (name, target.key)]).status == 200


@checks("A1")
@pytest.mark.parametrize("name", ["X-TD-Write-Key", "x-td-write-key"])
def test_key_in_the_header_is_valid(
    target: Endpoint, inspection: InspectionClient, name: str
) -> None:
    target.post(headers=[TYPE, (name, target.key)])
    assert inspection.record()


@checks("A2")
@pytest.mark.parametrize("safe", ["", "/"], ids=["encoded", "raw slash"])
def test_key_in_the_url(target: Endpoint, safe: str) -> None:
    query = f"td_write_key={quote(target.key, safe=safe)}"
    assert target.post(headers=[TYPE], query=query).status == 200


@checks("A2")
@pytest.mark.parametrize("safe", ["", "/"], ids=["encoded", "raw slash"])
def test_key_in_the_url_is_valid(target: Endpoint, inspection: InspectionClient, safe: str) -> None:
    target.post(headers=[TYPE], query=f"td_write_key={quote(target.key, safe=safe)}")
    assert inspection.record()


@checks("A2")
def test_last_of_several_keys_counts(target: Endpoint, inspection: InspectionClient) -> None:
    target.post(headers=[TYPE], query=f"{by_key(WRONG_KEY)}&{by_key(target.key)}")
    assert inspection.record()


@checks("A2")
def test_plus_in_a_key_is_a_space(target: Endpoint, inspection: InspectionClient) -> None:
    key = inspection.add_key("1/a+b")
    target.post(headers=[TYPE], query=by_key(key))
    assert inspection.record()
    target.post(headers=[TYPE], query=f"td_write_key={key}")
    assert inspection.event()["state"] != "ingested"


@checks("A3", profiles=AT_ONCE)
def test_wrong_header_is_refused_for_a_right_parameter(target: Endpoint) -> None:
    response = target.post(headers=[TYPE, (KEY, WRONG_KEY)], query=by_key(target.key))
    assert response.status == 403


@checks("A3", profiles=AT_ONCE)
def test_right_header_is_accepted_for_a_wrong_parameter(target: Endpoint) -> None:
    assert target.post(query=by_key(WRONG_KEY)).status == 200


@checks("A3")
def test_header_decides_against_the_parameter(
    target: Endpoint, inspection: InspectionClient
) -> None:
    target.post(headers=[TYPE, (KEY, WRONG_KEY)], query=by_key(target.key))
    assert inspection.event()["state"] != "ingested"
    target.post(query=by_key(WRONG_KEY))
    assert inspection.record()


@checks("A4")
@pytest.mark.parametrize("fields", [[], [(KEY, "")]], ids=["no header", "empty header"])
def test_request_without_a_key_is_refused(target: Endpoint, fields: list[tuple[str, str]]) -> None:
    assert target.post(headers=[TYPE, *fields]).status == 403


@checks("A4")
def test_empty_header_is_not_helped_by_the_parameter(target: Endpoint) -> None:
    response = target.post(headers=[TYPE, (KEY, "")], query=by_key(target.key))
    assert response.status == 403


@checks("A4")
@pytest.mark.usefixtures("own_connection")
def test_first_of_several_headers_counts(target: Endpoint, inspection: InspectionClient) -> None:
    target.post(headers=[TYPE, (KEY, target.key), (KEY, WRONG_KEY)])
    inspection.finding("A4")
    target.post(headers=[TYPE, (KEY, WRONG_KEY), (KEY, target.key)])
    assert inspection.event()["state"] != "ingested"


@checks("A5")
def test_unknown_key_gets_200(target: Endpoint) -> None:
    assert target.post(headers=[TYPE, (KEY, WRONG_KEY)]).status == 200


@checks("A5")
def test_event_with_an_unknown_key_fails_afterwards(
    target: Endpoint, inspection: InspectionClient
) -> None:
    target.post(headers=[TYPE, (KEY, WRONG_KEY)])
    assert inspection.rejected()["rule"] == "A5"


@checks("A6")
def test_unknown_key_is_refused(target: Endpoint) -> None:
    assert target.post(headers=[TYPE, (KEY, WRONG_KEY)]).status == 403


@checks("A6")
def test_event_with_an_unknown_key_is_not_stored(
    target: Endpoint, inspection: InspectionClient
) -> None:
    target.post(headers=[TYPE, (KEY, WRONG_KEY)])
    event = inspection.event()
    assert (event["state"], event["rule"], event["record"]) == ("refused", "A6", None)


@checks("A7", profiles=AFTERWARDS)
@pytest.mark.parametrize("key", ["no-slash", "/", "1/2/3", "account/"])
def test_malformed_key_gets_200(target: Endpoint, key: str) -> None:
    assert target.post(headers=[TYPE, (KEY, key)]).status == 200


@checks("A7", profiles=AT_ONCE)
@pytest.mark.parametrize("key", ["no-slash", "1/2/3"])
def test_malformed_key_is_refused_as_unknown(target: Endpoint, key: str) -> None:
    assert target.post(headers=[TYPE, (KEY, key)]).status == 403


@checks("A7", profiles=AFTERWARDS)
@pytest.mark.parametrize("key", ["no-slash", "1/2/3"])
def test_event_with_a_malformed_key_fails_afterwards(
    target: Endpoint, inspection: InspectionClient, key: str
) -> None:
    target.post(headers=[TYPE, (KEY, key)])
    assert inspection.rejected()["rule"] == "A7"


@checks("A7")
def test_malformed_key_may_be_refused_at_once(
    target: Endpoint, inspection: InspectionClient
) -> None:
    inspection.configure(malformed_key="refuse")
    assert target.post(headers=[TYPE, (KEY, "no-slash")]).status == 403
    assert inspection.event()["rule"] == "A7"


@checks("A8")
def test_authorization_does_not_authenticate(target: Endpoint) -> None:
    fields = [TYPE, ("Authorization", f"TD1 {target.key}")]
    assert target.post(headers=fields).status == 403


@checks("A8")
def test_authorization_does_not_decide(target: Endpoint, inspection: InspectionClient) -> None:
    target.post(headers=[TYPE, (KEY, target.key), ("Authorization", f"TD1 {WRONG_KEY}")])
    assert inspection.record()


@checks("A9")
def test_key_in_authorization(target: Endpoint) -> None:
    fields = [TYPE, ("Authorization", f"TD1 {target.key}")]
    assert target.post(headers=fields).status == 200


@checks("A9")
def test_parameter_alone_is_refused(target: Endpoint) -> None:
    assert target.post(headers=[TYPE], query=by_key(target.key)).status == 403


@checks("A9")
def test_key_in_authorization_is_valid(target: Endpoint, inspection: InspectionClient) -> None:
    target.post(headers=[TYPE, ("Authorization", f"TD1 {target.key}")])
    assert inspection.record()


@checks("A9")
def test_authorization_decides(target: Endpoint, inspection: InspectionClient) -> None:
    target.post(headers=[TYPE, (KEY, WRONG_KEY), ("Authorization", f"TD1 {target.key}")])
    assert inspection.record()
    target.post(headers=[TYPE, (KEY, target.key), ("Authorization", f"TD1 {WRONG_KEY}")])
    assert inspection.rejected()["rule"] == "A5"


@checks("A10")
def test_foreign_scheme_alone_is_refused(target: Endpoint) -> None:
    assert target.post(headers=[TYPE, ("Authorization", "Basic YTpi")]).status == 403


@checks("A10")
def test_foreign_scheme_beside_a_key_gets_200(target: Endpoint) -> None:
    fields = [TYPE, (KEY, target.key), ("Authorization", "Basic YTpi")]
    assert target.post(headers=fields).status == 200


@checks("A10")
def test_foreign_scheme_beside_a_key_fails_afterwards(
    target: Endpoint, inspection: InspectionClient
) -> None:
    target.post(headers=[TYPE, (KEY, target.key), ("Authorization", "Basic YTpi")])
    assert inspection.rejected()["rule"] == "A10"
