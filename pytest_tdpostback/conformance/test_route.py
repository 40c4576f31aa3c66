"""Checks of the rules of the route (R1 to R8)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pytest_tdpostback.conformance.catalogue import checks
from pytest_tdpostback.conformance.target import JSON, WRONG_KEY, Endpoint

if TYPE_CHECKING:
    from pytest_tdpostback.conformance.inspection import InspectionClient

ORIGIN = ("Origin", "https://shop.example")
STORES_NOTHING = [("Content-Type", JSON), ("X-TD-Write-Key", WRONG_KEY)]
"""A service might take wrong names. It judges them before the key, so a wrong key protects it."""


@checks("R1")
def test_post_gets_200(target: Endpoint) -> None:
    assert target.post({"rule": "R1"}).status == 200


@checks("R1")
def test_post_ingests_one_record(target: Endpoint, inspection: InspectionClient) -> None:
    target.post({"rule": "R1"})
    event = inspection.event()
    assert event["state"] == "ingested"
    assert (event["database"], event["table"]) == (target.database, target.table)
    assert event["record"]["rule"] == "R1"


@checks("R2")
@pytest.mark.parametrize(
    "route",
    [
        "",
        "/",
        "/{}",
        "/{}/",
        "/{}/a-b",
        "/a.b/{}",
        "/{}/%C3%A9",
        "/{}/a%20b",
        "/{}/{}/more",
        "//{}",
    ],
)
def test_wrong_route_is_refused(target: Endpoint, route: str) -> None:
    path = "/postback/v3/event" + route.replace("{}", target.table)
    assert target.post(path=path, headers=STORES_NOTHING).status == 400


@checks("R2")
def test_letters_digits_and_underscore_make_a_name(
    target: Endpoint, inspection: InspectionClient
) -> None:
    target.post(path=target.path("Ab_9", "0_Zz"))
    assert inspection.event()["database"] == "Ab_9"


@checks("R3")
def test_slash_after_the_table_is_accepted(target: Endpoint) -> None:
    assert target.post(path=target.path(tail="/")).status == 200


@checks("R3")
def test_second_slash_is_refused(target: Endpoint) -> None:
    assert target.post(path=target.path(tail="//"), headers=STORES_NOTHING).status == 400


@checks("R3")
def test_slash_after_the_table_is_a_finding(target: Endpoint, inspection: InspectionClient) -> None:
    target.post(path=target.path(tail="/"))
    assert inspection.finding("R3")["table"] == target.table


@checks("R4")
@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "HEAD"])
def test_other_method_is_refused(target: Endpoint, method: str) -> None:
    response = target.send(method, headers=[("X-TD-Write-Key", WRONG_KEY)])
    assert response.status == 405
    assert set((response.header("Allow") or "").split(", ")) == set(target.profile.methods)


@checks("R4", profiles=("v2-2.0.0",))
def test_get_is_refused(target: Endpoint) -> None:
    response = target.send("GET", query="td_format=pixel", headers=[("X-TD-Write-Key", WRONG_KEY)])
    assert response.status == 405
    assert set((response.header("Allow") or "").split(", ")) == {"POST", "OPTIONS"}


@checks("R5")
def test_preflight_allows_what_it_asks_for(target: Endpoint) -> None:
    asked = [
        ORIGIN,
        ("Access-Control-Request-Method", "POST"),
        ("Access-Control-Request-Headers", "content-type,x-td-write-key"),
    ]
    response = target.send("OPTIONS", headers=asked)
    allowed = (response.header("Access-Control-Allow-Headers") or "").replace(" ", "").lower()
    assert response.status == 204
    assert response.header("Access-Control-Allow-Origin") in ("*", ORIGIN[1])
    assert "POST" in (response.header("Access-Control-Allow-Methods") or "")
    assert {"content-type", "x-td-write-key"} <= set(allowed.split(","))


@checks("R5")
def test_preflight_allows_credentials(target: Endpoint) -> None:
    response = target.send("OPTIONS", headers=[ORIGIN, ("Access-Control-Request-Method", "POST")])
    assert response.header("Access-Control-Allow-Origin") == ORIGIN[1]
    assert response.header("Access-Control-Allow-Credentials") == "true"


@checks("R5")
def test_preflight_is_not_an_event(target: Endpoint, inspection: InspectionClient) -> None:
    target.send("OPTIONS", headers=[ORIGIN])
    assert inspection.events() == []


@checks("R5")
@pytest.mark.parametrize(("key", "status"), [(True, 200), (False, 403)])
def test_response_to_a_page_is_readable_by_it(target: Endpoint, *, key: bool, status: int) -> None:
    fields = [ORIGIN, ("Content-Type", "application/json")]
    fields += [("X-TD-Write-Key", target.key)] if key else []
    response = target.post(headers=fields)
    assert response.status == status
    assert response.header("Access-Control-Allow-Origin") in ("*", ORIGIN[1])


@checks("R5", profiles=("openapi-1.0.0", "article-2015"))
def test_pixel_is_readable_by_a_page(target: Endpoint) -> None:
    response = target.pixel(("td_format", "pixel"), headers=[ORIGIN])
    assert response.header("Access-Control-Allow-Origin") in ("*", ORIGIN[1])


@checks("R6")
@pytest.mark.parametrize("method", ["GET", "OPTIONS"])
def test_unknown_path_is_not_found(target: Endpoint, method: str) -> None:
    assert target.send(method, "/no-such-path").status == 404


@checks("R6")
def test_preflight_of_an_unknown_path_is_a_refused_event(
    target: Endpoint, inspection: InspectionClient
) -> None:
    target.send("OPTIONS", "/no-such-path", headers=[ORIGIN])
    event = inspection.event()
    assert (event["state"], event["rule"]) == ("refused", "R6")


# With the right key, these could be events of another product on the real service.
@checks("R6")
@pytest.mark.parametrize("path", ["/", "/js/v3/event/{}/{}", "/{}/{}", "/postback/v3/events/{}/{}"])
def test_other_products_are_not_found(
    target: Endpoint, inspection: InspectionClient, path: str
) -> None:
    response = target.post(path=path.replace("{}", target.table))
    is_ingestion_api = target.profile.postback is not None and path in ("/", "/{}/{}")
    assert response.status == 404 or is_ingestion_api
    assert inspection.event()["state"] == "refused"


@checks("R7")
def test_encoded_letter_is_the_letter(target: Endpoint) -> None:
    assert target.post(path=target.path(table=_encoded(target.table))).status == 200


@checks("R7")
def test_encoded_letter_is_stored_as_the_letter(
    target: Endpoint, inspection: InspectionClient
) -> None:
    target.post(path=target.path(table=_encoded(target.table)))
    assert inspection.event()["table"] == target.table


@checks("R8")
@pytest.mark.parametrize("table", ["Upper", "ab", "x" * 129])
def test_name_against_the_platform_is_a_finding(
    target: Endpoint, inspection: InspectionClient, table: str
) -> None:
    assert target.post(path=target.path(table=table)).status == 200
    assert inspection.finding("R8")["table"] == table


@checks("R8")
@pytest.mark.parametrize("table", ["abc", "a_9" + "x" * 125])
def test_name_as_the_platform_wants_it_is_none(
    target: Endpoint, inspection: InspectionClient, table: str
) -> None:
    target.post(path=target.path("abc", table))
    assert "R8" not in [found["rule"] for found in inspection.event()["findings"]]


def _encoded(name: str) -> str:
    return f"%{ord(name[0]):02X}{name[1:]}"
