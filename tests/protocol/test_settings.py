"""Settings: what they accept, and how `strict` changes those that nobody chose."""

from __future__ import annotations

import copy
import pickle

import pytest

from pytest_tdpostback import ConfigurationError
from pytest_tdpostback.protocol.settings import Settings, valid_seconds

STRICT = ("on_auth_failure", "on_refusal", "on_unasserted", "on_late", "on_finding")


def values(settings):
    return {name: getattr(settings, name) for name in STRICT}


def test_strict_fails_for_everything():
    assert values(Settings().changed({"strict": True})) == dict.fromkeys(STRICT, "fail")
    assert values(Settings().changed({"strict": "yes"})) == dict.fromkeys(STRICT, "fail")


def test_without_strict_the_defaults_hold():
    defaults = ["fail", "ignore", "ignore", "report", "warn"]
    assert list(values(Settings()).values()) == defaults
    again = Settings().changed({"strict": True}).changed({"strict": "false"})
    assert list(values(again).values()) == defaults


@pytest.mark.parametrize("name", STRICT)
def test_a_setting_that_is_set_anywhere_keeps_its_own_value(name):
    value = "ignore" if name != "on_late" else "report"
    before = Settings().changed({name: value}).changed({"tls": True}).changed({"strict": True})
    after = Settings().changed({"strict": True}).changed({name: value})
    for settings in (before, after, Settings().changed({name: value, "strict": True})):
        assert values(settings) == {**dict.fromkeys(STRICT, "fail"), name: value}


@pytest.mark.parametrize(
    ("value", "actions"),
    [
        ("warn", {"C1": "warn", "T5": "warn"}),
        ("ignore", {"C1": "ignore", "T5": "ignore"}),
        ("fail:C1", {"C1": "fail", "T5": "warn"}),
        ("fail: C1, T5", {"C1": "fail", "T5": "fail", "C2": "warn"}),
        ("ignore:P10", {"P10": "ignore", "P1": "warn"}),
    ],
)
def test_a_finding_may_be_treated_by_its_rule(value, actions):
    settings = Settings().changed({"on_finding": value})
    assert {rule: settings.finding_action(rule) for rule in actions} == actions


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("on_finding", "fail:c1", "'c1' is none: did you mean C1?"),
        ("on_finding", "fail:C1,A5", "ids of rules that have findings; A5 has none"),
        ("on_finding", "fail:", "give ids of rules after fail:"),
        ("on_finding", "error", "give warn, fail or ignore"),
        ("on_finding", 1, "give warn, fail or ignore"),
        ("on_late", "ignore", "give one of report, fail"),
        ("on_refusal", "report", "give one of ignore, fail"),
        ("strict", "maybe", "give true or false"),
        ("allow_hosts", "http://x/", "give names of hosts without scheme"),
        ("allow_hosts", 5, "give names of hosts without scheme"),
        ("validation_delay", 3601, "give a number of seconds from 0 to 3,600"),
        ("validation_delay", float("nan"), "give a number of seconds from 0 to 3,600"),
        ("validation_delay", 10**400, "give a number of seconds from 0 to 3,600"),
        ("stric", True, "did you mean strict?"),
    ],
)
def test_a_value_that_is_not_acceptable_is_an_error_that_says_what_is(name, value, text):
    with pytest.raises(ConfigurationError) as caught:
        Settings().changed({name: value}, "ini")
    assert str(caught.value).startswith("ini: ")
    assert text in str(caught.value)


def test_hosts_and_networks():
    settings = Settings().changed({"allow_hosts": "DB.example. 10.0.0.0/8, ::1"})
    assert settings.allow_hosts == ("db.example", "10.0.0.0/8", "::1")


@pytest.mark.parametrize("value", [0, 3_600, 0.5, "2"])
def test_valid_seconds(value):
    assert valid_seconds("timeout", value) == float(value)


@pytest.mark.parametrize("value", [-1, 3_600.1, float("inf"), float("nan"), True, None, "soon"])
def test_seconds_out_of_range_are_an_error(value):
    with pytest.raises(ConfigurationError, match=r"timeout=.* from 0 to 3,600"):
        valid_seconds("timeout", value)


def test_settings_with_equal_values_are_equal():
    one, two = Settings(tls=True), Settings().changed({"tls": "yes"})
    assert one == two
    assert hash(one) == hash(two)
    assert one != Settings()
    assert pickle.loads(pickle.dumps(one)) == copy.deepcopy(one) == one
    assert repr(one).startswith("Settings(profile=None, value_types='json', ")


def test_settings_do_not_change():
    with pytest.raises(AttributeError, match="strict: settings do not change"):
        Settings().strict = True
