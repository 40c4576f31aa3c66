"""What a JSON body has to be, against an oracle that shares nothing with the code."""

from __future__ import annotations

import gc
import json
import re
import sys

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pytest_tdpostback.protocol import body as body_module
from pytest_tdpostback.protocol.body import MAX_DEPTH, InvalidBody, duplicate_keys, parse
from tests.protocol.requests import texts, unhurried

TOKEN = re.compile(
    r"""[ \t\n\r]*(?:
        (?P<text>"(?:[^"\\\x00-\x1f]|\\["\\/bfnrt]|\\u[0-9a-fA-F]{4})*")
      | (?P<number>-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?)
      | (?P<word>true|false|null)
      | (?P<mark>[\[\]{},:])
      | (?P<end>\Z))""",
    re.VERBOSE,
)


def accepts(body):
    """The grammar of RFC 8259 as a pushdown automaton, with the limits of B2, B3 and B7."""
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError:
        return False
    stack: list[str] = []
    state, at, top = "value", 0, None
    while token := TOKEN.match(text, at):
        kind = str(token.lastgroup)
        at, word = token.end(), token[kind]
        if kind == "end":
            return state == "done" and top == "{"
        top = top or word
        if kind in ("text", "number") and not sound(kind, word):
            return False
        state = step(stack, state, kind, word)
        if state is None or len(stack) > MAX_DEPTH:
            return False
    return False


def step(stack, state, kind, word):
    after = "more" if stack else "done"
    if state in ("value", "value or ]"):
        if word in ("[", "{"):
            stack.append(word)
            return "value or ]" if word == "[" else "key or }"
        if word == "]" and state == "value or ]":
            return closed(stack)
        return after if kind != "mark" else None
    if state in ("key", "key or }"):
        if word == "}" and state == "key or }":
            return closed(stack)
        return "colon" if kind == "text" else None
    if state == "colon":
        return "value" if word == ":" else None
    if state == "more" and word == ",":
        return "key" if stack[-1] == "{" else "value"
    if state == "more" and word == {"{": "}", "[": "]"}[stack[-1]]:
        return closed(stack)
    return None


def closed(stack):
    stack.pop()
    return "more" if stack else "done"


def sound(kind, word):
    if kind == "number":
        if word.lstrip("-").isdecimal():
            return len(word.lstrip("-")) <= 4300
        return abs(float(word)) != float("inf")
    try:
        json.loads(word).encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def parses(body):
    """Whether the code accepts ``body``; what it accepts is what the standard library reads."""
    try:
        value = parse(body)
    except InvalidBody:
        return False
    assert value == json.loads(body)
    assert isinstance(value, dict)
    return True


_TEXT = texts()
_LEAVES = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
)
_VALUES = st.recursive(
    _LEAVES | _TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_TEXT, inner, max_size=4),
    max_leaves=6,
)
_OBJECTS = st.dictionaries(_TEXT, _VALUES, max_size=3)
_PIECES = st.sampled_from(
    [
        *('"', "\\", "\\u", "d83d", "\\ud83d", "\\ude00", "{", "}", "[", "]", ",", ":"),
        *("1", "-", "0", ".", "e", "+", "true", "null", "NaN", "Infinity"),
        *(" ", "\r\n", "\t", "\x00", "é", "\ufeff"),
    ]
)


@unhurried
@given(st.binary())
@example(b"")
@example(b"\xef\xbb\xbf{}")
def test_any_bytes(body):
    """[B2] an object or a refusal, and nothing else."""
    assert parses(body) == accepts(body)


@unhurried
@given(st.lists(_PIECES, max_size=30).map("".join))
@example('{"\\ud83d\\ude00":1}')
@example('{"\\\\ud83d":1}')
def test_pieces_of_json(text):
    """[B2] text that is nearly JSON."""
    for body in (text, '{"a":"' + text + '"}', '{"a":' + text + "}"):
        assert parses(body.encode()) == accepts(body.encode())


@unhurried
@given(_OBJECTS, st.booleans(), st.sampled_from([None, 1, "\t"]))
def test_every_object(value, ascii_only, indent):
    """[V2] what was sent is what comes out, however it is spelled."""
    body = json.dumps(value, ensure_ascii=ascii_only, indent=indent).encode()
    assert parse(body) == value
    assert accepts(body)


@unhurried
@given(_OBJECTS, st.data())
def test_damaged_objects(value, data):
    """[B2] one byte lost, changed or too many."""
    body = json.dumps(value).encode()
    at = data.draw(st.integers(0, len(body) - 1))
    damaged = body[:at] + data.draw(st.binary(max_size=2)) + body[at + 1 :]
    assert parses(damaged) == accepts(damaged)


@pytest.mark.parametrize(
    ("body", "rule"),
    [
        pytest.param(b"", "B4", id="B4-empty"),
        pytest.param(b" ", "B2", id="B2-blank"),
        pytest.param(b'{"a":' + b"1" * 4300 + b"}", None, id="B2-4300-digits"),
        pytest.param(b'{"a":-' + b"1" * 4300 + b"}", None, id="B2-4300-digits-and-a-sign"),
        pytest.param(b'{"a":' + b"1" * 4301 + b"}", "B2", id="B2-4301-digits"),
        pytest.param(b'{"a":-' + b"1" * 4301 + b"}", "B2", id="B2-4301-digits-and-a-sign"),
        pytest.param(b'{"a":1' + b"0" * 4400 + b".0}", "B2", id="B2-long-fraction-out-of-range"),
        pytest.param(b'{"a":0.' + b"1" * 4400 + b"}", None, id="B2-long-fraction-in-range"),
        pytest.param(b'{"a":-1e309}', "B2", id="B2-range-negative"),
        pytest.param(b'{"a":1e-400}', None, id="B2-too-small-is-zero"),
        pytest.param(b'{"a":1e309,"a":1}', "B2", id="B2-in-a-lost-duplicate"),
        pytest.param(b'{"a":' * 511 + b"[]" + b"}" * 511, None, id="B7-512"),
        pytest.param(b'{"a":' * 512 + b"[]" + b"}" * 512, "B7", id="B7-513"),
        pytest.param(b'{"a":' * 512 + b"[" + b"}" * 512, "B7", id="B7-before-the-syntax"),
        pytest.param(b'{"a":[' + b"[]," * 600 + b"1]}", None, id="B7-wide-is-not-deep"),
        pytest.param(b"null", "B3", id="B3-null"),
        pytest.param(b"1" * 4301, "B2", id="B2-before-B3"),
    ],
)
def test_rule(body, rule):
    if rule is None:
        assert parses(body)
        assert accepts(body)
        return
    with pytest.raises(InvalidBody) as refusal:
        parse(body)
    assert refusal.value.rule == rule
    assert not accepts(body)


def test_a_large_body_that_is_no_object_is_refused_before_it_is_decoded(monkeypatch):
    """[B3] decoding keeps the interpreter from other threads."""
    monkeypatch.setattr(body_module, "parse_any", lambda _: pytest.fail("it is decoded"))
    with pytest.raises(InvalidBody) as refusal:
        parse(b" [" + b"[]," * body_module.LARGE + b"1]")
    assert refusal.value.rule == "B3"


def test_hostile_body_is_read_once():
    """[B7] no pattern looks at every character from every other one: this ends at once."""
    with pytest.raises(InvalidBody):
        parse(b"[" * 600 + b'"' + b'\\"' * 500_000)


def test_many_integers_cost_no_step_each():
    """[B2] a long body, which holds up everybody else, is read by the standard library alone."""
    steps = []
    sys.setprofile(lambda _, event, __: steps.append(event))
    try:
        parse(b'{"a":[' + b"1," * 10_000 + b"1]}")
    finally:
        sys.setprofile(None)
    assert len(steps) < 100


def test_an_integer_that_this_interpreter_does_not_read_is_refused():
    """[B2] a program that lowered the limit of its interpreter gets a refusal, not an error."""
    limit = sys.get_int_max_str_digits()
    sys.set_int_max_str_digits(640)
    try:
        with pytest.raises(InvalidBody, match="an integer has more than 640 digits") as refusal:
            parse(b'{"a":' + b"9" * 641 + b"}")
    finally:
        sys.set_int_max_str_digits(limit)
    assert refusal.value.rule == "B2"


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b'{"a":[' + b"[]," * 30_000 + b"1]}", id="brackets"),
        pytest.param(b'{"a":[' + b'["[",{}],' * 30_000 + b"1]}", id="strings"),
        pytest.param(b'{"a":"' + rb"\\" * 30_000 + rb"\u0041" + b'"}', id="backslashes"),
    ],
)
def test_a_large_body_is_judged_by_compiled_code(body):
    """[B2 B7] a hostile body costs no step of Python for each bracket, string or escape."""
    steps = []

    def trace(frame, *_):  # a library may run code of its own when memory is collected
        return note if frame.f_code.co_filename == body_module.__file__ else None

    def note(*_):
        steps.append(1)
        return note

    usual = sys.gettrace()  # that of the coverage
    sys.settrace(trace)
    try:
        parse(body)
    finally:
        sys.settrace(usual)
    assert len(steps) < 200


def test_halves_of_a_character_on_both_sides_of_a_backslash_are_lone():
    """[B2] an escaped backslash between the two halves keeps them apart."""
    assert not parses(rb'{"a":"\ud83d\\\ude00"}')
    assert not accepts(rb'{"a":"\ud83d\\\ude00"}')


@pytest.mark.parametrize(
    ("body", "keys"),
    [
        pytest.param(b'{"a":1,"b":2}', [], id="B5-none"),
        pytest.param(b'{"a":1,"b":1,"a":2,"b":2,"a":3}', ["a", "b"], id="B5-two-keys"),
        pytest.param(b'{"a":{"a":1},"b":[{"a":1},{"a":2}]}', [], id="B5-not-across-objects"),
        pytest.param(b'{"o":{"k":1,"k":2},"k":3}', ["k"], id="B5-nested"),
        pytest.param(rb'{"a":1,"\u0061":2}', ["a"], id="B5-escaped"),
        pytest.param(b'{":x" :1,"a":"v",":x" :2}', [":x"], id="B5-colon"),
        pytest.param(b'{"a":": b","b":":"}', [], id="B5-colon-in-a-value"),
    ],
)
def test_duplicate_keys(body, keys):
    assert duplicate_keys(body) == keys


@pytest.mark.parametrize("enabled", [True, False])
def test_a_large_body_is_decoded_without_the_garbage_collector(enabled):
    body = b'{"a":[' + b"[]," * 100_000 + b"1]}"
    collections = []

    def note(_, info):
        collections.append(info["generation"])

    gc.callbacks.append(note)
    gc.enable() if enabled else gc.disable()
    try:
        parse(body)
        assert gc.isenabled() is enabled
    finally:
        gc.callbacks.remove(note)
        gc.enable()
    assert 2 not in collections
