"""Broken fake servers: each breaks exactly one behaviour, by replacing a function of the package.

A mutant that shows from outside is to be caught without the inspection interface.
"""

from __future__ import annotations

import json
import re
import sys
import uuid
from array import array
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, unquote

from pytest_tdpostback.collector.collector import Collector
from pytest_tdpostback.collector.deduplication import Deduplication
from pytest_tdpostback.collector.event_log import EventState
from pytest_tdpostback.collector.write_keys import KeyScope, WriteKeys
from pytest_tdpostback.conformance.target import WRONG_KEY
from pytest_tdpostback.protocol import batch, body, findings, judge, record, response
from pytest_tdpostback.protocol.judge import RecordSource, Refusal
from pytest_tdpostback.protocol.profiles import Profile
from pytest_tdpostback.protocol.request import RequestHead, decoded_parameters
from pytest_tdpostback.protocol.response import Response
from pytest_tdpostback.protocol.secrets import WriteKey

if TYPE_CHECKING:
    from collections.abc import Callable

    import pytest

    Break = Callable[[pytest.MonkeyPatch], None]

ARTICLE, V2, INGESTION = "article-2015", "v2-2.0.0", "ingestion-v1"


@dataclass(frozen=True)
class Mutant:
    """A fake server in which `rule` does not hold, because `what` is the case."""

    rule: str
    what: str
    breaks: Break
    outside: bool = True
    """Whether it shows in the answers."""
    profile: str = "openapi-1.0.0"


# how a behaviour is replaced, wherever it was imported


def _modules():
    """The modules of the fake server; the contract check itself is never broken."""
    names = [name for name in sys.modules if name.startswith("pytest_tdpostback.")]
    return [sys.modules[name] for name in names if ".conformance" not in name]


def constant(name: str, old: Any, new: Any) -> Break:
    """The constant `name` is `new`."""

    def breaks(patch):
        for module in _modules():
            if getattr(module, name, None) == old:
                patch.setattr(module, name, new)

    return breaks


def function(old: Callable[..., Any], new: Callable[..., Any]) -> Break:
    """`old(...)` is `new(old, ...)`."""

    def breaks(patch):
        for module in _modules():
            for name, value in list(vars(module).items()):
                if value is old:
                    patch.setattr(module, name, lambda *a, **k: new(old, *a, **k))

    return breaks


def member(owner: type, name: str, new: Any) -> Break:
    """The member `name` of a class is `new`."""
    return lambda patch: patch.setattr(owner, name, new)


def method(owner: type, name: str, new: Callable[..., Any]) -> Break:
    """The method `name` of a class is `new(old, self, ...)`."""
    old = getattr(owner, name)
    return member(owner, name, lambda self, *a, **k: new(old, self, *a, **k))


def together(*several: Break) -> Break:
    """Several replacements at once."""

    def breaks(patch):
        for each in several:
            each(patch)

    return breaks


def judged(change: Callable[[RequestHead, Any], Any]) -> Break:
    """The verdict on a head is `change(head, verdict)`."""
    return function(judge.judge_head, lambda old, head, *a: change(head, old(head, *a)))


def refuses(status: int, when: Callable[[RequestHead, Any], Any]) -> Break:
    """A head that is accepted is refused `when(head, verdict)`."""

    def change(head, verdict):
        if verdict.refusal or verdict.preflight or not when(head, verdict):
            return verdict
        return verdict._replace(refusal=Refusal(status, "X", "broken"), key=None)

    return judged(change)


def heads(change: Callable[[dict[str, str]], dict[str, str]]) -> Break:
    """A head is judged as if it had the fields `change(fields)`, whose names are lower case."""

    def judge_changed(old, head, *a):
        fields = {name.lower(): str(head.headers[name]) for name in head.headers}
        return old(RequestHead.of(head.method, str(head.target), change(fields).items()), *a)

    return function(judge.judge_head, judge_changed)


def fits(rule: str) -> Break:
    """What does not fit by `rule` is accepted."""

    def change(_, verdict):
        unfit = verdict.body_refusal
        return verdict._replace(body_refusal=None) if unfit and unfit.rule == rule else verdict

    return judged(change)


def parses(rule: str) -> Break:
    """A body that `rule` refuses is an empty object."""

    def parse(old, data):
        try:
            value = old(data)
        except (body.InvalidBody, ValueError) as error:  # `accepted` raises what `json` does
            if getattr(error, "rule", rule) == rule:
                return {}
            raise
        return value if isinstance(value, dict) else {}

    return reads(parse)


def reads(parse: Callable[[Any, bytes], Any]) -> Break:
    """A body is read by `parse(old, body)`, when it is judged and when it is shown."""
    return together(function(body.parse, parse), function(body.accepted, parse))


def rows(change: Callable[[dict[str, Any], Any, Any], dict[str, Any]]) -> Break:
    """The record is `change(row, request, verdict)`."""

    def columns(old, request, verdict, *a, **k):
        return change(old(request, verdict, *a, **k), request, verdict)

    return function(record.record_columns, columns)


def unnoticed(rule: str) -> Break:
    """Nothing is found by `rule`."""
    return function(
        findings.find,
        lambda old, *a, **k: (found for found in old(*a, **k) if found.rule != rule),
    )


def answers(of: Callable[..., Response], change: Callable[[Response], Response]) -> Break:
    """The answer of one kind is `change(answer)`."""
    return function(of, lambda old, *a, **k: change(old(*a, **k)))


def without(name: str) -> Callable[[Response], Response]:
    """An answer without a field."""
    return lambda a: Response(
        a.status, tuple(pair for pair in a.headers if pair[0] != name), a.body
    )


def tells(of: Callable[..., Response], change: Callable[[dict[str, Any]], Any]) -> Break:
    """The JSON body of a response of one kind is `change(body)`."""

    def told(response):
        text = json.dumps(change(json.loads(response.body))).encode()
        rest = without("Content-Length")(response).headers
        return Response(response.status, (*rest, ("Content-Length", str(len(text)))), text)

    return answers(of, told)


def as_json(response):
    """A response whose type is JSON (I6)."""
    rest = without("Content-Type")(response).headers
    return Response(response.status, (("Content-Type", "application/json"), *rest), response.body)


def batches(change: Callable[[bytes], bytes]) -> Break:
    """A batch is read as if its body were `change(body)`."""
    return function(batch.read, lambda old, data, *a, **k: old(change(data), *a, **k))


# what single mutants do


def in_another_table(_, verdict):
    """Records are stored in another table (I1)."""
    return verdict._replace(table="another") if verdict.ingestion and verdict.key else verdict


def known_codings(old, head):
    """A content coding that is not known is no coding (I10)."""
    return [coding for coding in old(head) if coding in judge.CODINGS]


def any_batch(old, data, *a, **k):
    """A batch that is not JSON has one record (I11)."""
    try:
        return old(data, *a, **k)
    except body.InvalidBody as error:
        if error.rule == "I11":
            return old(b'{"events":[{}]}', [], **k)
        raise


def with_new_uuids(told):
    """Receipts whose uuid is not that of the record (I16)."""
    return {"receipts": [{**each, "uuid": str(uuid.uuid4())} for each in told["receipts"]]}


def with_uuid(row, request, verdict):
    """The uuid is a column too (I16)."""
    return {**row, "uuid": json.loads(request.body).get("uuid")} if verdict.ingestion else row


def key_of_parameter(head, verdict):
    """The parameter decides (A3)."""
    sent = head.last_parameters.get("td_write_key")
    return verdict._replace(key=WriteKey(sent)) if sent and verdict.key else verdict


def any_key(fields):
    """A key is made up where there is none (A4)."""
    return fields if "authorization" in fields else {**fields, "x-td-write-key": _key_in(fields)}


def _key_in(fields):
    return fields.get("x-td-write-key") or "1/made-up"


def key_of_authorization(fields):
    """`Authorization` is a key where no rule says so (A8)."""
    scheme, _, key = fields.get("authorization", "").partition(" ")
    return {**fields, "x-td-write-key": key} if scheme == "TD1" else fields


def without_authorization(fields):
    """`Authorization` is ignored (A9)."""
    return {name: value for name, value in fields.items() if name != "authorization"}


def first_wins(_, data):
    """Of duplicate keys the first counts (B5)."""
    return json.loads(data, object_pairs_hook=lambda pairs: dict(reversed(pairs)))


def first_parameters(_, query):
    """Of repeated parameters the first counts (P9)."""
    return tuple(dict(reversed(parse_qsl(query, keep_blank_values=True))).items())


def valid_parameters(_, query):
    """Bytes that are not UTF-8 get lost (P10)."""
    return tuple(parse_qsl(query, keep_blank_values=True, errors="ignore"))


def pings_are_events(head, verdict):
    """The body of a ping is read (P8)."""
    if head.method == "POST" and verdict.source is RecordSource.PIXEL:
        return verdict._replace(source=RecordSource.JSON, from_url=False)
    return verdict


def without_chunks(old, collector, head, data, *a, **k):
    """Chunks get lost (B11)."""
    lost = "transfer-encoding" in head.headers
    return old(collector, head, b"" if lost else data, *a, **{**k, "size": None})


def decided_at_once(old, collector, *a, **k):
    """The outcome is there with the answer (Y1)."""
    exchange = old(collector, *a, **k)
    if exchange.response.status == 200:
        (place,) = exchange.indexes
        collector.log.decide(place, EventState.REJECTED, "A5", "at once")
    return exchange


def stored_at_once(old, collector, head, *a, **k):
    """The record is there with the answer (Y2)."""
    exchange = old(collector, head, *a, **k)
    stored = collector.log.ingested.setdefault(exchange.judged.table, array("Q"))
    stored.extend(exchange.indexes)
    return exchange


def without_delay(old, collector, settings):
    """Validation takes no time (Y5)."""
    old(collector, replace(settings, validation_delay=0.0))


def changed(**columns: Any) -> Callable[..., dict[str, Any]]:
    """A row whose columns hold something else, where it has them."""
    return lambda row, *_: {**row, **{name: columns[name] for name in columns if name in row}}


def written(verdict: Any) -> bool:
    """Whether the record is a JSON body."""
    return verdict.source is RecordSource.JSON


unknown_is_refused = refuses(403, lambda _, verdict: verdict.key == WRONG_KEY)
every_key_is_known = member(WriteKeys, "rejection", lambda *_: "")

MUTANTS = [
    # Route
    Mutant("R1", "the route is another", constant("ROUTE", judge.ROUTE, ("", "event"))),
    Mutant("R1", "the body is lost", rows(lambda row, *_: {"time": row["time"]}), outside=False),
    Mutant("R2", "a name holds anything", constant("NAME", judge.NAME, re.compile(r"[^/]+\Z"))),
    Mutant("R3", "the slash is refused", refuses(400, lambda head, _: not head.segments[-1])),
    Mutant("R3", "the slash is no finding", unnoticed("R3"), outside=False),
    Mutant("R4", "PUT is served", member(Profile, "methods", ("POST", "GET", "PUT", "OPTIONS"))),
    Mutant(
        "R5",
        "a page may not send the key",
        answers(response.preflight, without("Access-Control-Allow-Headers")),
    ),
    Mutant(
        "R5",
        "a page may not read the answer",
        answers(response.accepted, without("Access-Control-Allow-Origin")),
    ),
    Mutant(
        "R5",
        "a page may not read a pixel",
        answers(response.from_url, without("Access-Control-Allow-Origin")),
    ),
    Mutant(
        "R5",
        "a page may not send credentials",
        answers(response.preflight, without("Access-Control-Allow-Credentials")),
    ),
    Mutant(
        "R6",
        "an unknown path is a bad request",
        judged(
            lambda _, v: (
                v._replace(refusal=v.refusal._replace(status=400))
                if v.refusal and v.refusal.rule == "R6"
                else v
            )
        ),
    ),
    Mutant(
        "R6",
        "a preflight is no event",
        judged(lambda head, v: v._replace(preflight=True) if head.method == "OPTIONS" else v),
        outside=False,
    ),
    Mutant("R7", "the path is not decoded", function(unquote, lambda _, part: part)),
    Mutant("R8", "any name will do", unnoticed("R8"), outside=False),
    Mutant(
        "R8",
        "the name is refused",
        refuses(400, lambda _, verdict: not verdict.table.islower()),
        outside=False,
    ),
    # Authentication
    Mutant(
        "A1",
        "the letter case of the header counts",
        refuses(403, lambda head, _: "x-td-write-key" in dict(head.headers.pairs)),
    ),
    Mutant(
        "A2",
        "a key in the URL does not count",
        refuses(403, lambda head, _: "x-td-write-key" not in head.headers),
    ),
    Mutant("A3", "the parameter decides", judged(key_of_parameter), profile=ARTICLE),
    Mutant("A3", "the parameter decides", judged(key_of_parameter), outside=False),
    Mutant("A4", "no key is needed", heads(any_key)),
    Mutant("A4", "the second header is not noticed", unnoticed("A4"), outside=False),
    Mutant("A5", "an unknown key is refused", unknown_is_refused),
    Mutant("A5", "every key is known", every_key_is_known, outside=False),
    Mutant("A6", "every key is known", every_key_is_known, profile=ARTICLE),
    Mutant("A7", "a malformed key is refused", refuses(403, lambda _, v: v.key_rule == "A7")),
    Mutant("A7", "a malformed key is valid", every_key_is_known, outside=False),
    Mutant("A8", "Authorization is a key", heads(key_of_authorization)),
    Mutant("A9", "Authorization is ignored", heads(without_authorization), profile=V2),
    Mutant(
        "A10",
        "another scheme is refused",
        refuses(403, lambda head, _: "Basic" in head.headers.get("authorization", "")),
        profile=V2,
    ),
    Mutant(
        "A10",
        "another scheme is ignored",
        heads(without_authorization),
        outside=False,
        profile=V2,
    ),
    # Body
    Mutant("B1", "any type will do", fits("B1")),
    Mutant(
        "B2",
        "anything is JSON",
        together(parses("B2"), function(body.duplicate_keys, lambda *_: [])),
    ),
    Mutant("B3", "anything is an object", parses("B3")),
    Mutant("B4", "an empty body is a record", parses("B4")),
    Mutant("B5", "the first key counts", reads(first_wins), outside=False),
    Mutant("B5", "duplicates are not noticed", unnoticed("B5"), outside=False),
    Mutant("B6", "no limit", function(judge.size_limit, lambda *_: 1 << 40), profile=V2),
    Mutant("B6", "no limit", function(judge.size_limit, lambda *_: 1 << 40), outside=False),
    Mutant("B7", "any depth", constant("MAX_DEPTH", body.MAX_DEPTH, 1 << 20)),
    Mutant("B7", "less depth", constant("MAX_DEPTH", body.MAX_DEPTH, 511)),
    Mutant("B8", "any encoding", fits("B8")),
    Mutant(
        "B8",
        "identity is refused",
        refuses(400, lambda head, _: "identity" in head.fields.get("content-encoding", ())),
    ),
    Mutant("B8", "identity is not noticed", unnoticed("B8"), outside=False),
    Mutant("B9", "refused", refuses(400, lambda _, v: v.source is RecordSource.URL_PARAMETERS)),
    Mutant("B9", "not noticed", unnoticed("B9"), outside=False),
    Mutant("B10", "refused", refuses(400, lambda head, v: written(v) and head.parameters)),
    Mutant(
        "B10",
        "stored",
        rows(lambda row, request, _: {**request.head.last_parameters, **row}),
        outside=False,
    ),
    Mutant("B11", "chunks get lost", method(Collector, "receive", without_chunks)),
    # Record
    Mutant("V1", "lists get lost", rows(changed(events=[])), outside=False),
    Mutant("V2", "numbers become strings", rows(changed(number="1234")), outside=False),
    Mutant("V3", "types stay", function(record.as_string, lambda _, value: value), outside=False),
    Mutant("T1", "no time", rows(lambda row, *_: {**row, "time": "0"}), outside=False),
    Mutant(
        "T2",
        "it stays a column",
        rows(lambda row, request, _: {"td_record_time": request.body, **row}),
        outside=False,
    ),
    Mutant("T3", "a longer past", constant("OLDEST", record.OLDEST, 8 * 86_400), outside=False),
    Mutant("T3", "a longer future", constant("NEWEST", record.NEWEST, 4 * 86_400), outside=False),
    Mutant("T4", "oldest outside", constant("OLDEST", record.OLDEST, 604_799), outside=False),
    Mutant("T4", "newest outside", constant("NEWEST", record.NEWEST, 259_199), outside=False),
    Mutant("T5", "not noticed", unnoticed("T5"), outside=False),
    Mutant("T6", "kept", rows(lambda row, *_: {**row, "time": "1"}), outside=False),
    Mutant("T6", "not noticed", unnoticed("T6"), outside=False),
    Mutant(
        "T7", "a number", rows(lambda row, *_: {**row, "time": int(row["time"])}), outside=False
    ),
    Mutant("C1", "not noticed", unnoticed("C1"), outside=False),
    Mutant("C2", "any number", constant("MAX_COLUMNS", findings.MAX_COLUMNS, 999), outside=False),
    Mutant("C3", "replaced", rows(changed(td_ip="127.0.0.1")), outside=False),
    # Response
    Mutant("W1", "no date", answers(response.accepted, without("Date"))),
    Mutant(
        "W1", "a body", answers(response.accepted, lambda a: Response(a.status, a.headers, b"[]"))
    ),
    Mutant(
        "W1",
        "another order",
        answers(response.accepted, lambda a: Response(a.status, a.headers[::-1], a.body)),
    ),
    Mutant("W2", "a header is missing", answers(response.refused, without("Content-Type"))),
    Mutant(
        "W3",
        "every connection ends",
        method(Response, "to_bytes", lambda old, a, **k: old(a, **{**k, "keep_alive": False})),
    ),
    Mutant(
        "W4",
        "the reason is told",
        function(response.refused, lambda old, *a, **k: old(*a, **{**k, "explain": True})),
    ),
    # After the answer
    Mutant("Y1", "first", method(Collector, "receive", decided_at_once), outside=False),
    Mutant("Y2", "stored", method(Collector, "receive", stored_at_once), outside=False),
    Mutant("Y3", "the sender sees it", unknown_is_refused),
    Mutant("Y3", "it never fails", every_key_is_known, outside=False),
    Mutant("Y4", "no limits", member(KeyScope, "rejection", lambda *_: ""), outside=False),
    Mutant(
        "Y5",
        "never held",
        together(
            member(Collector, "hold", lambda *_: None),
            member(Collector, "release", lambda *_: None),
        ),
        outside=False,
    ),
    Mutant("Y5", "no delay", method(Collector, "configure", without_delay), outside=False),
    # Tracking pixel
    Mutant("P1", "refused", refuses(405, lambda _, v: v.source is RecordSource.PIXEL)),
    Mutant("P1", "a number", rows(changed(a=1)), outside=False),
    Mutant(
        "P2",
        "all are columns",
        constant("CONSUMED", judge.CONSUMED, frozenset({"td_write_key"})),
        outside=False,
    ),
    Mutant(
        "P3",
        "not filled in",
        function(record.substituted, lambda _, __, value, *___: value),
        outside=False,
    ),
    Mutant("P4", "no image", constant("GIF", response.GIF, b"{}")),
    Mutant("P5", "an id is missing", function(response.redirect_target, lambda _, url, *__: url)),
    Mutant("P6", "refused", refuses(400, lambda _, v: v.source is RecordSource.DEPRECATED_GET)),
    Mutant("P6", "not noticed", unnoticed("P6"), outside=False),
    Mutant("P7", "no cookie", answers(response.from_url, without("Set-Cookie"))),
    Mutant("P7", "unread", function(response.sent_global_id, lambda *_: None), outside=False),
    Mutant("P8", "the body is read", judged(pings_are_events)),
    Mutant(
        "P9",
        "the first counts",
        function(decoded_parameters, first_parameters),
        outside=False,
    ),
    Mutant("P9", "not noticed", unnoticed("P9"), outside=False),
    Mutant("P10", "not noticed", unnoticed("P10"), outside=False),
    Mutant(
        "P10",
        "invalid bytes get lost",
        function(decoded_parameters, valid_parameters),
        outside=False,
    ),
    # Data Ingestion API
    *(
        replace(mutant, profile=INGESTION)
        for mutant in (
            Mutant("I1", "not served", refuses(404, lambda _, v: v.ingestion and v.table)),
            Mutant("I1", "another table", judged(in_another_table), outside=False),
            Mutant(
                "I2", "any name", constant("PLATFORM_NAME", judge.PLATFORM_NAME, re.compile(""))
            ),
            Mutant("I3", "refused", refuses(400, lambda head, v: v.ingestion and head.parameters)),
            Mutant("I3", "not noticed", unnoticed("I3"), outside=False),
            Mutant("I4", "every key is known", every_key_is_known),
            Mutant("I4", "no limits", member(KeyScope, "rejection", lambda *_: ""), outside=False),
            Mutant("I5", "any type", fits("I5")),
            Mutant("I6", "another type", answers(response.receipts, as_json)),
            Mutant("I7", "other lists", batches(lambda b: b.replace(b'"records"', b'"events"'))),
            Mutant("I8", "more", constant("MOST_RECORDS", batch.MOST_RECORDS, 501)),
            Mutant("I8", "less", constant("MOST_RECORDS", batch.MOST_RECORDS, 499)),
            Mutant("I9", "no limit", function(judge.size_limit, lambda *_: 1 << 40)),
            Mutant("I9", "any record", constant("RECORD_LIMIT", batch.RECORD_LIMIT, 1 << 40)),
            Mutant("I10", "plain only", constant("CODINGS", judge.CODINGS, ("deflate",))),
            Mutant("I10", "any coding", function(judge.codings, known_codings)),
            Mutant("I10", "not noticed", unnoticed("I10"), outside=False),
            Mutant("I11", "anything is JSON", function(batch.read, any_batch)),
            Mutant("I11", "not noticed", unnoticed("I11"), outside=False),
            Mutant("I12", "no receipts", tells(response.receipts, lambda _: {"receipts": []})),
            Mutant(
                "I12",
                "in another order",
                tells(response.receipts, lambda told: {"receipts": told["receipts"][::-1]}),
            ),
            Mutant(
                "I13",
                "success",
                answers(response.receipts, lambda a: Response(200, a.headers, a.body)),
            ),
            Mutant("I14", "every key is known", every_key_is_known, outside=False),
            Mutant("I15", "not noticed", unnoticed("I15"), outside=False),
            Mutant(
                "I15",
                "milliseconds count",
                constant("MILLISECONDS", record.MILLISECONDS, range(0)),
                outside=False,
            ),
            Mutant("I16", "another one", tells(response.receipts, with_new_uuids)),
            Mutant("I16", "stored", rows(with_uuid), outside=False),
            Mutant(
                "I17",
                "stored again",
                member(Deduplication, "is_repeated", lambda *_: False),
                outside=False,
            ),
            Mutant("I18", "numbers become strings", rows(changed(number="1.5")), outside=False),
            Mutant(
                "I19",
                "no address",
                rows(lambda row, *_: {name: row[name] for name in row if name != "td_ip"}),
                outside=False,
            ),
            Mutant("I20", "no cookie", answers(response.global_id, without("Set-Cookie"))),
            Mutant(
                "I21",
                "a page may not send the key",
                answers(response.preflight, without("Access-Control-Allow-Headers")),
            ),
            Mutant(
                "I21",
                "a page may not read receipts",
                answers(response.receipts, without("Access-Control-Allow-Origin")),
            ),
            Mutant(
                "I21",
                "a page may not read refusals",
                answers(response.refused, without("Access-Control-Allow-Credentials")),
            ),
            Mutant("I22", "no words", tells(response.refused, lambda _: {})),
            Mutant(
                "I23",
                "a preflight is no event",
                judged(lambda h, v: v._replace(preflight=True) if h.method == "OPTIONS" else v),
            ),
        )
    ),
]
