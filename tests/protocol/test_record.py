"""From what was sent to the row: time, types, placeholders."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_tdpostback.protocol.record import as_string, record_columns, record_time
from tests.protocol.requests import KEY, NOW, PATH, judged, unhurried

DAY = 86_400


def row(request, verdict, settings, received_at=NOW):
    return record_columns(
        request, verdict, settings, received_at=received_at, global_id="visitor-1"
    )


@pytest.mark.parametrize(
    ("value", "rule"),
    [
        pytest.param(NOW, None, id="T2-integer"),
        pytest.param(str(NOW), None, id="T2-digits"),
        pytest.param(f"000{NOW}", None, id="T2-leading-zeros"),
        pytest.param(NOW - 7 * DAY, None, id="T4-oldest"),
        pytest.param(NOW + 3 * DAY, None, id="T4-newest"),
        pytest.param(NOW - 7 * DAY - 1, "T3", id="T3-older"),
        pytest.param(NOW + 3 * DAY + 1, "T3", id="T3-newer"),
        pytest.param(0, "T3", id="T3-zero"),
        pytest.param(-NOW, "T3", id="T3-negative"),
        pytest.param("0" * 5000, "T3", id="T3-many-zeros"),
        pytest.param(10**30, "T3", id="T3-huge"),
        pytest.param("9" * 1_000_000, "T3", id="T3-million-digits"),
        pytest.param(f"-{NOW}", "T5", id="T5-signed-text"),
        pytest.param(f"+{NOW}", "T5", id="T5-plus"),
        pytest.param(f" {NOW}", "T5", id="T5-blank"),
        pytest.param(f"{NOW}\n", "T5", id="T5-line-break"),
        pytest.param(f"{NOW}.0", "T5", id="T5-fraction-text"),
        pytest.param(float(NOW), "T5", id="T5-float"),
        pytest.param(True, "T5", id="T5-bool"),
        pytest.param(None, "T5", id="T5-null"),
        pytest.param("", "T5", id="T5-empty"),
        pytest.param("2023-11-14T22:13:20Z", "T5", id="T5-iso"),
        pytest.param("\N{FULLWIDTH DIGIT ONE}" * 10, "T5", id="T5-digits-beyond-ascii"),
        pytest.param([NOW], "T5", id="T5-list"),
        pytest.param({"n": NOW}, "T5", id="T5-object"),
        pytest.param(NOW * 1000, "T5", id="T5-milliseconds"),
        pytest.param(str(NOW * 1000 + 999), "T5", id="T5-milliseconds-text"),
        pytest.param((NOW - 400 * DAY) * 1000, "T5", id="T5-milliseconds-of-last-year"),
    ],
)
def test_record_time(value, rule):
    when = record_time(value, NOW + 0.9)
    assert when.rule == rule
    assert when.seconds == (int(value) if rule is None else None)
    assert bool(when.why) == (rule is not None)


def test_milliseconds_are_named():
    """[T5] the reason says what the number looks like."""
    assert "milliseconds" in record_time(NOW * 1000, NOW).why
    assert "milliseconds" not in record_time(10**15, NOW).why


@unhurried
@given(st.integers(-(10**15), 10**15), st.floats(0, 4e9))
def test_window(seconds, received_at):
    """[T3 T4] the window lies around the whole second of receipt, both ends inside."""
    inside = -7 * DAY <= seconds - int(received_at) <= 3 * DAY
    when = record_time(seconds, received_at)
    assert when.seconds == (seconds if inside else None)
    text, number = (record_time(form(abs(seconds)), received_at) for form in (str, int))
    assert (text.seconds, text.rule) == (number.seconds, number.rule)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        pytest.param(None, None, id="V3-null"),
        pytest.param("x", "x", id="V3-string"),
        pytest.param(True, "true", id="V3-true"),
        pytest.param(1234, "1234", id="V3-integer"),
        pytest.param(1.5, "1.5", id="V3-fraction"),
        pytest.param([1, None, "é"], '[1,null,"é"]', id="V3-list"),
        pytest.param({"a": {"b": False}}, '{"a":{"b":false}}', id="V3-object"),
    ],
)
def test_as_string(value, text):
    assert as_string(value) == text


def test_body():
    """[T1 T2 T6 T7 C3] what stays of a JSON body."""
    sent = judged(b'{"time":1,"td_record_time":"x","td_ip":"td_ip","n":1}')
    assert row(*sent) == {"time": str(NOW), "td_ip": "td_ip", "n": 1}
    assert next(iter(row(*sent))) == "time"


def test_time_of_receipt_is_cut():
    """[T7] to whole seconds."""
    request, verdict, settings = judged()
    assert row(request, verdict, settings, received_at=NOW + 0.999)["time"] == str(NOW)


@pytest.mark.parametrize(
    ("query", "body", "expected"),
    [
        pytest.param("a=1&b=%C3%A9+", b'{"b":2}', {"a": "1", "b": 2}, id="B10-body-wins"),
        pytest.param("a=1&a=2", b"{}", {"a": "2"}, id="P9-last-wins"),
        pytest.param("td_ip=td_ip", b"{}", {"td_ip": "td_ip"}, id="P3-not-beside-a-body"),
        pytest.param(f"td_write_key={KEY}&td_format=x", b"{}", {"td_format": "x"}, id="B10-key"),
        pytest.param("time=1", b"{}", {}, id="T6-of-the-url"),
        pytest.param(
            f"td_record_time={NOW - 5}", b"{}", {"time": str(NOW - 5)}, id="B10-time-of-the-url"
        ),
        pytest.param(
            f"td_record_time={NOW - 5}",
            b'{"td_record_time":"no"}',
            {"time": str(NOW)},
            id="B10-time-of-the-body-wins",
        ),
    ],
)
def test_stored_parameters(query, body, expected):
    sent = judged(body, target=f"{PATH}?{query}", url_parameters="store")
    assert row(*sent) == {"time": str(NOW), **expected}


@pytest.mark.parametrize(
    ("peer", "address"),
    [
        pytest.param("10.0.0.1:99", "10.0.0.1", id="P3-v4"),
        pytest.param("[::1]:99", "::1", id="P3-v6"),
        pytest.param(":", "", id="P3-unknown"),
    ],
)
def test_placeholders(peer, address):
    target = f"{PATH}?td_format=pixel&td_ip=td_ip&td_ua=td_ua&td_global_id=td_global_id"
    sent = judged(b"", target=target, method="GET", headers=[("X-TD-Write-Key", KEY)], peer=peer)
    stored = row(*sent)
    assert (stored["td_ip"], stored["td_ua"], stored["td_global_id"]) == (address, "", "visitor-1")


@pytest.mark.parametrize(
    ("sent", "stored"),
    [(b"Caf\xc3\xa9/1", "Caf\xe9/1"), (b"Caf\xe9/1", "Caf\xe9/1"), (b"\xc3\xe9", "\xc3\xe9")],
    ids=["UTF-8", "Latin-1", "neither"],
)
def test_a_user_agent_is_stored_with_the_letters_that_its_sender_means(sent, stored):
    """[P3] clients send UTF-8, or Latin-1, which is what other bytes count as."""
    fields = [("User-Agent", sent.decode("latin-1"))]
    target = f"{PATH}?td_format=pixel&td_write_key={KEY}&td_ua=td_ua"
    request, verdict, settings = judged(b"", target=target, method="GET", headers=fields)
    columns = record_columns(request, verdict, settings, received_at=NOW, global_id="me")
    assert columns["td_ua"] == stored
