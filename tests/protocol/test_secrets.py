"""Write keys and a sender's text, made safe to show."""

from __future__ import annotations

import sys
import unicodedata
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_tdpostback.protocol.escaping import escaped, shown
from pytest_tdpostback.protocol.secrets import KeyRedactor, shortened
from tests.protocol.requests import unhurried

SERVICE = "12345/" + "0123456789abcdef" * 2 + "01234567"
OTHER = "team-a/Correct-Horse_Battery.Staple"
SHORT = "1/abc"
REDACT = KeyRedactor([SERVICE, OTHER, SHORT])


@unhurried
@given(st.lists(st.integers(0, sys.maxunicode).map(chr)).map("".join))
def test_escaped_text_prints_on_one_line(text):
    result = escaped(text)
    assert len(result.splitlines()) <= 1
    assert not {unicodedata.category(each) for each in result} & {"Cc", "Cf", "Cs", "Zl", "Zp"}


@pytest.mark.parametrize(
    ("text", "result"),
    [
        ("plain é 日本", "plain é 日本"),
        ("a\r\nb\tc", "a\\r\\nb\\tc"),
        ("\x1b[2J\x7f\x9b", "\\x1b[2J\\x7f\\x9b"),
        ("\u202eabc\u2028", "\\u202eabc\\u2028"),
        ("\ud800", "\\ud800"),
    ],
)
def test_escapes(text, result):
    assert escaped(text) == result


def test_shown_text_is_cut_and_never_cuts_a_key_open():
    assert shown("x" * 1_000, 10) == "x" * 10 + "…"
    assert shown("x" * 95 + SERVICE, 100) == "x" * 95 + "12345…"


def test_a_known_key_that_is_no_unicode_text_is_shortened():
    assert KeyRedactor(["1/\ud800abcdef"])("1/\ud800abcdef") == "1/\ud800ab…"


@pytest.mark.parametrize("key", [SERVICE, OTHER, SHORT])
@pytest.mark.parametrize("form", ["{}", "key={};", '{{"{}": 1}}', "/{}/", "\x1b{}\n"])
def test_a_known_key_is_found_by_value(key, form):
    for spelled in (key, quote(key, safe=""), key.lower(), key.upper()):
        text = form.format(spelled)
        if form == "/{}/" and key == SHORT:
            continue  # part of a path, which may hold anything as short as this
        assert spelled not in REDACT(text)
        assert spelled.rpartition("/")[2] not in REDACT(text)


@pytest.mark.parametrize("key", [SERVICE, OTHER])
@pytest.mark.parametrize("lower", [False, True])
def test_no_12_characters_of_a_secret_are_left_wherever_it_is_cut(key, lower):
    secret = key.partition("/")[2]
    if lower:
        secret = secret.lower()
    pieces = {secret[at : at + 12] for at in range(len(secret) - 11)}
    for first in range(len(secret)):
        for last in range(first + 1, len(secret) + 1):
            result = REDACT(f"<{secret[first:last]}...{secret[first:]}>")
            assert not any(piece in result for piece in pieces), (first, last, result)


@pytest.mark.parametrize(
    "text",
    [
        "the horse correct at 1/abcd and team-a/other: 0123456",
        'post(url, json={}, headers={"X-TD-Write-Key": tdpostback.write_key})',
        '{"X-TD-Write-Key": KEY}',
        "write_key=self.key, retries=3",
        'f"Authorization: TD1 {server.write_key}"',
        "Authorization is missing, not 'TD1 <key>'",
    ],
)
def test_text_without_a_key_stays_as_it_is(text):
    assert REDACT(text) == text


@pytest.mark.parametrize("key", ["1/ab", "key-of-yesterday", "abckey/9", "k3y", "write_key/1"])
@pytest.mark.parametrize("form", ["X-TD-Write-Key: {}", '"X-TD-Write-Key": "{}"', "TD1 {}"])
def test_what_stands_after_the_name_of_a_key_is_shortened(key, form):
    assert REDACT(form.format(key)) == form.format(shortened(key))


def test_letters_that_lower_case_makes_longer_shift_nothing():
    assert REDACT(f"İİ<{OTHER}>İ") == "İİ<team-a/Cor…>İ"
    assert REDACT("İİ<Horse_Battery>İ") == "İİ<…>İ"


def test_the_beginning_of_a_secret_is_shown():
    assert REDACT(SERVICE) == shortened(SERVICE) == "12345/012…"
    assert REDACT(f"{SERVICE[:25]}...") == "12345/012…..."
