"""What a failed assertion says, word for word."""

from __future__ import annotations

import re

import pytest

from pytest_tdpostback import ConfigurationError

WRONG = "12345/abcdef0123456789"
pytestmark = [
    pytest.mark.tdpostback(on_auth_failure="ignore"),
    pytest.mark.filterwarnings("ignore::pytest_tdpostback.PostbackWarning"),
]


@pytest.fixture
def told(tdpostback):
    """The lines of what a call raised, with the parts that change from run to run replaced."""

    def told(call, *args, **kwargs):
        with pytest.raises(AssertionError) as caught:
            call(*args, **kwargs)
        text = str(caught.value).replace(tdpostback.url, "URL")
        text = re.sub(r"'time': '\d+'", "'time': '1'", text)
        account = tdpostback.write_key.partition("/")[0]
        return re.sub(account + r"/\w+…", "OWN…", text).splitlines()

    return told


def missing(tdpostback, told, **columns):
    return told(tdpostback.assert_ingested, "shop", "orders", timeout=0, **columns)


def test_nothing_arrived(tdpostback, told):
    assert missing(tdpostback, told, id=7) == [
        "expected 1 record in shop.orders with id=7, found none within 0 s: nothing arrived",
        "  No request reached URL.",
        "  Is the sender given this URL, and has it sent: flushed, joined, awaited?",
    ]


def test_refused_without_a_key(tdpostback, told, send):
    send(headers={"X-TD-Write-Key": None})
    assert missing(tdpostback, told, id=7) == [
        (
            "expected 1 record in shop.orders with id=7, found none within 0 s: "
            "it arrived and was refused with 403"
        ),
        (
            "  #1 POST shop.orders: 403, refused, "
            "A4: no write key: neither the X-TD-Write-Key header "
            "nor the URL parameter td_write_key holds one"
        ),
        "  sent: {'id': 7}",
    ]


def test_refused_for_its_body(tdpostback, told, send):
    send(raw='{"id": 7,}')
    head, event, sent = missing(tdpostback, told, id=7)
    assert head.endswith("it arrived and was refused with 400")
    assert event.startswith("  #1 POST shop.orders: 400, refused, B2: ")
    assert sent == """  sent: b'{"id": 7,}'"""


def test_refused_for_its_path(tdpostback, told, send):
    send(path="/v3/event/shop/orders")
    head, event, *_ = missing(tdpostback, told, id=7)
    assert head.endswith("it arrived and was refused with 404")
    assert event.startswith("  #1 POST /v3/event/shop/orders: 404, refused, R6: ")


def test_rejected_after_its_200(tdpostback, told, send):
    send(key=WRONG)
    assert missing(tdpostback, told, id=7) == [
        (
            "expected 1 record in shop.orders with id=7, found none within 0 s: "
            "it arrived, was answered 200 and rejected afterwards"
        ),
        "  #1 POST shop.orders: 200, rejected, A5: write key 12345/abc… is unknown",
        "  The key of this double is OWN….",
        "  sent: {'id': 7}",
    ]


def test_key_of_another_double_of_this_test(tdpostback, make_tdpostback, told, send):
    other = make_tdpostback()
    send(key=other.write_key)
    assert missing(tdpostback, told, id=7)[2].endswith(
        "is the write key of another double of this test."
    )


def test_its_own_keys_are_nobody_elses(tdpostback, told, send):
    limited = tdpostback.keys.add("12345/limited", tables="clicks")
    send(key=limited)
    assert missing(tdpostback, told, id=7)[1:] == [
        (
            "  #1 POST shop.orders: 200, rejected, A5: "
            "write key 12345/lim… may not write to table shop.orders"
        ),
        "  sent: {'id': 7}",
    ]


@pytest.mark.tdpostback(profile="article-2015", on_auth_failure="ignore")
def test_key_of_another_double_that_is_refused_at_once(tdpostback, make_tdpostback, told, send):
    other = make_tdpostback()
    send(key=other.write_key)
    head, _, owner, own, _ = missing(tdpostback, told, id=7)
    assert head.endswith("it arrived and was refused with 403")
    assert owner.endswith("is the write key of another double of this test.")
    assert own == "  The key of this double is OWN…."


@pytest.mark.tdpostback(stale_time="drop", on_auth_failure="ignore")
def test_dropped_for_its_time(tdpostback, told, send):
    tdpostback.clock.freeze(1_700_000_000)
    send({"id": 7, "td_record_time": 1})
    assert missing(tdpostback, told, id=7)[1:4] == [
        "  #1 POST shop.orders: 200, rejected, T3: td_record_time 1 is older than 7 days",
        '  No key is at fault: the setting stale_time="drop" drops what has such a time (T3).',
        '  Send the time of the event in UNIX seconds, or set stale_time="receipt".',
    ]


def test_a_string_where_a_number_was_expected(tdpostback, told, send):
    send({"id": "7", "total": 12})
    assert missing(tdpostback, told, id=7, total=12) == [
        (
            "expected 1 record in shop.orders with id=7, total=12, found none within 0 s: "
            "the nearest record differs"
        ),
        "  nearest: #1 POST shop.orders: 200, ingested",
        "    id: expected 7, got '7' (it is a string, not a number)",
        "  record: {'time': '1', 'id': '7', 'total': 12}",
    ]


def test_a_misspelled_column(tdpostback, told, send):
    send({"id": 7, "totl": 12})
    assert "    total: expected 12, but there is no such column; did you mean 'totl'?" in missing(
        tdpostback, told, id=7, total=12
    )


def test_a_consumed_column(tdpostback, told, send):
    send({"id": 7, "td_record_time": 12})
    assert (
        "    td_record_time: expected 12, but there is no such column "
        "(T2: it is consumed, and sets the column time)"
    ) in missing(tdpostback, told, id=7, td_record_time=12)


def test_milliseconds(tdpostback, told, send):
    tdpostback.clock.freeze(1_700_000_000)
    send({"id": 7, "td_record_time": 1_700_000_000_000})
    assert missing(tdpostback, told, id=8, time="1699999999")[2] == (
        "  finding T5: td_record_time was ignored: "
        "1700000000000 looks like milliseconds; send UNIX seconds"
    )


def test_milliseconds_in_a_column(tdpostback, told, send):
    send({"id": 8, "at": 1_700_000_000_000})
    assert missing(tdpostback, told, id=7, at=1_700_000_000)[2:4] == [
        (
            "    at: expected 1700000000, got 1700000000000 "
            "(it is 1000 times as much: milliseconds, not seconds?)"
        ),
        "    id: expected 7, got 8",
    ]


@pytest.mark.parametrize("route", [("shop", "order"), ("shops", "orders")])
def test_wrong_by_a_letter(tdpostback, told, send, route):
    send(to=route)
    head = missing(tdpostback, told, id=7)[0]
    assert head.endswith(f"the nearest record is in {route[0]}.{route[1]}, not in shop.orders")


def test_a_wholly_different_table_is_not_meant(tdpostback, told, send):
    send({"id": 8}, to=("web", "clicks"))
    assert missing(tdpostback, told, id=7) == [
        (
            "expected 1 record in shop.orders with id=7, found none within 0 s: "
            "nothing arrived for shop.orders"
        ),
        "  What arrived was for: web.clicks (1)",
    ]


def test_a_predicate_that_does_not_hold(tdpostback, told, send):
    send()
    lines = missing(tdpostback, told, where=lambda record: record["id"] > 7)
    assert lines[0].startswith(
        "expected 1 record in shop.orders that satisfies where=..., found none"
    )
    assert lines[2] == "    where=... does not hold for {'time': '1', 'id': 7}"


def test_held(tdpostback, told, send):
    with tdpostback.hold_validation():
        send()
        assert missing(tdpostback, told, id=7) == [
            (
                "expected 1 record in shop.orders with id=7, found none within 0 s: "
                "it arrived and is still pending: validation is held"
            ),
            "  #1 POST shop.orders: 200, pending",
        ]


def test_too_many(tdpostback, told, send):
    send()
    send()
    assert missing(tdpostback, told, id=7) == [
        "expected 1 record in shop.orders with id=7, found 2: too many",
        "  #1 POST shop.orders: 200, ingested",
        "  #2 POST shop.orders: 200, ingested",
        "  2 of them are equal to the byte: was it sent again, or retried?",
        "  More columns narrow it down; count=None takes any number.",
    ]


def test_one_of_two_was_rejected(tdpostback, told, send):
    send()
    send(key=WRONG)
    lines = missing(tdpostback, told, id=7, count=2)
    assert lines[0] == (
        "expected 2 records in shop.orders with id=7, found 1 within 0 s: "
        "another arrived, was answered 200 and rejected afterwards"
    )
    assert lines[4:] == [
        "  arrived here: 2 events",
        "    #1 POST shop.orders: 200, ingested",
        "    #2 POST shop.orders: 200, rejected, A5: write key 12345/abc… is unknown",
    ]


def test_no_more_arrived(tdpostback, told, send):
    send()
    assert missing(tdpostback, told, id=7, count=2) == [
        ("expected 2 records in shop.orders with id=7, found 1 within 0 s: no more arrived"),
        "  Has the sender sent them all: flushed, joined, awaited?",
    ]


def test_columns_that_are_arguments_here(tdpostback, told, send):
    send({"count": 3, "timeout": 0})
    assert missing(tdpostback, told, count=3)[1:] == [
        "  Has the sender sent them all: flushed, joined, awaited?",
        "  count is an argument here; the column count is compared by where={'count': ...}.",
        "  timeout is an argument here; the column timeout is compared by where={'timeout': ...}.",
    ]
    assert tdpostback.assert_ingested("shop", "orders", where={"count": 3})


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"count": -1}, "count=-1: give a whole number from 0, or None for at least one; "),
        ({"count": "3"}, "count='3': give a whole number from 0, or None for at least one; "),
        ({"timeout": "1"}, "timeout='1': give seconds, from 0; "),
        ({"timeout": float("nan")}, "timeout=nan: give seconds, from 0; "),
        ({"timeout": -1}, "timeout=-1: give seconds, from 0; "),
    ],
)
def test_arguments_that_make_no_sense(tdpostback, given, says):
    with pytest.raises(ConfigurationError) as caught:
        tdpostback.assert_ingested("shop", "orders", **given)
    assert str(caught.value).startswith(says)
    assert str(caught.value).endswith(f'is compared by where={{"{next(iter(given))}": ...}}')


@pytest.mark.parametrize("name", ["assert_refused", "assert_auth_failed", "expect_auth_failure"])
def test_a_count_that_makes_no_sense(tdpostback, name):
    with pytest.raises(ConfigurationError, match=r"^count='1': give a whole number"):
        getattr(tdpostback, name)(count="1")


@pytest.mark.parametrize("wait", ["settle", "wait_for"])
def test_a_timeout_that_makes_no_sense(tdpostback, wait):
    arguments = [print] if wait == "wait_for" else []
    with pytest.raises(ConfigurationError, match=r"^timeout='1': give seconds"):
        getattr(tdpostback, wait)(*arguments, timeout="1")


def test_a_rule_that_does_not_exist(tdpostback):
    with pytest.raises(ConfigurationError, match=r"^rule='B99' is unknown; known, nearest first"):
        tdpostback.assert_refused(rule="B99")


def test_a_predicate_that_raises_says_on_what(tdpostback, send):
    def noted(caught):
        (note,) = caught.value.__notes__
        return note

    send()
    tdpostback.settle()
    with pytest.raises(KeyError) as caught:
        tdpostback.assert_ingested("shop", "orders", where=lambda record: record["b"])
    assert noted(caught).startswith("asked about #1 POST shop.orders: 200, ingested: {'time': ")
    with pytest.raises(ZeroDivisionError) as divided:
        tdpostback.wait_for(lambda event: event.seq / 0)
    assert noted(divided).startswith("asked about #1 POST shop.orders: 200, ingested")


def test_an_event_that_is_not_there(tdpostback, send):
    send()
    with pytest.raises(IndexError, match=r"^\[5\]: there is 1 event$"):
        tdpostback.events[5]
    with pytest.raises(IndexError, match=r"^\[0\]: there are no events$"):
        tdpostback.refused[0]


def test_arrived_at_another_url(tdpostback, make_tdpostback, send):
    other = make_tdpostback()
    send()
    with pytest.raises(AssertionError) as caught:
        other.assert_ingested("shop", "orders", timeout=0)
    assert str(caught.value).splitlines()[1:] == [
        f"  1 arrived at another URL than {other.url}:",
        f"  #1 POST shop.orders: 200, ingested, at {tdpostback.url}",
    ]


def test_long_values_are_shortened_where_they_differ(tdpostback, told, send):
    send({"note": "a" * 500 + "X" + "b" * 500})
    lines = missing(tdpostback, told, note="a" * 500 + "Y" + "b" * 500)
    difference = lines[2]
    assert "Yb" in difference
    assert "Xb" in difference
    assert len(difference) < 300


def test_a_value_whose_repr_fails(tdpostback, told, send):
    class Odd:
        def __repr__(self):
            raise RuntimeError

    send()
    assert "<Odd whose repr raised RuntimeError>" in missing(tdpostback, told, id=Odd())[0]


def test_a_key_among_the_columns_is_not_shown(tdpostback, told, send):
    send({"td_write_key": WRONG})
    assert WRONG not in "".join(missing(tdpostback, told, id=7))
    assert WRONG not in "".join(told(tdpostback.assert_nothing_ingested))


def test_something_was_ingested(tdpostback, told, send):
    send()
    assert told(tdpostback.assert_nothing_ingested, "shop") == [
        "expected no record in database shop, found 1",
        "  #1 POST shop.orders: 200, ingested",
        "    {'time': '1', 'id': 7}",
    ]


def test_refused_by_another_rule(tdpostback, told, send):
    send(raw="[]")
    assert told(tdpostback.assert_refused, rule="A4")[0] == (
        "expected at least 1 refused event with rule='A4', found none: 1 refused for another reason"
    )


def test_too_many_were_refused(tdpostback, told, send):
    for _ in range(2):
        send(headers={"X-TD-Write-Key": None})
    assert told(tdpostback.assert_refused, count=1)[0] == (
        "expected 1 refused event, found 2: too many"
    )


def test_too_many_failed(tdpostback, told, send):
    def expecting():
        with tdpostback.expect_auth_failure(count=1):
            send(key=WRONG)
            send(key=WRONG)

    says = "expected 1 authentication failure, found 2: too many"
    assert told(expecting)[0] == says
    assert told(tdpostback.assert_auth_failed, count=1)[0] == says


def test_nothing_was_refused(tdpostback, told, send):
    send()
    assert told(tdpostback.assert_refused, status=400) == [
        "expected at least 1 refused event with status=400, found none: 1 accepted with 200",
        "  #1 POST shop.orders: 200, ingested",
    ]


def test_another_key_failed(tdpostback, told, send):
    send(key=WRONG)
    assert told(tdpostback.assert_auth_failed, key="999/zzzzzz")[0] == (
        "expected at least 1 authentication failure of key='999/zzz…', found none: "
        "1 failed with another key, database or table"
    )


def test_no_failure_inside(tdpostback, told, send):
    def expecting():
        with tdpostback.expect_auth_failure():
            send()

    assert told(expecting) == [
        "expected at least 1 authentication failure, found none: 1 ingested, their keys are valid",
        "  #1 POST shop.orders: 200, ingested",
    ]


def test_no_event_satisfied(tdpostback, told, send):
    def is_big(event):
        return event.table == "big"

    send()
    assert told(tdpostback.wait_for, is_big, timeout=0) == [
        "no event satisfied the predicate is_big within 0 s: 1 arrived",
        "  #1 POST shop.orders: 200, ingested",
    ]
