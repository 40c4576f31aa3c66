"""An order is stored, and what happens to its event if something is wrong."""

from __future__ import annotations

import pytest
from shop import Shop

from pytest_tdpostback import Postback


@pytest.fixture
def shop(tdpostback: Postback) -> Shop:
    return Shop(tdpostback.url, tdpostback.write_key)


def test_an_order_is_stored(shop: Shop, tdpostback: Postback) -> None:
    shop.place_order(7, total=19.5)

    tdpostback.assert_ingested("shop", "orders", number=7, total=19.5)


def test_a_revoked_key_loses_the_order_although_the_status_is_200(
    shop: Shop, tdpostback: Postback
) -> None:
    tdpostback.keys.revoke(tdpostback.write_key)

    with tdpostback.expect_auth_failure() as failures:
        shop.place_order(7, total=19.5)

    assert [event.status for event in failures] == [200]
    tdpostback.assert_nothing_ingested()


def test_a_total_that_is_not_a_number_is_refused(shop: Shop, tdpostback: Postback) -> None:
    shop.place_order(7, total=float("nan"))

    tdpostback.assert_refused(status=400, rule="B2")
