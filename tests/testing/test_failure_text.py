"""What a failed assertion says, word for word."""

from __future__ import annotations

import re
from functools import partial
from typing import Any

import httpx
import pytest

from pytest_tdpostback import ConfigurationError, PostbackServer, SettleTimeout
from pytest_tdpostback.testing.report import section

WRONG = "12345/abcdef0123456789"
pytestmark = [
    pytest.mark.tdpostback(on_auth_failure="ignore"),
    pytest.mark.filterwarnings("ignore::pytest_tdpostback.PostbackWarning"),
]


@pytest.fixture
def text_of(tdpostback):
    """The lines of the message of a failing call, without what changes in each run."""

    def text_of(call, *args, **kwargs):
        with pytest.raises(AssertionError) as caught:
            call(*args, **kwargs)
        text = str(caught.value).replace(tdpostback.url, "URL")
        text = re.sub(r"'time': '\d+'", "'time': '1'", text)
        account = tdpostback.write_key.partition("/")[0]
        return re.sub(account + r"/\w+…", "OWN…", text).splitlines()

    return text_of


@pytest.fixture
def missing(tdpostback, text_of):
    def missing(**columns):
        return text_of(tdpostback.assert_ingested, "shop", "orders", timeout=0, **columns)

    return missing


WANTED = "wanted 1 record in shop.orders with id=7 (waited 0 s)"


def test_nothing_arrived(missing, monkeypatch):
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    assert missing(id=7) == [
        f"no request arrived; {WANTED}",
        "  Nothing reached URL. Does the sender use this URL?",
        "  Has it sent (flushed, joined, awaited)?",
        "  Is its host hard-coded? Then: with tdpostback.redirect(): ...",
    ]


@pytest.mark.parametrize(
    ("way", "exceptions"),
    [
        ((False, "HTTP_PROXY"), ("", True)),
        ((False, "ALL_PROXY"), ("example.org", True)),
        ((False, "HTTP_PROXY"), ("127.0.0.1", False)),
        ((False, "HTTP_PROXY"), ("localhost, 127.0.0.0/8", False)),
        ((False, "HTTP_PROXY"), ("10.0.0.0/8", True)),
        ((False, "HTTPS_PROXY"), ("", False)),
        ((True, "HTTPS_PROXY"), ("", True)),
        ((True, "HTTP_PROXY"), ("", False)),
    ],
)
def test_a_proxy_of_the_environment_is_named_if_clients_of_the_url_use_it(
    make_tdpostback, text_of, monkeypatch, way, exceptions
):
    (tls, variable), (no_proxy, named) = way, exceptions
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.setenv(variable, "http://user:secret@proxy.example:3128")
    monkeypatch.setenv("NO_PROXY", no_proxy)
    head, *lines = text_of(make_tdpostback(tls=tls).assert_ingested, "web", "pages", timeout=0)
    says = f"  {variable} is set: a client may send to that proxy instead. Set NO_PROXY=127.0.0.1."
    assert (says in lines) == named
    assert head.startswith(f"no request arrived: {variable} is set; ") == named
    assert "secret" not in "\n".join(lines)


def test_a_connection_was_refused(tdpostback, missing):
    tdpostback._collector.note_refused_connection("the bytes are no HTTP\x1b[2J")
    assert missing(id=7) == [
        rf"1 connection was refused: the bytes are no HTTP\x1b[2J; {WANTED}",
        r"  connection refused: the bytes are no HTTP\x1b[2J",
        "  Fix: send an HTTP/1.1 request to tdpostback.url",
    ]


def test_a_connection_was_refused_after_an_event_arrived(tdpostback, missing, text_of, send):
    send()
    tdpostback._collector.note_refused_connection("its head is too large")
    line = "  connection refused: its head is too large"
    assert line in missing(id=7, count=2)
    assert line in missing(id=8)
    assert line in text_of(tdpostback.assert_refused, timeout=0)
    assert line in text_of(tdpostback.assert_valid, True, "web", timeout=0)
    assert section([tdpostback._receiver]).splitlines()[-1] == line.strip()


def test_the_report_of_a_refused_connection_alone(tdpostback):
    tdpostback._collector.note_refused_connection("its head is too large")
    assert section([tdpostback._receiver]).splitlines() == [
        f"no event, at {tdpostback.url}",
        "connection refused: its head is too large",
    ]


def test_a_host_was_blocked(tdpostback, missing):
    tdpostback._collector.note_blocked_host("api.example: no connections to other hosts")
    assert missing(id=7) == [
        f"no request arrived: connections to api.example were blocked; {WANTED}",
        "  Blocked: api.example: no connections to other hosts.",
    ]


def test_refused_without_a_key(missing, send):
    send(headers={"X-TD-Write-Key": None})
    head, event, fix, sent, rule = missing(id=7)
    assert head == f"refused (4xx) with 403 by A4: no write key; {WANTED}"
    assert event.startswith("  #1 POST shop.orders: refused (4xx) with 403, A4: no write key: ")
    assert fix == "  Fix: send a write key in `X-TD-Write-Key`, once."
    assert sent == "  sent: {'id': 7}"
    assert rule == "tdpostback rules A4"


@pytest.mark.parametrize(
    ("body", "cause", "fix"),
    [
        (
            {"headers": {"Content-Type": "text/html"}},
            "B1: Content-Type is 'text/html', not application/json",
            "send `Content-Type: application/json`.",
        ),
        (
            {"raw": '{"id": 7,}'},
            "B2: the body is not JSON",
            "write the body with a JSON library, in strict mode.",
        ),
        (
            {"raw": "[7]"},
            "B3: the top level is an array, not an object",
            "send one object in each request.",
        ),
    ],
)
def test_refused_for_its_body(missing, send, body, cause, fix):
    send(**body)
    head, event, next_step, sent, last = missing(id=7)
    assert head.startswith(f"refused (4xx) with 400 by {cause}; ")
    assert event.startswith(f"  #1 POST shop.orders: refused (4xx) with 400, {cause}")
    assert next_step == f"  Fix: {fix}"
    assert sent.startswith("  sent: ")
    assert last == f"tdpostback rules {cause[:2]}"


def test_refused_for_its_path(missing, send):
    send(path="/v3/event/shop/orders")
    lines = missing(id=7)
    assert lines[0].startswith(
        "refused (4xx) with 404 by R6: the path /v3/event/shop/orders is not served; "
    )
    assert lines[1].startswith("  #1 POST /v3/event/shop/orders: refused (4xx) with 404, R6: ")
    assert "  It was sent to /v3/event/shop/orders, not to shop.orders." in lines


def test_rejected_after_its_200(missing, send):
    send(key=WRONG)
    assert missing(id=7) == [
        f"rejected after 200 by A5: write key 12345/abc… is unknown; {WANTED}",
        "  #1 POST shop.orders: rejected after 200, A5: write key 12345/abc… is unknown",
        '  Fix: send tdpostback.write_key, or register yours: tdpostback.keys.add("12345/abc…")',
        "  sent: {'id': 7}",
        "tdpostback rules A5",
    ]


@pytest.mark.tdpostback(profile="v2-2.0.0", on_auth_failure="ignore")
def test_an_authorization_that_is_no_key_is_not_to_be_registered(missing, send):
    send(headers={"Authorization": "Bearer abc"})
    lines = missing(id=7)
    assert lines[0].startswith("rejected after 200 by A10: ")
    assert lines[2] == "  Fix: remove the header Authorization, or give it the scheme TD1"
    assert not any("keys.add" in line for line in lines)


def test_a_key_of_another_run(missing, send):
    send(key="12345/" + 40 * "a")
    assert missing(id=7)[2] == (
        "  12345/aaa… looks like a key of another test run: "
        "a process that outlived its run may have sent it."
    )


def test_key_of_another_postback_of_this_test(make_tdpostback, missing, send):
    send(key=make_tdpostback().write_key)
    assert missing(id=7)[2].endswith("is the write key of another Postback of this test.")
    assert missing(id=7)[3] == "  Fix: send tdpostback.write_key"


def test_a_key_outside_its_limits(tdpostback, missing, send):
    send(key=tdpostback.keys.add("12345/limited", tables="clicks"))
    assert missing(id=7)[1:3] == [
        (
            "  #1 POST shop.orders: rejected after 200, "
            "A5: write key 12345/lim… may not write to table shop.orders"
        ),
        '  Fix: extend its limits: tdpostback.keys.add("12345/lim…", tables=...)',
    ]


def test_a_key_limited_to_another_database(tdpostback, missing, send):
    send(key=tdpostback.keys.add("12345/limited", databases="web"))
    assert missing(id=7)[2] == (
        '  Fix: extend its limits: tdpostback.keys.add("12345/lim…", databases=...)'
    )


def test_a_revoked_key(tdpostback, missing, send):
    key = tdpostback.keys.add("12345/revoked")
    tdpostback.keys.revoke(key)
    send(key=key)
    assert missing(id=7)[2] == ('  Fix: make it valid again: tdpostback.keys.add("12345/rev…")')


@pytest.mark.tdpostback(profile="article-2015", on_auth_failure="ignore")
def test_key_of_another_postback_that_is_refused_at_once(make_tdpostback, missing, send):
    send(key=make_tdpostback().write_key)
    head, _, owner, fix, *_ = missing(id=7)
    assert head.startswith("refused (4xx) with 403 by A6: write key ")
    assert owner.endswith("is the write key of another Postback of this test.")
    assert fix == "  Fix: send tdpostback.write_key"


@pytest.mark.tdpostback(profile="ingestion-v1")
@pytest.mark.parametrize("revoked", [False, True])
def test_a_refused_key_of_a_batch_says_how_to_make_it_valid(tdpostback, missing, send, revoked):
    if revoked:
        tdpostback.keys.revoke(tdpostback.keys.add(WRONG))
    batch_type = "application/vnd.treasuredata.v1+json"
    fields = {"Authorization": f"TD1 {WRONG}", "Content-Type": batch_type}
    assert send({"events": [{"id": 7}]}, path="/shop/orders", headers=fields).status_code == 401

    fix = "make it valid again: " if revoked else "send tdpostback.write_key, or register yours: "
    assert missing()[2] == f'  Fix: {fix}tdpostback.keys.add("12345/abc…")'


@pytest.mark.tdpostback(profile="ingestion-v1")
def test_a_batch_without_a_key_names_no_key_to_register(missing, send):
    batch_type = "application/vnd.treasuredata.v1+json"
    send({"events": [{"id": 7}]}, path="/shop/orders", headers={"Content-Type": batch_type})
    assert missing()[0].startswith("refused (4xx) with 401 by I4: no write key")
    assert not any("keys.add" in line for line in missing())


@pytest.mark.tdpostback(stale_time="drop", on_auth_failure="ignore")
def test_dropped_for_its_time(tdpostback, missing, send):
    tdpostback.clock.freeze(1_700_000_000)
    send({"id": 7, "td_record_time": 1})
    assert missing(id=7)[1:4] == [
        "  #1 POST shop.orders: rejected after 200, T3: td_record_time 1 is older than 7 days",
        '  The setting stale_time="drop" drops an event with such a time.',
        '  Fix: send UNIX seconds, or set stale_time="receipt"',
    ]


def test_a_string_instead_of_a_number(missing, send):
    send({"id": "7", "total": 12})
    assert missing(id=7, total=12) == [
        (
            "the nearest record has id='7', not 7; "
            "wanted 1 record in shop.orders with id=7, total=12 (waited 0 s)"
        ),
        "  #1 POST shop.orders: 200, ingested",
        "  id: wanted 7, got '7' (it is a string, not a number)",
        "  record: {'time': '1', 'id': '7', 'total': 12}",
        "  Fix: change what is sent, or what is wanted; pytest -vv shows it all",
    ]


def test_a_misspelled_column(missing, send):
    send({"id": 7, "totl": 12})
    lines = missing(id=7, total=12)
    assert lines[0].startswith("the nearest record has no column total; ")
    assert "  total: wanted 12, but there is no such column; did you mean 'totl'?" in lines


def test_a_consumed_column(missing, send):
    send({"id": 7, "td_record_time": 12})
    assert (
        "  td_record_time: wanted 12, but there is no such column "
        "(T2: it is consumed and sets the column time)"
    ) in missing(id=7, td_record_time=12)


def test_milliseconds_in_a_column(missing, send):
    send({"id": 1_700_000_000_000})
    assert (
        "  id: wanted 1700000000, got 1700000000000 "
        "(it is 1000 times as much: milliseconds, not seconds?)"
    ) in missing(id=1_700_000_000)


def test_a_url_parameter_beside_a_body(missing, send):
    send(path="/postback/v3/event/shop/orders?plan=free")
    assert (
        "  plan: wanted 'free', but there is no such column "
        "(B10: a URL parameter beside a JSON body is not stored)"
    ) in missing(id=7, plan="free")


def test_the_place_of_a_nested_difference(missing, send):
    send({"items": [{"sku": "a"}, {"sku": "b", "n": 1}]})
    assert missing(items=[{"sku": "a"}, {"sku": "b", "n": 2}])[2].endswith(
        "; the first difference is at [1]['n']"
    )


def test_many_differences_are_a_few_lines(missing, send):
    send({f"c{number}": number for number in range(1_000)})
    lines = missing(where={f"c{number}": -1 for number in range(1_000)})
    assert "  … and 992 more" in lines
    assert len(lines) < 25


@pytest.mark.parametrize("route", [("shop", "order"), ("shops", "orders")])
def test_wrong_by_a_letter(missing, send, route):
    send(to=route)
    assert missing(id=7)[0] == f"the nearest record is in {route[0]}.{route[1]}; {WANTED}"


def test_a_wholly_different_table_is_not_the_nearest(missing, send):
    send({"id": 8}, to=("web", "clicks"))
    assert missing(id=7) == [
        f"nothing arrived in shop.orders; {WANTED}",
        "  What arrived was for web.clicks.",
        "  Fix: send it to shop.orders, or assert it where it arrived.",
    ]


def test_a_predicate_that_does_not_hold(missing, send):
    def is_large(record):
        return record["id"] > 7

    send()
    assert missing(where=is_large)[0] == (
        "the nearest record does not satisfy the predicate; "
        "wanted 1 record in shop.orders that satisfies is_large (waited 0 s)"
    )
    text = missing(where=lambda record: record["id"] > 8)[0]
    assert 'that satisfies lambda record: record["id"] > 8 (' in text
    text = missing(where=lambda record: record["id"] == ")", id=7)[0]
    assert 'that satisfies lambda record: record["id"] == ")" (' in text
    text = missing(where=[lambda record: record["id"] > 8, lambda _: False][1])[0]
    assert "that satisfies a lambda (" in text
    text = missing(where=partial(lambda number, _: not number, 7))[0]
    assert "that satisfies partial(lambda number, _: not number, 7) (" in text


def test_a_lambda_of_a_file_that_the_parser_warns_of(missing, send, tmp_path):
    path = tmp_path / "escapes.py"
    names: dict[str, Any] = {}
    path.write_text('wanted = lambda record: record["id"] > 8\ndigits = "\\d"\n')
    with pytest.warns(Warning, match="invalid escape sequence"):
        exec(compile(path.read_text(), path, "exec"), names)
    send()
    text = missing(where=names["wanted"])[0]
    assert 'that satisfies lambda record: record["id"] > 8 (' in text


def test_held(tdpostback, missing, send):
    with tdpostback.hold_validation():
        send()
        assert missing(id=7) == [
            f"still pending: validation is held; {WANTED}",
            "  #1 POST shop.orders: 200, pending",
            "  Fix: end hold_validation(), lower validation_delay, or give a longer timeout",
        ]


def test_lost_by_a_fault(tdpostback, missing, send):
    with tdpostback.faults.drop():
        send()
    assert missing(id=7)[:2] == [
        f"lost by the fault drop; {WANTED}",
        "  #1 POST shop.orders: 200, lost by the fault drop",
    ]


def test_too_many(missing, send):
    send()
    send()
    assert missing(id=7) == [
        f"2 records matched; {WANTED.removesuffix(' (waited 0 s)')}",
        "  #1 POST shop.orders: 200, ingested",
        "  #2 POST shop.orders: 200, ingested",
        "  2 of them are equal in every byte. Was it sent again by a retry?",
        "  Give more columns to choose one, or count=None to allow any number.",
    ]


def test_stored_twice_by_a_fault(tdpostback, missing, send):
    with tdpostback.faults.duplicate():
        send()
    assert "  #1 was stored 2 times by a fault." in missing(id=7)


def test_one_of_two_was_rejected(missing, send):
    send()
    send(key=WRONG)
    lines = missing(id=7, count=2)
    assert lines[0] == (
        "rejected after 200 by A5: write key 12345/abc… is unknown; "
        "wanted 2 records in shop.orders with id=7, found 1 (waited 0 s)"
    )
    assert lines[4:] == [
        "  2 events arrived:",
        "    #1 POST shop.orders: 200, ingested",
        "    #2 POST shop.orders: rejected after 200, A5: write key 12345/abc… is unknown",
        "tdpostback rules A5",
    ]


def test_no_more_arrived(missing, send):
    send()
    assert missing(id=7, count=2) == [
        (
            "no more than 1 record arrived; "
            "wanted 2 records in shop.orders with id=7, found 1 (waited 0 s)"
        ),
        "  Has the sender sent them all (flushed, joined, awaited)?",
    ]


def test_columns_that_are_arguments_here(tdpostback, missing, send):
    send({"count": 3, "timeout": 0})
    assert missing(count=3)[2:] == [
        "  count is an argument here; compare the column count with where={'count': ...}.",
        "  timeout is an argument here; compare the column timeout with where={'timeout': ...}.",
    ]
    assert tdpostback.assert_ingested("shop", "orders", where={"count": 3})


@pytest.mark.parametrize(
    ("given", "valid"),
    [
        ({"count": -1}, "a whole number from 0, or None for at least one"),
        ({"count": "3"}, "a whole number from 0, or None for at least one"),
        ({"timeout": "1"}, "a number of seconds from 0 to 3,600"),
        ({"timeout": float("nan")}, "a number of seconds from 0 to 3,600"),
        ({"timeout": float("inf")}, "a number of seconds from 0 to 3,600"),
        ({"timeout": -1}, "a number of seconds from 0 to 3,600"),
        ({"timeout": 3_601}, "a number of seconds from 0 to 3,600"),
        ({"count": True}, "a whole number from 0, or None for at least one"),
        ({"where": 3}, "a mapping of column names to values, or a function that takes a record"),
        (
            {"where": {1: 2}},
            "a mapping of column names to values, or a function that takes a record",
        ),
        ({"table": 3}, "a string"),
        ({"database": None}, "a string"),
    ],
)
def test_arguments_that_make_no_sense(tdpostback, given, valid):
    ((name, value),) = given.items()
    with pytest.raises(ConfigurationError) as caught:
        tdpostback.assert_ingested(**{"database": "shop", "table": "orders", **given})
    assert str(caught.value) == (
        f"{name}={value!r} is not valid; give {valid}; "
        f'a column with this name is compared by where={{"{name}": ...}}'
    )


TWO_NAMES = 'the database and the table as two arguments: "web", "signups"'
ONE_STATUS = "a whole number from 400 to 499, or 206 for a receipt"


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda p: p.assert_nothing_ingested("web.signups"), f"database='web.signups'…{TWO_NAMES}"),
        (lambda p: p.assert_refused("web.signups", count=0), f"database='web.signups'…{TWO_NAMES}"),
        (lambda p: p.assert_auth_failed("web.signups"), f"database='web.signups'…{TWO_NAMES}"),
        (lambda p: p.assert_valid(True, "web.signups"), f"database='web.signups'…{TWO_NAMES}"),
        (lambda p: p.records("web.signups"), f"database='web.signups'…{TWO_NAMES}"),
        (lambda p: p.records(5), "database=5…a string"),
        (lambda p: p.assert_valid({}, {"a": 1}), "database={'a': 1}…a string"),
        (
            lambda p: p.assert_valid({}, timeout="1"),
            "timeout='1'…a number of seconds from 0 to 3,600",
        ),
        (lambda p: p.assert_refused(status="400", count=0), f"status='400'…{ONE_STATUS}"),
        (lambda p: p.assert_refused(status=200, count=0), f"status=200…{ONE_STATUS}"),
        (lambda p: p.assert_refused(status=400.0, count=0), f"status=400.0…{ONE_STATUS}"),
        (lambda p: p.assert_auth_failed(key=5, count=0), "key=5…a string"),
        (lambda p: p.expect_auth_failure(5), "database=5…a string"),
        (lambda p: p.wait_for("x"), "predicate='x'…a function that takes an event"),
        *(
            (lambda p, name=name: getattr(p, name)(count="1"), f"count='1'…{valid}")
            for name in ("assert_refused", "assert_auth_failed", "expect_auth_failure")
            for valid in ["a whole number from 0, or None for at least one"]
        ),
    ],
)
def test_arguments_that_make_no_sense_where_no_columns_are(tdpostback, call, says):
    with pytest.raises(ConfigurationError) as caught:
        call(tdpostback)
    assert str(caught.value) == says.replace("…", " is not valid; give ")


def test_a_column_by_name_and_in_where(tdpostback):
    with pytest.raises(TypeError, match=r"^the column user is given twice: by name and in where="):
        tdpostback.assert_nothing_ingested("web", where={"user": "bob"}, user="ada")


@pytest.mark.parametrize(
    "wait",
    [
        lambda postback, timeout: postback.settle(timeout),
        lambda postback, timeout: postback.wait_for(print, timeout),
        lambda postback, timeout: postback.assert_nothing_ingested(timeout=timeout),
        lambda postback, timeout: postback.assert_refused(timeout=timeout),
        lambda postback, timeout: postback.assert_auth_failed(timeout=timeout),
        lambda postback, timeout: postback.expect_auth_failure(timeout=timeout),
        lambda postback, timeout: postback.assert_valid(True, timeout=timeout),
        lambda postback, timeout: postback.assert_no_requests(timeout),
    ],
)
@pytest.mark.parametrize(
    "timeout", ["1", float("nan"), float("inf"), 1e10, pytest.param(10**400, id="400 digits"), -1]
)
def test_a_timeout_that_makes_no_sense(tdpostback, wait, timeout):
    with pytest.raises(ConfigurationError, match=r"^timeout=.* is not valid; give a number"):
        wait(tdpostback, timeout)


def test_a_timeout_beside_columns_may_be_meant_as_a_column(tdpostback):
    for method in (tdpostback.assert_ingested, tdpostback.assert_nothing_ingested):
        with pytest.raises(ConfigurationError, match=r'compared by where=\{"timeout": \.\.\.\}$'):
            method("web", "signups", timeout="6")


def test_a_rule_that_does_not_exist(tdpostback):
    with pytest.raises(ConfigurationError) as caught:
        tdpostback.assert_refused(rule="b2")
    assert str(caught.value) == ("rule='b2' is not the id of a rule; did you mean B2?")


@pytest.mark.parametrize("table", [(), (None,)])
def test_database_and_table_in_one_argument(tdpostback, table):
    with pytest.raises(TypeError) as caught:
        tdpostback.assert_ingested("web.signups", *table)
    assert str(caught.value) == (
        "assert_ingested('web.signups'): give the database and the table as two arguments: "
        'assert_ingested("web", "signups")'
    )


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (
            lambda p: p.assert_ingested("web", "signups", {"user": "ada"}),
            "positional arguments but 4 were given",
        ),
        (
            lambda p: p.assert_ingested("web", "signups", table="t"),
            "got multiple values for argument 'table'",
        ),
        (
            lambda p: p.assert_nothing_ingested("web", "signups", {"user": "ada"}),
            "positional arguments but 4 were given",
        ),
    ],
)
def test_a_call_that_does_not_fit_says_how_to_give_columns(tdpostback, call, says):
    with pytest.raises(TypeError) as caught:
        call(tdpostback)
    what, _, hint = str(caught.value).partition("; ")
    assert what.endswith(says)
    assert hint == 'give a database, a table, and columns by name, or as where={"name": value}'


BY_NAME = "give database, table in this order, then status=..., rule=..., count=..., timeout=..."
KEY_BY_NAME = "give database, table in this order, then key=..., count=..., timeout=..."


@pytest.mark.parametrize(
    ("call", "hint"),
    [
        (lambda p: p.assert_refused("web", "x", 400), BY_NAME),
        (lambda p: p.assert_refused("web", "x", user="ada"), BY_NAME),
        (lambda p: p.assert_auth_failed("web", "x", WRONG), KEY_BY_NAME),
        (lambda p: p.expect_auth_failure("web", "x", WRONG), KEY_BY_NAME),
        (
            lambda p: p.assert_valid({}, "web", "x", 5),
            "give schema, database, table in this order, then timeout=...",
        ),
    ],
)
def test_a_call_that_does_not_fit_says_which_arguments_have_names(tdpostback, call, hint):
    with pytest.raises(TypeError) as caught:
        call(tdpostback)
    assert str(caught.value).partition("; ")[2] == hint


def test_a_type_error_of_a_predicate_stays_as_it_is(tdpostback, send):
    send()
    tdpostback.settle()
    with pytest.raises(TypeError, match=r"^'int' object is not subscriptable") as caught:
        tdpostback.assert_ingested("shop", "orders", where=lambda record: record["id"]["x"])
    assert caught.value.__notes__[0].startswith("asked about #1 POST shop.orders")


def test_a_predicate_that_raises_says_on_what(tdpostback, send):
    send()
    tdpostback.settle()
    with pytest.raises(KeyError) as caught:
        tdpostback.assert_ingested("shop", "orders", where=lambda record: record["b"])
    (note,) = caught.value.__notes__
    assert note.startswith("asked about #1 POST shop.orders: 200, ingested: {'time': ")
    with pytest.raises(ZeroDivisionError) as divided:
        tdpostback.wait_for(lambda event: event.seq / 0)
    assert divided.value.__notes__ == ["asked about #1 POST shop.orders: 200, ingested"]


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
    assert str(caught.value).splitlines() == [
        "1 request arrived at another URL; wanted 1 record in shop.orders (waited 0 s)",
        f"  This Postback has the URL {other.url}. Fix: send to this URL.",
        f"  #1 POST shop.orders: 200, ingested, at {tdpostback.url}",
    ]


def test_what_arrived_at_the_url_of_the_server_is_not_said_to_be_at_the_own_url(
    tdpostback, tdpostback_server, make_tdpostback, send
):
    other = make_tdpostback()
    send(path="/")
    tdpostback.clear()
    assert send(url=tdpostback_server.url).status_code == 200
    with pytest.raises(AssertionError) as caught:
        other.assert_ingested("shop", "orders", timeout=0)
    assert str(caught.value).splitlines()[-1].endswith(f", at {tdpostback_server.url}")


def test_long_values_are_shortened_where_they_differ(missing, send):
    send({"note": "a" * 500 + "X" + "b" * 500})
    difference = missing(note="a" * 500 + "Y" + "b" * 500)[2]
    assert "Yb" in difference
    assert "Xb" in difference
    assert len(difference) < 300


def test_a_value_whose_repr_fails(missing, send):
    class Odd:
        def __repr__(self):
            raise RuntimeError

    send()
    assert "<Odd whose repr raised RuntimeError>" in missing(id=Odd())[0]


def test_text_of_a_sender_is_escaped(missing, send):
    send({"id": 7, "\x1b[2J\u202e": "\x1b[2J"})
    send(to=("shop", "orders\x1b[2J"))
    text = "".join(missing(id=8))
    assert text.isprintable()
    assert r"\x1b[2J\u202e" in text


def test_a_key_among_the_columns_is_not_shown(tdpostback, missing, text_of, send):
    send({"td_write_key": WRONG})
    assert WRONG not in "".join(missing(id=7))
    assert WRONG not in "".join(text_of(tdpostback.assert_nothing_ingested))


def test_a_key_of_any_shape_is_not_shown(tdpostback, missing, send):
    key = tdpostback.keys.add("own/words-of-mine-that-nobody-knows")
    send({"a": f"<{key}>", key: 1})
    assert "words-of-mine" not in "".join(missing(id=7))


def test_something_was_ingested(tdpostback, text_of, send):
    send()
    assert text_of(tdpostback.assert_nothing_ingested, "shop") == [
        "1 record ingested; wanted none in database shop",
        "  #1 POST shop.orders: 200, ingested",
        "    {'time': '1', 'id': 7}",
        "  Fix: stop the sender, or forget what came before with tdpostback.clear()",
    ]


def test_refused_by_another_rule(tdpostback, text_of, send):
    send(raw="[]")
    assert text_of(tdpostback.assert_refused, "shop", "orders", rule="A4", timeout=0)[0] == (
        "refused (4xx) with 400 by B3: the top level is an array, not an object; "
        "wanted at least 1 event refused (4xx) in shop.orders with rule='A4' (waited 0 s)"
    )


def test_too_many_were_refused(tdpostback, text_of, send):
    for _ in range(2):
        send(headers={"X-TD-Write-Key": None})
    assert text_of(tdpostback.assert_refused, count=1)[0] == (
        "2 events refused (4xx); wanted 1 event refused (4xx)"
    )


def test_too_many_failed(tdpostback, text_of, send):
    def expecting():
        with tdpostback.expect_auth_failure(count=1):
            send(key=WRONG)
            send(key=WRONG)

    says = "2 events rejected after 200; wanted 1 event rejected after 200"
    assert text_of(expecting)[0] == says
    assert text_of(tdpostback.assert_auth_failed, count=1)[0] == says


def test_too_few_were_refused_or_failed(tdpostback, text_of, send):
    send(key=WRONG)
    send(raw="[]")
    assert text_of(tdpostback.assert_auth_failed, count=2, timeout=0)[0] == (
        "no more than 1 event rejected after 200; wanted 2 events rejected after 200 (waited 0 s)"
    )
    assert text_of(tdpostback.assert_refused, count=2, timeout=0)[0] == (
        "no more than 1 event refused (4xx); wanted 2 events refused (4xx) (waited 0 s)"
    )


def test_nothing_was_refused(tdpostback, text_of, send):
    send()
    assert text_of(tdpostback.assert_refused, status=400, timeout=0) == [
        "1 event got 200; wanted at least 1 event refused (4xx) with status=400 (waited 0 s)",
        "  #1 POST shop.orders: 200, ingested",
        "  Fix: send what the service refuses; `tdpostback rules` lists it",
    ]


def test_a_rejected_event_is_why_none_was_refused(tdpostback, text_of, send):
    send(key=WRONG)
    assert text_of(tdpostback.assert_refused, status=403, timeout=0)[-1] == (
        "  A bad key is rejected after its response: tdpostback.assert_auth_failed() asserts it"
    )


def test_another_key_failed(tdpostback, text_of, send):
    send(key=WRONG)
    assert text_of(tdpostback.assert_auth_failed, key="999/zzzzzz", timeout=0)[0] == (
        "1 rejected after 200 with another key, database or table; "
        "wanted at least 1 event rejected after 200 with key='999/zzz…' (waited 0 s)"
    )


def test_no_failure_inside(tdpostback, text_of, send):
    def expecting():
        with tdpostback.expect_auth_failure(timeout=0):
            send()

    assert text_of(expecting) == [
        (
            "1 event ingested: the write key is valid; "
            "wanted at least 1 event rejected after 200 (waited 0 s)"
        ),
        "  #1 POST shop.orders: 200, ingested",
        "  Fix: send another key, or make this one invalid: tdpostback.keys.revoke(key)",
    ]


def test_a_pending_event_is_why_none_was_rejected(tdpostback, text_of, send):
    with tdpostback.hold_validation():
        send(key=WRONG)
        assert text_of(tdpostback.assert_auth_failed, timeout=0)[0] == (
            "1 event still pending: validation is held; "
            "wanted at least 1 event rejected after 200 (waited 0 s)"
        )


def test_a_fault_that_lost_an_event_is_why_none_was_refused(tdpostback, text_of, send):
    with tdpostback.faults.status(503):
        send()
    assert text_of(tdpostback.assert_refused, timeout=0)[0] == (
        "1 event lost by a fault; wanted at least 1 event refused (4xx) (waited 0 s)"
    )


def test_a_fault_whose_limits_match_no_event_is_named(tdpostback, text_of, send):
    with tdpostback.faults.status(503, times=1, table="signups"):
        send()
    named = (
        "  fault status(503) with table='signups', times=1 never matched: asked 1 time, matched 0"
    )
    assert text_of(tdpostback.assert_refused, status=400, timeout=0)[-1] == named
    assert text_of(tdpostback.assert_nothing_ingested)[-1] == named


def test_no_event_satisfied(tdpostback, text_of, send):
    def is_big(event):
        return event.table == "big"

    send()
    assert text_of(tdpostback.wait_for, is_big, timeout=0) == [
        "1 event arrived; wanted one that satisfies is_big (waited 0 s)",
        "  #1 POST shop.orders: 200, ingested",
        "  Fix: compare the predicate with tdpostback.events, or give a longer timeout",
    ]


def test_a_request_that_was_not_wanted(tdpostback, text_of, send):
    tdpostback.assert_no_requests()
    send()
    tdpostback._collector.note_refused_connection("HTTP on a TLS port")
    assert text_of(tdpostback.assert_no_requests) == [
        "1 request and 1 refused connection arrived; wanted none",
        "  #1 POST shop.orders: 200, ingested",
        "  connection refused: HTTP on a TLS port",
        "Fix: stop the sender; tdpostback.clear() forgets what was sent on purpose",
    ]


def test_records_that_do_not_satisfy_a_schema(tdpostback, text_of, send):
    send()
    send({"id": "seven"})
    assert text_of(tdpostback.assert_valid, {"properties": {"id": {"type": "integer"}}}) == [
        "1 of 2 records does not satisfy the schema: $.id: 'seven' is not of type 'integer'",
        "  #2 shop.orders: $.id: 'seven' is not of type 'integer'",
        "Fix: change what is sent, or the schema",
    ]


def test_nothing_was_ingested_that_a_schema_can_check(tdpostback, text_of):
    assert text_of(tdpostback.assert_valid, True, "shop", timeout=0)[0] == (
        "no request arrived; wanted at least 1 record in database shop (waited 0 s)"
    )


def test_a_stopped_server_ends_the_wait():
    server = PostbackServer()
    server.start()
    server.stop()
    with pytest.raises(AssertionError) as caught:
        server.postback.assert_ingested("shop", "orders", timeout=20)
    assert str(caught.value).splitlines() == [
        "no request arrived: the server is stopped; wanted 1 record in shop.orders (waited 0 s)",
        "  The server is stopped. Fix: start it before you send.",
    ]


def test_a_stopped_server_is_why_no_more_arrived():
    with PostbackServer() as server:
        url = server.postback.event_url("shop", "orders")
        httpx.post(url, json={}, headers={"X-TD-Write-Key": server.write_key})
        server.postback.settle()
    with pytest.raises(AssertionError, match=r"waited 0 s.*\n  The server is stopped\. Fix: start"):
        server.postback.assert_ingested("shop", "orders", count=2, timeout=20)


def test_settling_ends_at_once_if_an_event_is_due_too_late():
    postback = PostbackServer(validation_delay=40).postback
    with httpx.Client(transport=postback.httpx_transport(), base_url="http://x") as client:
        headers = {"X-TD-Write-Key": postback.write_key}
        client.post("/postback/v3/event/shop/orders", json={}, headers=headers)
    with pytest.raises(
        SettleTimeout, match=r"1 event still pending: the next one is due in (39|40)"
    ):
        postback.settle(20)


def test_a_client_without_a_socket_is_waited_for_though_the_server_is_stopped(while_waiting):
    server = PostbackServer()
    server.start()
    server.stop()
    client = httpx.Client(transport=server.postback.httpx_transport(), base_url="http://x")
    headers = {"X-TD-Write-Key": server.write_key}
    record = while_waiting(
        lambda: server.postback.assert_ingested("shop", "orders", timeout=3_600),
        lambda: client.post("/postback/v3/event/shop/orders", json={"id": 7}, headers=headers),
    )
    assert record["id"] == 7
