"""Write keys: which are valid for what, and how they are shown."""

from __future__ import annotations

import copy
import pickle

import pytest

from pytest_tdpostback import ConfigurationError
from pytest_tdpostback.protocol.judge import judge_head
from pytest_tdpostback.protocol.request import PostbackRequest, RequestHead
from pytest_tdpostback.protocol.secrets import WriteKey, shortened, without_keys
from pytest_tdpostback.protocol.settings import Settings
from tests.protocol.requests import KEY, PATH, make_postback, send


def sent_with(postback, key, table="test_tbl"):
    headers = (("Content-Type", "application/json"), ("X-TD-Write-Key", key))
    event = send(postback, target=PATH.replace("test_tbl", table), headers=headers)
    postback.settle()
    return event.rule


@pytest.mark.parametrize(
    "key",
    [
        "",
        "a",
        "a/",
        "/b",
        "a/b/c",
        " a/b",
        "a/b\n",
        "a b/c",
        "1/\ud800c",
        "\udfff/c",
        12345,
        b"a/b",
    ],
    ids=ascii,
)
def test_malformed(key):
    """[A7] what is no key cannot be added."""
    with pytest.raises(ConfigurationError, match="account/secret"):
        make_postback().keys.add(key)


@pytest.mark.parametrize(
    ("limits", "rule"),
    [
        pytest.param({}, None, id="Y4-no-limit"),
        pytest.param({"databases": "test_db"}, None, id="Y4-database"),
        pytest.param({"databases": ["other"]}, "A5", id="Y4-other-database"),
        pytest.param({"databases": []}, "A5", id="Y4-no-database"),
        pytest.param({"tables": "test_tbl"}, None, id="Y4-table"),
        pytest.param({"tables": {"test_db.test_tbl"}}, None, id="Y4-full-name"),
        pytest.param({"tables": ["other.test_tbl"]}, "A5", id="Y4-table-of-another-database"),
        pytest.param({"databases": "test_db", "tables": "other"}, "A5", id="Y4-both"),
    ],
)
def test_scope(limits, rule):
    postback = make_postback()
    assert sent_with(postback, postback.keys.add("1/a", **limits)) == rule


@pytest.mark.parametrize(
    "limits",
    [{"databases": [1]}, {"databases": [["a"]]}, {"databases": 5}, {"tables": [""]}],
    ids=str,
)
def test_no_name(limits):
    with pytest.raises(ConfigurationError, match="is not a name"):
        make_postback().keys.add(**limits)


@pytest.mark.parametrize(
    ("profile", "rule"), [("openapi-1.0.0", "A5"), ("article-2015", "A6"), ("v2-2.0.0", "A5")]
)
def test_revoked(profile, rule):
    """[Y4] a revoked key is an unknown one, also where any key will do."""
    postback = make_postback(profile=profile)
    assert sent_with(postback, KEY) is None
    postback.keys.revoke(KEY)
    postback.keys.accept_any()
    assert sent_with(postback, KEY) == rule
    assert sent_with(postback, "9/any") is None
    postback.keys.add(KEY)
    assert sent_with(postback, KEY) is None


def test_revoked_while_pending():
    """[Y4] what is pending is judged by the keys of its validation."""
    postback = make_postback()
    with postback.hold_validation():
        event = send(postback)
        postback.keys.revoke(KEY)
        assert event.state == "pending"
    postback.settle()
    assert (event.state, event.rule, event.record) == ("rejected", "A5", None)


KEYED = ("X-TD-Write-Key", KEY)
URL = "neither the X-TD-Write-Key header nor the URL parameter td_write_key has one"
TD1 = "neither the X-TD-Write-Key header nor an Authorization of the scheme TD1 has one"


@pytest.mark.parametrize(
    ("profile", "fields", "reason"),
    [
        ("openapi-1.0.0", [], URL),
        ("openapi-1.0.0", [("Authorization", f"TD1 {KEY}")], URL),
        ("openapi-1.0.0", [("X-TD-Write-Key", "")], "the X-TD-Write-Key header is empty"),
        ("v2-2.0.0", [], TD1),
        ("v2-2.0.0", [("Authorization", "Basic YTpi")], TD1),
        ("v2-2.0.0", [("X-TD-Write-Key", "")], "the X-TD-Write-Key header is empty"),
        ("v2-2.0.0", [("Authorization", "TD1"), KEYED], "the Authorization header has none"),
        ("v2-2.0.0", [("Authorization", ""), KEYED], "the Authorization header has none"),
    ],
)
def test_reason_where_there_is_no_key(profile, fields, reason):
    """[A4] it names each place that could have held one."""
    event = send(
        make_postback(profile=profile), headers=[("Content-Type", "application/json"), *fields]
    )
    assert (event.rule, event.reason) == ("A4", f"no write key: {reason}")


@pytest.mark.parametrize(("profile", "rule"), [("openapi-1.0.0", "A7"), ("article-2015", "A6")])
def test_reason_of_a_malformed_key(profile, rule):
    postback = make_postback(profile=profile)
    headers = (("Content-Type", "application/json"), ("X-TD-Write-Key", "foobar"))
    event = send(postback, headers=headers)
    postback.settle()
    assert (event.rule, event.reason) == (rule, "write key foo… is not account/secret")


def test_never_added():
    with pytest.raises(ConfigurationError, match="is not valid here") as error:
        make_postback().keys.revoke("777/secret-of-somebody")
    assert "secret-of-somebody" not in str(error.value)


def test_revoked_of_any():
    """[Y4] a key that is accepted without having been added is revoked like the others."""
    postback = make_postback()
    postback.keys.accept_any()
    postback.keys.revoke("9/any")
    assert sent_with(postback, "9/any") == "A5"
    assert sent_with(postback, "9/another") is None
    with pytest.raises(ConfigurationError):
        postback.keys.revoke("no-key")


def test_shown_shortened():
    """[W4] what is printed of a request holds no key."""
    fields = [("Authorization", "TD1 123/topsecret"), ("X-TD-Write-Key", "123/topsecret")]
    fields.append(("Referer", "http://x/?td_write_key=123%2Ftopsecret"))
    head = RequestHead.of("POST", f"{PATH}?td_write_key=123/topsecret&a=1", fields)
    shown = repr(
        (PostbackRequest(head, b"", "p"), head.headers, head.target, head.headers["Referer"])
    )
    assert "topsecret" not in shown
    assert head.headers["x-td-write-key"] == "123/topsecret"
    assert head.target.endswith("123/topsecret&a=1")


def test_a_key_hides_behind_no_encoding():
    head = RequestHead.of("POST", f"{PATH}?td%5Fwrite_key=123%2ftopsecret&a=1", [])
    assert repr(head.target) == repr(f"{PATH}?td%5Fwrite_key=123/top…&a=1")


@pytest.mark.parametrize(
    "head",
    [
        RequestHead.of("POST", f"{PATH}/1/{'5ec' * 13}e", []),
        RequestHead.of("POST", f"{PATH}?other=1%2F{'5ec' * 13}e", []),
        RequestHead.of("POST", PATH, [("X-TD-WriteKey", f"1/{'5ec' * 4}")]),
        RequestHead.of("POST", PATH, [("X-Write-Key", f"1/{'5ec' * 4}")]),
        RequestHead.of("POST", PATH, [("X-Other", f"1/{'5ec' * 13}e")]),
    ],
)
def test_a_key_in_the_wrong_place_is_shown_shortened(head):
    assert "5ec5ec" in head.raw.decode()
    assert "5ec5ec" not in repr((head.target, head.headers, list(head.headers.items())))


@pytest.mark.parametrize("path", [f"{PATH}/1/{'5ec' * 13}e", f"{PATH}%2F1%2F{'5ec' * 13}e"])
def test_no_reason_holds_a_key_of_the_path(path):
    verdict = judge_head(RequestHead.of("POST", path, []), Settings())
    assert verdict.refusal is not None
    assert verdict.refusal.rule == "R2"
    assert "1/5ec…" in verdict.refusal.reason.replace("%2F", "/")


def test_copies_stay_short():
    key = WriteKey("123/topsecret")
    for again in (copy.copy(key), copy.deepcopy(key), pickle.loads(pickle.dumps(key))):
        assert (again, repr(again)) == (key, repr(key))
    assert repr(key) == "'123/top…'"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("td_write_key=1/abcdef&a=1", "td_write_key=1/abc…&a=1"),
        ("X-TD-Write-Key: 1/abcdef", "X-TD-Write-Key: 1/abc…"),
        ("{'td_write_key': '1/abcdef', 'a': 1}", "{'td_write_key': '1/abc…', 'a': 1}"),
        ("X-Write-Key: 1/abcdef", "X-Write-Key: 1/abc…"),
        ("writeKey=1/abcdef", "writeKey=1/abc…"),
        (f"/orders/1/{'ab' * 20}: 400", "/orders/1/aba…: 400"),
        (f"/orders/1%2F{'AB' * 20}/", "/orders/1%2FABA…/"),
        (f"'1/{'ab' * 20}' is not of type", "'1/aba…' is not of type"),
        (f"1/{'ab' * 21}", f"1/{'ab' * 21}"),
        ("no key here", "no key here"),
    ],
)
def test_text_without_keys(text, expected):
    assert without_keys(text) == expected
    assert shortened("ab") == "a…"
