"""What users write, as the type checkers see it: mypy reads this file too."""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING, assert_type

import pytest_tdpostback
from pytest_tdpostback import Postback, PostbackFactory, PostbackServer, Record
from pytest_tdpostback.protocol.settings import Settings, SettingValues


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
    typed = SettingValues.__required_keys__ | SettingValues.__optional_keys__
    assert typed == {field.name for field in fields(Settings)}


def test_every_public_name_can_be_imported_and_is_listed() -> None:
    for name in pytest_tdpostback.__all__:
        assert getattr(pytest_tdpostback, name).__doc__
    assert sorted(dir(pytest_tdpostback)) == dir(pytest_tdpostback)
    assert set(pytest_tdpostback.__all__) <= set(dir(pytest_tdpostback))
