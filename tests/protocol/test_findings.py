"""What the service would change or lose in silence, event by event, and nothing of a clean one."""

from __future__ import annotations

import json
from urllib.parse import quote

import pytest

from pytest_tdpostback.protocol.findings import find
from pytest_tdpostback.protocol.record import sent_data
from pytest_tdpostback.protocol.rules import WITH_FINDING
from tests.protocol.requests import JSON, KEY, NOW, PATH, judged, make_postback, send

TYPED = (("Content-Type", "application/json"),)
TWICE = (*JSON, ("x-td-write-key", "1/b"))
PIXEL = f"{PATH}?td_format=pixel&td_write_key={KEY}"


def found(postback, **request):
    event = send(postback, **request)
    assert {finding.rule for finding in event.findings} <= WITH_FINDING
    return [(finding.rule, finding.column) for finding in event.findings]


@pytest.mark.parametrize(
    ("request_", "expected"),
    [
        pytest.param({}, [], id="clean-post"),
        pytest.param(
            {"body": f'{{"td_record_time":{NOW},"a_1":[]}}'.encode()}, [], id="clean-time"
        ),
        pytest.param({"target": f"{PIXEL}&a=1", "method": "GET"}, [], id="clean-pixel"),
        pytest.param({"target": f"{PATH}?td_write_key={KEY}"}, [], id="clean-key-beside-the-body"),
        pytest.param({"target": f"{PATH}/"}, [("R3", None)], id="R3"),
        pytest.param({"target": PATH.replace("test_db", "DB")}, [("R8", None)], id="R8"),
        pytest.param({"body": b'{"a":1,"a":2}'}, [("B5", "a")], id="B5"),
        pytest.param(
            {"body": b"", "headers": JSON[1:], "target": f"{PATH}?a=1"}, [("B9", None)], id="B9"
        ),
        pytest.param({"target": f"{PATH}?a=1&a=2&b=3"}, [("B10", "a"), ("B10", "b")], id="B10"),
        pytest.param(
            {"target": f"{PATH}?td_write_key=1/a&td_write_key={KEY}", "headers": TYPED},
            [("P9", "td_write_key")],
            id="P9-key",
        ),
        pytest.param({"body": b'{"td_record_time":1}'}, [("T3", "td_record_time")], id="T3"),
        pytest.param({"body": b'{"td_record_time":null}'}, [("T5", "td_record_time")], id="T5"),
        pytest.param({"body": b'{"time":1}'}, [("T6", "time")], id="T6"),
        pytest.param({"target": f"{PIXEL}&time=1", "method": "GET"}, [("T6", "time")], id="T6-url"),
        pytest.param({"body": b'{"A":1,"1b":{"C":1}}'}, [("C1", "A"), ("C1", "1b")], id="C1"),
        pytest.param({"target": f"{PIXEL}&A=1", "method": "GET"}, [("C1", "A")], id="C1-url"),
        pytest.param(
            {"target": PIXEL.replace("td_format=pixel&", ""), "method": "GET"},
            [("P6", None)],
            id="P6",
        ),
        pytest.param({"target": f"{PIXEL}&a=1&a=1", "method": "GET"}, [("P9", "a")], id="P9"),
        pytest.param(
            {"headers": (*JSON, ("Content-Encoding", "identity"))}, [("B8", None)], id="B8"
        ),
        pytest.param(
            {"headers": (*JSON, ("Content-Encoding", "identity, , Identity"))},
            [("B8", None)],
            id="B8-twice",
        ),
        pytest.param({"target": f"{PIXEL}&a=%FF", "method": "GET"}, [("P10", "a")], id="P10"),
        pytest.param({"target": f"{PATH}?a=%FF"}, [("B10", "a")], id="P10-not-stored"),
    ],
)
def test_finding(request_, expected):
    assert found(make_postback(), **request_) == expected


def test_stored_parameters():
    """[B10] stored beside the body they are judged like it, and are no finding themselves."""
    postback = make_postback(url_parameters="store")
    assert found(postback, target=f"{PATH}?a=1") == []
    expected = [("P9", "A"), ("T5", "td_record_time"), ("T6", "time"), ("C1", "A")]
    query = "A=1&A=2&time=1&td_record_time=x"
    assert found(postback, target=f"{PATH}?{query}") == expected


def test_stored_parameters_without_a_pixel():
    """[P9] in v2 too, where keys in the URL do not count."""
    postback = make_postback(profile="v2-2.0.0", url_parameters="store")
    assert found(postback, target=f"{PATH}?b=2&b=3&td_write_key=1&td_write_key=2") == [("P9", "b")]


def test_none_of_a_refused_event():
    """[B3] what is refused has a rule and a reason instead."""
    assert found(make_postback(), body=b"[]", target=f"{PATH}/?a=1") == []


def wide(first, last):
    return json.dumps({f"c{number}": 1 for number in range(first, last)}).encode()


class TestColumns:
    """[C2] the event that brings its table above 512 columns."""

    def test_one_event(self):
        assert found(make_postback(), body=wide(0, 512)) == []
        assert found(make_postback(), body=wide(0, 513)) == [("C2", None)]

    def test_several_events(self):
        postback = make_postback()
        assert found(postback, body=wide(0, 300)) == []
        assert found(postback, body=wide(200, 512)) == []
        assert found(postback, body=wide(512, 513)) == [("C2", None)]
        assert found(postback, body=wide(513, 600)) == []
        assert [len(event.findings) for event in postback.events] == [0, 0, 1, 0]

    def test_time_is_no_further_column(self):
        body = wide(0, 512)[:-1] + f',"td_record_time":{NOW}}}'.encode()
        assert found(make_postback(), body=body) == []

    def test_tables_apart(self):
        postback = make_postback()
        assert found(postback, body=wide(0, 512)) == []
        assert found(postback, body=wide(512, 600), target=f"{PATH}_2") == []

    def test_what_was_rejected_brings_no_column(self):
        postback = make_postback()
        wrong = (*TYPED, ("X-TD-Write-Key", "1/wrong"))
        assert found(postback, body=wide(0, 600), headers=wrong) == []
        assert found(postback, body=wide(0, 512)) == []

    def test_forgotten_with_the_events(self):
        postback = make_postback()
        send(postback, body=wide(0, 512))
        postback.clear()
        assert found(postback, body=wide(512, 600)) == []

    def test_late_event_before_those_counted(self):
        """Held events come in later, but in the order of their arrival."""
        postback = make_postback()
        with postback.hold_validation():
            first = send(postback, body=wide(0, 512))
            second = send(postback, body=wide(512, 513))
            assert first.findings == second.findings == []
        postback.settle()
        assert [finding.rule for finding in second.findings] == ["C2"]
        assert first.findings == []


@pytest.mark.parametrize(
    ("query", "rules", "value"),
    [
        pytest.param("a=\u00c3\u00a9", ["P10"], "é", id="raw"),
        pytest.param("a=\u00c3%A9", ["P10"], "é", id="half-raw"),
        pytest.param("a=\u00e9", ["P10", "P10"], "\ufffd", id="raw-not-utf-8"),
        pytest.param("a=%ff", ["P10"], "\ufffd", id="encoded-not-utf-8"),
        pytest.param("a=%F", ["P10"], "%F", id="half-an-escape"),
        pytest.param("a=%C3%A9+%25", [], "é %", id="clean"),
    ],
)
def test_a_parameter_that_decoding_changes_is_a_finding(query, rules, value):
    """[P10] the target is text that stands for bytes."""
    request, verdict, settings = judged(b"", target=f"{PIXEL}&{query}", method="GET", headers=())
    data = sent_data(request, verdict, settings)
    assert data == {"a": value}
    assert [each.rule for each in find(request, verdict, data, settings, NOW)] == rules


@pytest.mark.parametrize("character", ["\n", "\r", "\x1b", "\x7f", "\x9b", "\u2028", "\u202e"])
@pytest.mark.parametrize("rule", ["B5", "C1", "B10", "P9"])
def test_a_finding_is_one_line_that_moves_no_cursor(rule, character):
    """Names of a sender are escaped, and a key among them is shortened."""
    name = f"x{character}12345/{'0123456789' * 4}"
    body = json.dumps({name: 1})[:-1] + "," + json.dumps({name: 1})[1:]
    query = quote(name, safe="") + "=1&" + quote(name, safe="") + "=1"
    store = "store" if rule == "P9" else "ignore"
    request, verdict, settings = judged(
        body.encode(), target=f"{PATH}?{query}", url_parameters=store
    )
    data = sent_data(request, verdict, settings)
    messages = [
        each.message for each in find(request, verdict, data, settings, NOW) if each.rule == rule
    ]
    assert len(messages) == 1
    assert messages[0].isprintable()
    assert "12345/012…" in messages[0]


def test_a_finding_about_a_long_name_is_short():
    request, verdict, settings = judged(json.dumps({"X" * 100_000: 1}).encode())
    (finding,) = find(request, verdict, sent_data(request, verdict, settings), settings, NOW)
    assert len(finding.message) < 300
    assert finding.column == "X" * 100_000


def test_repeated_headers():
    """[A4] only a server of our own sees them apart: the wire table has the requests."""
    request, verdict, settings = judged(headers=TWICE)
    data = sent_data(request, verdict, settings)
    assert [each.rule for each in find(request, verdict, data, settings, NOW)] == ["A4"]
