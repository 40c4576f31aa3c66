"""Two mistakes that the shop does not notice. Each test fails on purpose, so it is an ``xfail``."""

from __future__ import annotations

import pytest
from shop import Shop

from pytest_tdpostback import Postback, UnexpectedAuthFailure


@pytest.mark.xfail(raises=UnexpectedAuthFailure, strict=True, reason="the key is wrong")
def test_wrong_key(tdpostback: Postback) -> None:
    shop = Shop(tdpostback.url, write_key="1/key-of-somebody-else")

    shop.place_order(7, total=19.5)


@pytest.mark.xfail(raises=AssertionError, strict=True, reason="NaN is not JSON")
def test_malformed_body(tdpostback: Postback) -> None:
    shop = Shop(tdpostback.url, tdpostback.write_key)

    shop.place_order(7, total=float("nan"))

    tdpostback.assert_ingested("shop", "orders", number=7)
