"""From the body of a request to its records: shapes, places, content codings, limits, failures."""

from __future__ import annotations

import gzip
import json
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_tdpostback.protocol import batch
from pytest_tdpostback.protocol.body import InvalidBody
from pytest_tdpostback.protocol.judge import judge_batch, judge_head
from pytest_tdpostback.protocol.request import RequestHead
from pytest_tdpostback.protocol.settings import Settings
from tests.protocol.requests import KEY, unhurried

MIB = 1024 * 1024
LIMIT = 5 * MIB
UUID = "0b9C5a4e-3d43-4b67-9d8f-6d0e5f1a2b3c"
TYPE = "application/vnd.treasuredata.v1{}+json"
BATCH = TYPE.format("")


def read(body, *encodings, single=False, limit=LIMIT):
    """The records of a body, each as the bytes in which it stands."""
    found = batch.read(body, list(encodings), single=single, limit=limit)
    return [found.body[record.start : record.end] for record in found.records]


def refusal(body, *encodings, **options):
    """The status and the rule by which a body is refused."""
    with pytest.raises(InvalidBody) as caught:
        read(body, *encodings, **options)
    assert str(caught.value)
    return caught.value.status, caught.value.rule


@pytest.mark.parametrize(
    ("body", "records"),
    [
        (b'{"events":[{}]}', [b"{}"]),
        (b'{"events":[{"a":1},{"b":2}]}', [b'{"a":1}', b'{"b":2}']),
        (b' \r\n{ "events" :\t[ { "a" : 1 } ,\n {} ] }\n', [b'{ "a" : 1 }', b"{}"]),
        (b'{"a":[{}],"events":[{}],"z":{"events":[1,2]}}', [b"{}"]),
        (b'{"events":[1,2],"events":[{"a":3}]}', [b'{"a":3}']),
        (b'{"events":[{"a":1}],"records":[{},{}]}', [b'{"a":1}']),
        (b'{"\\u0065vents":[{"a":1}]}', [b'{"a":1}']),
        (
            b'{"events":[[],"x",null,5,-1.5e3,true]}',
            [b"[]", b'"x"', b"null", b"5", b"-1.5e3", b"true"],
        ),
        (b'{"events":[{"a":"]},{"}]}', [b'{"a":"]},{"}']),
        (b'{"events":[[[]],[{}]]}', [b"[[]]", b"[{}]"]),
        (
            '{"ä":"€","events":[{"ü":"日本"},{"b":"😀"} ],"é":1}'.encode(),
            ['{"ü":"日本"}'.encode(), '{"b":"😀"}'.encode()],
        ),
    ],
)
def test_records_are_found_where_they_stand(body, records):
    assert read(body) == records


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**30), 10**30)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec="utf-8"), max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(st.characters(codec="utf-8"), max_size=4), inner, max_size=3)
    ),
    max_leaves=8,
)
white_space = st.text(" \t\r\n", max_size=3)


@unhurried
@given(
    st.lists(st.tuples(white_space, json_values, white_space), min_size=1, max_size=6),
    st.booleans(),
    st.dictionaries(
        st.text(max_size=3).filter(lambda name: name != "events"), json_values, max_size=2
    ),
    st.sampled_from([(), ("gzip",), ("deflate",), ("gzip", "deflate")]),
)
def test_any_records_are_split_byte_for_byte(records, ascii_only, others, encodings):
    texts = [json.dumps(value, ensure_ascii=ascii_only) for _, value, _ in records]
    spaced = [
        before + text + after for text, (before, _, after) in zip(texts, records, strict=True)
    ]
    members = [f"{json.dumps(name)}:{json.dumps(value)}" for name, value in others.items()]
    try:
        body = ("{" + ",".join([*members, f'"events":[{",".join(spaced)}]']) + "}").encode()
    except UnicodeEncodeError:  # half a character
        return
    for encoding in encodings:
        body = gzip.compress(body) if encoding == "gzip" else zlib.compress(body)
    assert read(body, *encodings) == [text.encode() for text in texts]


@pytest.mark.parametrize(
    ("body", "record"),
    [
        (b'{"a":1}', b'{"a":1}'),
        (b' \n{"events":[1,2]} \t', b'{"events":[1,2]}'),
        ('\n{"ü":"日本"}\n'.encode(), '{"ü":"日本"}'.encode()),
        (b"[1]", b"[1]"),
    ],
)
def test_a_single_record_is_the_whole_body(body, record):
    assert read(body, single=True) == [record]


@pytest.mark.parametrize(
    ("body", "outcome"),
    [
        (b"[{}]", (422, "I7")),
        (b"5", (422, "I7")),
        (b'"events"', (422, "I7")),
        (b"null", (422, "I7")),
        (b"{}", (422, "I7")),
        (b'{"records":[{}]}', (422, "I7")),
        (b'{"events":{}}', (422, "I7")),
        (b'{"events":[{}],"events":5}', (422, "I7")),
        (b'{"Events":[{}]}', (422, "I7")),
        (b'{"events":[]}', (422, "I8")),
        (b'{"events":[' + b",".join([b"{}"] * 501) + b"]}", (422, "I8")),
        (b"", (400, "I11")),
        (b"{", (400, "I11")),
        (b'{"events":[{}]', (400, "I11")),
        (b'{"events":[{}]}x', (400, "I11")),
        (b'{"events":[{},]}', (400, "I11")),
        (b'{"events":[{"a":Infinity}]}', (400, "I11")),
        (b'{"events":[{"a":1e999}]}', (400, "I11")),
        (b'{"events":[{"a":"\xff"}]}', (400, "I11")),
        (b'\xef\xbb\xbf{"events":[{}]}', (400, "I11")),
        (b'{"events":' + b"[" * 512 + b"]" * 512 + b"}", (400, "I11")),
    ],
)
def test_a_body_that_is_no_batch_is_refused(body, outcome):
    assert refusal(body) == outcome


def test_a_list_of_records_is_named_in_the_reason():
    with pytest.raises(InvalidBody, match="it has 'records', which is not read"):
        read(b'{"records":[{}]}')


def test_500_records_and_511_levels_are_accepted():
    assert len(read(b'{"events":[' + b",".join([b"{}"] * 500) + b"]}")) == 500
    assert len(read(b'{"events":' + b"[" * 511 + b"]" * 511 + b"}")) == 1


@pytest.mark.parametrize("encode", [gzip.compress, zlib.compress])
def test_the_decoded_body_may_have_5_mib(encode):
    encoding = "gzip" if encode is gzip.compress else "deflate"
    body = b'{"events":[{}]}'
    body += b" " * (LIMIT - len(body))
    assert read(encode(body), encoding) == [b"{}"]
    assert refusal(encode(body + b" "), encoding) == (413, "I9")


def test_a_bomb_is_not_decoded_beyond_the_limit():
    bomb = gzip.compress(gzip.compress(b" " * 64 * MIB))
    assert len(bomb) < 1_000
    assert refusal(bomb, "gzip", "gzip") == (413, "I9")
    assert refusal(gzip.compress(b" ") + gzip.compress(b" " * LIMIT), "gzip") == (413, "I9")


COMPRESSED = gzip.compress(b'{"events":[{}]}', mtime=0)


def test_a_gzip_body_may_have_several_members():
    body = b"".join(map(gzip.compress, (b'{"events":[{"a"', b"", b":1}]}")))
    assert read(body, "gzip") == [b'{"a":1}']


@pytest.mark.parametrize("members", [(COMPRESSED,), (COMPRESSED, gzip.compress(b" "))])
def test_zero_bytes_may_follow_the_last_gzip_member(members):
    body = b"".join(members)
    assert read(body + bytes(1), "gzip") == read(body + bytes(512), "gzip") == [b"{}"]
    assert refusal(body + bytes(8) + b"x", "gzip") == (400, "I10")


@pytest.mark.parametrize(
    ("body", "encodings"),
    [
        (COMPRESSED + COMPRESSED[:-1], ["gzip"]),
        (zlib.compress(b"1") * 2, ["deflate"]),
        (b'{"events":[{}]}', ["gzip"]),
        (b'{"events":[{}]}', ["deflate"]),
        (COMPRESSED, ["deflate"]),
        (COMPRESSED[:-1], ["gzip"]),
        (COMPRESSED[:12], ["gzip"]),
        (COMPRESSED + b"x", ["gzip"]),
        (COMPRESSED[:-5] + b"xxxxx", ["gzip"]),
        (b"", ["gzip"]),
        (bytes(8), ["gzip"]),
        (b"", ["deflate"]),
        (zlib.compress(b"{}") + bytes(1), ["deflate"]),
        (zlib.compress(b"{}")[:-1], ["deflate"]),
        (zlib.compress(COMPRESSED), ["deflate", "gzip"]),
    ],
)
def test_bytes_that_do_not_decode_are_refused(body, encodings):
    assert refusal(body, *encodings) == (400, "I10")


def failure_of(record):
    text = record if isinstance(record, bytes) else json.dumps(record).encode()
    (found,) = batch.read(b'{"events":[' + text + b"]}", [], single=False, limit=LIMIT).records
    return None if found.failure is None else (found.failure.rule, found.failure.name)


VALUE, NAME = "InvalidPropertyValueError", "InvalidPropertyNameError"


@pytest.mark.parametrize(
    ("record", "failure"),
    [
        ({}, None),
        ({"a": {"": 1}}, None),
        ({"uuid": UUID}, None),
        ({"uuid": UUID.lower()}, None),
        ({"UUID": 5}, None),
        (None, ("I13", VALUE)),
        ([], ("I13", VALUE)),
        ("x", ("I13", VALUE)),
        (5, ("I13", VALUE)),
        (True, ("I13", VALUE)),
        ({"": 1}, ("I13", NAME)),
        ({"uuid": 5}, ("I16", VALUE)),
        ({"uuid": None}, ("I16", VALUE)),
        ({"uuid": ""}, ("I16", VALUE)),
        ({"uuid": UUID + "\n"}, ("I16", VALUE)),
        ({"uuid": UUID.replace("-", "")}, ("I16", VALUE)),
        ({"uuid": "{" + UUID + "}"}, ("I16", VALUE)),
        (b'{"uuid":5,"uuid":"' + UUID.encode() + b'"}', None),
        (b'{"a":"' + b"x" * (MIB - 8) + b'"}', None),
        (b'{"a":"' + b"x" * (MIB - 7) + b'"}', ("I9", VALUE)),
        (f'{{"a":"{"é" * (MIB // 2)}"}}'.encode(), ("I9", VALUE)),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_record_fails_alone(record, failure):
    assert failure_of(record) == failure


def test_the_uuid_of_a_record_is_kept_as_it_was_sent():
    body = json.dumps({"events": [{"uuid": UUID}, {}, {"uuid": 5}]}).encode()
    found = batch.read(body, [], single=False, limit=LIMIT)
    assert [record.uuid for record in found.records] == [UUID, None, None]


def head(*fields, content_type=BATCH, key=f"TD1 {KEY}", method="POST", target="/web_db/pages"):
    named = [("Content-Type", content_type), ("Authorization", key), *fields]
    return RequestHead.of(method, target, [pair for pair in named if pair[1] is not None])


def judged(body=b'{"events":[{}]}', *, size=None, settings=None, **how):
    """The status and rule of the refusal, `None` if a request is accepted."""
    sent = head(*how.pop("fields", ()), **how)
    chosen = Settings().changed({"profile": "ingestion-v1", **(settings or {})})
    verdict = judge_head(sent, chosen)
    if verdict.preflight or verdict.global_id_request:
        return "preflight" if verdict.preflight else "global id"
    found = verdict.refusal
    if found is None:
        found, _ = judge_batch(verdict, sent, body, size=size)
    return found and (found.status, found.rule)


GZIP = ("Content-Encoding", "gzip")
LONG = {"body": b"", "size": LIMIT + 1}
NO_KEY = {"key": None}
WRONG_TYPE = {"content_type": "application/json"}


@pytest.mark.parametrize(
    ("how", "outcome"),
    [
        ({}, None),
        # path, OPTIONS, method, names
        ({"target": "/web_db", "method": "OPTIONS"}, (404, "R6")),
        ({"target": "/web_db/pages/", "method": "PUT"}, (404, "R6")),
        ({"target": "/a/-", "method": "OPTIONS", **NO_KEY}, "preflight"),
        ({"target": "/", "method": "OPTIONS", **NO_KEY}, "preflight"),
        ({"target": "/a/-", "method": "PUT", **NO_KEY}, (405, "I2")),
        ({"target": "/", "method": "POST", **NO_KEY}, (405, "I2")),
        ({"target": "/", "method": "HEAD"}, (405, "I2")),
        ({"method": "GET", **NO_KEY}, (405, "I2")),
        ({"target": "/ab/pages", **NO_KEY}, (400, "I2")),
        ({"target": "/web_db/Pages", **NO_KEY}, (400, "I2")),
        ({"target": "/web_db/", **NO_KEY}, (400, "I2")),
        ({"target": "/%77eb_db/pages"}, None),
        ({"target": "/web_db/pages?x=y"}, None),
        # authentication before type, size and JSON
        ({"key": None, **WRONG_TYPE, **LONG}, (401, "I4")),
        ({"key": "TD1", **WRONG_TYPE}, (401, "I4")),
        ({"key": "TD1 "}, (401, "I4")),
        ({"key": KEY}, (401, "I4")),
        ({"key": "Basic YTpi"}, (401, "I4")),
        ({"key": f"td1  {KEY} "}, None),
        ({"target": "/", "method": "GET"}, "global id"),
        ({"target": "/", "method": "GET", **NO_KEY}, (401, "I4")),
        ({"target": "/", "method": "GET", **WRONG_TYPE}, "global id"),
        # type and encoding before size
        ({**WRONG_TYPE, **LONG}, (400, "I5")),
        ({**WRONG_TYPE, "fields": [("Content-Encoding", "br")]}, (400, "I5")),
        ({"content_type": None}, (400, "I5")),
        ({"content_type": TYPE.format(".x")}, (400, "I5")),
        ({"content_type": TYPE.format(".JS") + " ;a=b"}, None),
        ({"fields": [("Content-Encoding", "br")], **LONG}, (400, "I10")),
        ({"fields": [("Content-Encoding", "gzip, br")]}, (400, "I10")),
        ({"fields": [("Content-Encoding", "identity")]}, None),
        ({"fields": [("Content-Encoding", "")]}, None),
        ({"fields": [("Content-Encoding", "GZIP")], "body": COMPRESSED}, None),
        ({"fields": [GZIP, GZIP], "body": gzip.compress(COMPRESSED, mtime=0)}, None),
        # size before JSON
        (LONG, (413, "I9")),
        ({"body": b" " * LIMIT}, (400, "I11")),
        ({"body": b" " * (LIMIT + 1)}, (413, "I9")),
        ({"body": b"{}" * 30, "settings": {"max_body": 50}}, (413, "I9")),
        (
            {
                "body": gzip.compress(b" " * 51, mtime=0),
                "fields": [GZIP],
                "settings": {"max_body": 50},
            },
            (413, "I9"),
        ),
        # coding before JSON before shape before number
        ({"fields": [GZIP], "body": b"{"}, (400, "I10")),
        ({"body": b"{"}, (400, "I11")),
        ({"body": b"{}"}, (422, "I7")),
        ({"body": b'{"events":[]}'}, (422, "I8")),
        ({"body": b'{"events":[5]}'}, None),
        ({"content_type": TYPE.format(".single"), "body": b'{"events":[]}'}, None),
        ({"content_type": TYPE.format(".single"), "body": b"5"}, None),
        # the Postback API at its own path
        ({"target": "/postback/v3/event/web_db", **WRONG_TYPE}, (400, "R2")),
    ],
    ids=lambda value: str(value)[:80],
)
def test_the_first_rule_in_the_order_of_judgement_decides(how, outcome):
    assert judged(**how) == outcome


@pytest.mark.parametrize(
    ("body", "fields", "counted"),
    [
        (b'{"events":[{}]}', [], " (the batch has 1 record)"),
        (b'{"events":[{},5]}', [], " (the batch has 2 records)"),
        (COMPRESSED, [GZIP], " (the batch has 1 record)"),
        (COMPRESSED, [], ""),
        (b'{"events":[{}]}', [("Content-Encoding", "br")], ""),
        (b"{", [], ""),
        (b"", [], ""),
    ],
)
def test_the_reason_of_a_refused_batch_has_the_number_of_its_records(body, fields, counted):
    sent = head(*fields, key=None)
    verdict = judge_head(sent, Settings().changed({"profile": "ingestion-v1"}))
    found = verdict.refusal
    assert found is not None
    refusal, _ = judge_batch(verdict, sent, body, found)
    assert refusal == found._replace(reason=found.reason + counted)


def test_a_refused_record_is_no_batch_though_it_has_a_list_of_events():
    sent = head(content_type="application/vnd.treasuredata.v1.single+json", key=None)
    verdict = judge_head(sent, Settings().changed({"profile": "ingestion-v1"}))
    found = verdict.refusal
    assert found is not None
    assert judge_batch(verdict, sent, b'{"events":[{}]}', found) == (found, None)


def test_a_batch_of_the_wrong_type_has_the_number_of_its_records_in_the_reason():
    chosen, sent = Settings().changed({"profile": "ingestion-v1"}), head(**WRONG_TYPE)
    found, _ = judge_batch(judge_head(sent, chosen), sent, b'{"events":[{},{}]}')
    assert found is not None
    assert found.rule == "I5"
    assert found.reason.endswith("(the batch has 2 records)")


@pytest.mark.parametrize("host", ["us01", "eu01", "ap01", "ap02", "ap03", ""])
def test_the_records_hosts_speak_both_apis(host):
    name = f"{host}.records.in.treasuredata.com".lstrip(".")
    batches = RequestHead.of("POST", "/web_db/pages", [("Host", name)])
    postback = RequestHead.of("POST", "/postback/v3/event/web/pages", [("Host", f"{name}:443")])
    assert judge_head(batches, Settings()).profile.name == "ingestion-v1"
    assert judge_head(postback, Settings()).profile.name == "v2-2.0.0"


@pytest.mark.parametrize(
    ("path", "sdk"),
    [
        ("/js/v3/event/web/pages", "td-js-sdk before 4.0"),
        ("/android/v3/event", "td-android-sdk before 1.0"),
        ("/ios/v3/event", "td-ios-sdk before 1.0"),
    ],
)
@pytest.mark.parametrize("profile", ["openapi-1.0.0", "ingestion-v1"])
def test_the_path_of_an_older_sdk_is_named(path, sdk, profile):
    found = judge_head(
        RequestHead.of("POST", path, []), Settings().changed({"profile": profile})
    ).refusal
    assert found is not None
    assert (found.status, found.rule) == (404, "R6")
    assert sdk in found.reason
