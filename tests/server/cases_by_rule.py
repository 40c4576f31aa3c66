"""Requests for the rules: at least one for each rule that a client can see."""

from __future__ import annotations

import json

from tests.server.behaviour import (
    BY_CLIENTS,
    IN_PROCESS,
    KEY,
    NO_DUPLICATES,
    NO_EXPECT,
    NO_PIPELINE,
    NO_RAW_PATH,
    NOW,
    PATH,
    case,
    get,
    no_event,
    post,
    refused,
    rejected,
    shape,
    stored,
)

PREFIX = "/postback/v3/event"
KEYED = f"td_write_key={KEY}"
PIXEL = f"{PATH}?td_format=pixel&{KEYED}"
ROW = stored({"a": 1})
V2_LIMIT = 1_048_064
DAY = 86_400
ORIGIN = "Origin: https://a.example"
FOR_A_PAGE: dict[str, str | None] = {
    "Access-Control-Allow-Origin": "https://a.example",
    "Access-Control-Allow-Credentials": "true",
    "Vary": "Origin",
}

NO_RAW_TARGET = dict.fromkeys(("httpx", "async-httpx"), "httpx encodes a target itself")
NO_LONG_LENGTH = {
    "mounted": "werkzeug's server reads no Content-Length of so many digits",
}

_R2, _R4, _R6 = refused(400, "R2"), refused(405, "R4"), refused(404, "R6")
_A4, _A5, _A6, _A7, _A10 = (
    refused(403, "A4"),
    rejected("A5"),
    refused(403, "A6"),
    rejected("A7"),
    rejected("A10"),
)
_B1, _B2, _B3, _B4, _B7, _B8 = (refused(400, f"B{number}") for number in (1, 2, 3, 4, 7, 8))
_B6 = refused(413, "B6")


def _path(name, target, outcome, **more):
    return case(name, post(target=target), outcome, **more)


def _type(name, value, outcome=_B1):
    return case(name, post(content_type=f"Content-Type: {value}"), outcome)


def _body(name, body, outcome, **more):
    return case(name, post(body), outcome, **more)


def _pixel(name, query, outcome, *headers, v2=_R4, **more):
    return case(name, get(f"{PIXEL}{query}", *headers), outcome, v2=v2, **more)


def _padded(size):
    return b'{"a":1' + b" " * (size - 7) + b"}"


ROUTE = [
    case("R1", post(), ROW),
    _path("R2-extra-segment", f"{PATH}/more", _R2),
    _path("R2-no-table", f"{PREFIX}/test_db", _R2),
    _path("R2-empty-table", f"{PREFIX}/test_db/", _R2),
    _path("R2-empty-database", f"{PREFIX}//test_tbl", _R2),
    _path("R2-bare-prefix", PREFIX, _R2),
    _path("R2-bare-prefix-slash", f"{PREFIX}/", _R2),
    _path("R2-two-slashes-behind", f"{PATH}//", _R2),
    _path("R2-hyphen", f"{PREFIX}/test-db/test_tbl", _R2),
    _path("R2-dot", f"{PREFIX}/test_db/test.tbl", _R2),
    _path("R2-plus-is-no-space", f"{PREFIX}/test+db/test_tbl", _R2),
    _path("R2-encoded-blank", f"{PREFIX}/test%20db/test_tbl", _R2),
    _path("R2-encoded-line-break", f"{PREFIX}/test_db/test_tbl%0A", _R2),
    _path("R2-letter-beyond-ascii", f"{PREFIX}/test_db/caf%C3%A9", _R2),
    _path("R2-not-utf-8", f"{PREFIX}/test_db/%FF", _R2),
    _path("R2-digit-beyond-ascii", f"{PREFIX}/test_db/%D9%A3%D9%A3%D9%A3", _R2),
    _path("R3", f"{PATH}/", stored({"a": 1}, "R3")),
    case("R4-put", post(method="PUT"), _R4),
    case("R4-patch", post(method="PATCH"), _R4),
    case("R4-delete", post(method="DELETE"), _R4),
    case("R4-unknown-method", post(method="BREW"), _R4),
    case(
        "R4-lowercase-method",
        post(method="post"),
        _R4,
        not_on=dict.fromkeys(BY_CLIENTS, "httpx writes methods in capitals"),
    ),
    case("R6-unknown-method", post(method="BREW", target="/elsewhere"), _R6),
    case("R4-get", get(f"{PATH}?{KEYED}&a=1"), stored({"a": "1"}, "P6"), v2=_R4),
    case(
        "R5-preflight-without-origin",
        shape(f"OPTIONS {PATH} HTTP/1.1\nHost: h"),
        no_event(204),
        answer={"Access-Control-Allow-Origin": "*"},
    ),
    case(
        "R5-preflight-before-names", shape(f"OPTIONS {PREFIX}/x-y HTTP/1.1\nHost: h"), no_event(204)
    ),
    case("R6-preflight", shape("OPTIONS /elsewhere HTTP/1.1\nHost: h"), _R6),
    case(
        "R5-refusal-for-a-browser",
        post("[]", ORIGIN),
        _B3,
        answer=FOR_A_PAGE,
    ),
    case("R5-no-origin", post(), ROW, answer=dict.fromkeys(FOR_A_PAGE)),
    case(
        "R5-no-origin-of-a-pixel",
        get(f"{PIXEL}&a=1"),
        stored({"a": "1"}),
        v2=_R4,
        answer=dict.fromkeys(FOR_A_PAGE),
    ),
    _pixel("R5-pixel", "&a=1", stored({"a": "1"}), ORIGIN, answer=FOR_A_PAGE),
    _pixel("R5-redirect", "&td_redirect=x", stored({}).answered(302), ORIGIN, answer=FOR_A_PAGE),
    case(
        "R5-deprecated-get",
        get(f"{PATH}?{KEYED}&a=1", ORIGIN),
        stored({"a": "1"}, "P6"),
        v2=_R4,
        answer=FOR_A_PAGE,
    ),
    case(
        "R5-empty-post",
        post(b"", ORIGIN, content_type=None, target=f"{PATH}?a=1"),
        stored({"a": "1"}, "B9"),
        v2=_B1,
        answer=FOR_A_PAGE,
    ),
    _path("R6-root", "/", _R6),
    _path("R6-js", "/js/v3/event/test_db/test_tbl", _R6),
    _path("R6-database-table", "/test_db/test_tbl", _R6),
    _path("R6-other-version", "/postback/v2/event/test_db/test_tbl", _R6),
    _path("R6-longer-prefix", "/postback/v3/events/test_db/test_tbl", _R6),
    _path("R6-letter-case", "/Postback/v3/event/test_db/test_tbl", _R6),
    _path("R6-two-slashes-before", f"/{PATH}", _R6, not_on=NO_RAW_PATH),
    _path("R7-name", f"{PREFIX}/test%5Fdb/%74est_tbl", ROW),
    _path("R7-prefix", "/postback/v3/%65vent/test_db/test_tbl", ROW),
    _path("R7-encoded-slash-is-no-separator", f"{PREFIX}/test_db%2Ftest_tbl", _R2),
    _path("R8-upper-case", f"{PREFIX}/Test_DB/test_tbl", stored({"a": 1}, "R8")),
    _path("R8-two-letters", f"{PREFIX}/test_db/ab", stored({"a": 1}, "R8")),
    _path("R8-three-letters", f"{PREFIX}/test_db/abc", ROW),
    _path("R8-128-letters", f"{PREFIX}/test_db/{'t' * 128}", ROW),
    _path("R8-129-letters", f"{PREFIX}/{'d' * 129}/T", stored({"a": 1}, "R8", "R8")),
    _path(
        "R1-absolute-target",
        f"http://in.treasuredata.com{PATH}",
        ROW,
        not_on=dict.fromkeys(BY_CLIENTS, "a client makes such a target for a proxy alone"),
    ),
]

AUTHENTICATION = [
    case("A1-odd-letter-case", post(key=f"x-Td-wRITE-key: {KEY}"), ROW),
    case("A1-blanks-around", post(key=f"X-TD-Write-Key: \t {KEY} \t"), ROW),
    case("A2", post(key=None, target=f"{PATH}?{KEYED}"), ROW, v2=_A4),
    case(
        "A2-encoded-slash",
        post(key=None, target=f"{PATH}?td_write_key=12345%2Fabcdef"),
        ROW,
        v2=_A4,
    ),
    case(
        "A2-plus-is-a-blank",
        post(key=None, target=f"{PATH}?td_write_key=12345/abc+ef"),
        _A7,
        article=_A6,
        v2=_A4,
    ),
    case(
        "A2-last-wins",
        post(key=None, target=f"{PATH}?td_write_key=9/no&{KEYED}"),
        stored({"a": 1}, "P9"),
        v2=_A4,
    ),
    case(
        "A2-last-loses",
        post(key=None, target=f"{PATH}?{KEYED}&td_write_key=9/no"),
        rejected("A5", "P9"),
        article=_A6,
        v2=_A4,
    ),
    case("A3-right-header", post(target=f"{PATH}?td_write_key=9/no"), ROW),
    case(
        "A3-wrong-header",
        post(key="X-TD-Write-Key: 9/no", target=f"{PATH}?{KEYED}"),
        _A5,
        article=_A6,
    ),
    case("A4-none", post(key=None), _A4),
    case("A4-empty-header", post(key="X-TD-Write-Key:"), _A4),
    case(
        "A4-empty-header-beside-parameter",
        post(key="X-TD-Write-Key: ", target=f"{PATH}?{KEYED}"),
        _A4,
    ),
    case("A4-empty-parameter", post(key=None, target=f"{PATH}?td_write_key="), _A4),
    case(
        "A4-parameter-in-other-letter-case",
        post(key=None, target=f"{PATH}?TD_WRITE_KEY={KEY}"),
        _A4,
    ),
    case(
        "A4-first-counts",
        post(b'{"a":1}', "X-TD-Write-Key: 9/no"),
        stored({"a": 1}, "A4"),
        not_on=NO_DUPLICATES,
    ),
    case(
        "A4-first-is-wrong",
        post(b'{"a":1}', f"X-TD-Write-Key: {KEY}", key="X-TD-Write-Key: 9/n"),
        rejected("A5", "A4"),
        article=_A6,
        not_on=NO_DUPLICATES,
    ),
    case(
        "A4-first-is-empty",
        post(b'{"a":1}', f"X-TD-Write-Key: {KEY}", key="X-TD-Write-Key:"),
        _A4,
        not_on=NO_DUPLICATES,
    ),
    case("A5", post(key="X-TD-Write-Key: 12345/wrong"), _A5, article=_A6),
    case(
        "A6-before-the-body", post("nothing", key="X-TD-Write-Key: 12345/wrong"), _B2, article=_A6
    ),
    case("A7-no-slash", post(key="X-TD-Write-Key: abcdef"), _A7, article=_A6),
    case("A7-no-account", post(key="X-TD-Write-Key: /abcdef"), _A7, article=_A6),
    case("A7-no-secret", post(key="X-TD-Write-Key: 12345/"), _A7, article=_A6),
    case("A7-two-slashes", post(key="X-TD-Write-Key: 1/2/3"), _A7, article=_A6),
    case(
        "A7-refuse", post(key="X-TD-Write-Key: abcdef"), refused(403, "A7"), malformed_key="refuse"
    ),
    case(
        "A7-refuse-lets-unknown-through",
        post(key="X-TD-Write-Key: 1/b"),
        _A5,
        article=_A6,
        malformed_key="refuse",
    ),
    case("A8-alone", post(key=f"Authorization: TD1 {KEY}"), _A4, v2=ROW),
    case("A9-other-letter-case", post(key=f"authorization: td1  {KEY}"), _A4, v2=ROW),
    case("A9-authorization-wins", post(b'{"a":1}', "Authorization: TD1 9/no"), ROW, v2=_A5),
    case(
        "A9-authorization-is-right",
        post(b'{"a":1}', f"Authorization: TD1 {KEY}", key="X-TD-Write-Key: 9/no"),
        _A5,
        article=_A6,
        v2=ROW,
    ),
    case("A9-empty-td1", post(b'{"a":1}', "Authorization: TD1"), ROW, v2=_A4),
    case("A9-malformed", post(key="Authorization: TD1 abcdef"), _A4, v2=_A7),
    case("A9-parameter-does-not-count", post(b'{"a":1}', target=f"{PATH}?td_write_key=9/no"), ROW),
    case("A10-beside", post(b'{"a":1}', f"Authorization: Bearer {KEY}"), ROW, v2=_A10),
    case("A10-no-scheme", post(b'{"a":1}', f"Authorization: {KEY}"), ROW, v2=_A10),
    case("A10-alone", post(key=f"Authorization: Basic {KEY}"), _A4),
]

BODY = [
    _type("B1-parameters", "application/json; charset=utf-8; boundary=x", ROW),
    _type("B1-blank-before-parameter", "application/json ; charset=utf-8", ROW),
    _type("B1-letter-case", "Application/JSON", ROW),
    _type("B1-other-json", "application/vnd.api+json"),
    _type("B1-longer", "application/jsonp"),
    _type("B1-no-semicolon", "application/json charset=utf-8"),
    _type("B1-text-json", "text/json"),
    _type("B1-form", "application/x-www-form-urlencoded"),
    case("B1-missing", post(content_type=None), _B1),
    case(
        "B1-empty-with-type-of-a-form", post(b"", content_type="Content-Type: application/x"), _B1
    ),
    _body("B2-nan", '{"a":NaN}', _B2),
    _body("B2-infinity", '{"a":-Infinity}', _B2),
    _body("B2-lone-surrogate", r'{"a":"\ud800"}', _B2),
    _body("B2-lone-surrogate-in-key", r'{"\udfff":1}', _B2),
    _body("B2-lone-surrogate-in-lost-duplicate", r'{"a":"\ud800","a":1}', _B2),
    _body("B2-surrogates-in-wrong-order", r'{"a":"\ude00\ud83d"}', _B2),
    _body("B2-surrogate-pair", r'{"a":"\uD83D\ude00"}', stored({"a": "\N{GRINNING FACE}"})),
    _body("B2-escaped-backslash-is-no-escape", r'{"a":"\\ud800"}', stored({"a": r"\ud800"})),
    _body("B2-bom", b'\xef\xbb\xbf{"a":1}', _B2),
    _body("B2-trailing-comma", '{"a":1,}', _B2),
    _body("B2-invalid-utf-8", b'{"a":"\xff"}', _B2),
    _body("B2-utf-16", '{"a":1}'.encode("utf-16"), _B2),
    _body("B2-utf-8", '{"ключ":1}', stored({"ключ": 1}, "C1")),
    _body("B2-control-character", '{"a":"\t"}', _B2),
    _body("B2-single-quotes", "{'a':1}", _B2),
    _body("B2-comment", '{"a":1} // no', _B2),
    _body("B2-two-values", '{"a":1}{"b":2}', _B2),
    _body("B2-blanks-only", " \r\n", _B2),
    _body("B2-no-break-space", '{"a":1}\N{NO-BREAK SPACE}', _B2),
    _body("B2-leading-zero", '{"a":01}', _B2),
    _body("B2-out-of-range", '{"a":1e309}', _B2),
    _body(
        "B2-greatest-double", '{"a":1.7976931348623157e308}', stored({"a": 1.7976931348623157e308})
    ),
    _body("B2-4300-digits", '{"a":-' + "9" * 4300 + "}", stored({"a": 1 - 10**4300})),
    _body("B2-4301-digits", '{"a":' + "9" * 4301 + "}", _B2),
    _body("B3-array", '[{"a":1}]', _B3),
    _body("B3-null", "null", _B3),
    _body("B3-string", '"a"', _B3),
    _body("B3-number", "1", _B3),
    _body("B3-boolean", "true", _B3),
    _body("B4", b"", _B4),
    _body("B5", '{"a":1,"a":2}', stored({"a": 2}, "B5")),
    _body("B5-nested", '{"o":{"k":1,"k":2}}', stored({"o": {"k": 2}}, "B5")),
    case("B6-max-body", post(_padded(101)), _B6, max_body=100),
    case("B6-max-body-exactly", post(_padded(100)), ROW, max_body=100),
    case(
        "B6-chunked",
        shape(
            "POST {path} HTTP/1.1\nHost: h\nContent-Type: application/json\n"
            "X-TD-Write-Key: {key}\nTransfer-Encoding: chunked",
            b"65\r\n" + _padded(101) + b"\r\n0\r\n\r\n",
        ),
        _B6,
        max_body=100,
    ),
    case(
        "B6-expect-is-answered-without-100",
        shape(
            "POST {path} HTTP/1.1\nHost: h\n"
            "Content-Type: application/json\nX-TD-Write-Key: {key}\nContent-Length: 101\n"
            "Expect: 100-continue"
        ),
        _B6,
        not_on=NO_EXPECT,
        max_body=100,
    ),
    case(
        "B6-v2-above",
        post(_padded(V2_LIMIT + 1)),
        ROW,
        v2=_B6,
        not_on={"bytewise": "a million bytes, one at a time"},
    ),
    case(
        "B6-v2-exactly",
        post(_padded(V2_LIMIT)),
        ROW,
        not_on={"bytewise": "a million bytes, one at a time"},
    ),
    _body(
        "B7-512-levels",
        '{"a":' * 511 + "{}" + "}" * 511,
        stored(json.loads('{"a":' * 511 + "{}" + "}" * 511)),
    ),
    _body("B7-513-levels", '{"a":' * 512 + "{}" + "}" * 512, _B7),
    _body("B7-513-levels-of-lists", '{"a":' + "[" * 512 + "]" * 512 + "}", _B7),
    _body("B7-brackets-in-text", json.dumps({"a": '[{\\"' * 600}), stored({"a": '[{\\"' * 600})),
    case(
        "B6-length-of-many-zeros",
        post().replace(b"Content-Length: ", b"Content-Length: " + b"0" * 5_000),
        ROW,
        not_on=NO_LONG_LENGTH,
    ),
    _body("B7-never-closed", '{"a":' * 100_000, _B7, not_on={"bytewise": "half a megabyte"}),
    case("B8", post(b'{"a":1}', "Content-Encoding: gzip"), _B8),
    case("B8-identity", post(b'{"a":1}', "Content-Encoding: Identity"), stored({"a": 1}, "B8")),
    case("B8-two-encodings", post(b'{"a":1}', "Content-Encoding: identity, gzip"), _B8),
    case(
        "B9", post(b"", content_type=None, target=f"{PATH}?a=1"), stored({"a": "1"}, "B9"), v2=_B1
    ),
    case(
        "B9-text",
        post(b"", content_type="Content-Type: Text/Plain;", target=f"{PATH}?a=1&b="),
        stored({"a": "1", "b": ""}, "B9"),
        v2=_B1,
    ),
    case(
        "B9-time",
        post(b"", content_type=None, target=f"{PATH}?a=1&td_record_time={NOW - 5}"),
        stored({"a": "1", "time": str(NOW - 5)}, "B9"),
        v2=_B1,
    ),
    case(
        "B9-placeholders",
        post(b"", content_type=None, target=f"{PATH}?td_ip=td_ip"),
        stored({"td_ip": "127.0.0.1"}, "B9"),
        v2=_B1,
    ),
    case(
        "B9-no-data",
        post(b"", content_type=None, target=f"{PATH}?{KEYED}&td_redirect=x"),
        _B4,
        v2=_B1,
    ),
    case("B9-no-parameters", post(b"", content_type=None), _B4, v2=_B1),
    case("B9-not-empty", post(b"a", content_type=None, target=f"{PATH}?a=1"), _B1),
    case("B9-declared-json", post(b"", target=f"{PATH}?a=1"), _B4),
    case(
        "B9-encoded",
        post(b"", "Content-Encoding: gzip", content_type=None, target=f"{PATH}?a=1"),
        _B8,
        v2=_B1,
    ),
    case("B10-ignored", post(target=f"{PATH}?b=2&c=3"), stored({"a": 1}, "B10", "B10")),
    case("B10-key-is-no-column", post(target=f"{PATH}?{KEYED}"), ROW),
    case(
        "B10-stored",
        post(target=f"{PATH}?b=2&{KEYED}"),
        stored({"b": "2", "a": 1}),
        url_parameters="store",
    ),
    case("B10-body-wins", post(target=f"{PATH}?a=2"), ROW, url_parameters="store"),
    case(
        "B10-stored-time",
        post(target=f"{PATH}?td_record_time={NOW - 9}"),
        stored({"a": 1, "time": str(NOW - 9)}),
        url_parameters="store",
    ),
    case(
        "B10-ignored-time", post(target=f"{PATH}?td_record_time={NOW - 9}"), stored({"a": 1}, "B10")
    ),
    case(
        "B11-trailers-and-extensions",
        shape(
            "POST {path} HTTP/1.1\nHost: h\n"
            "Content-Type: application/json\nX-TD-Write-Key: {key}\nTrailer: Digest\n"
            "Transfer-Encoding: chunked",
            b'03;name=value\r\n{"a\r\n4;q="x"\r\n":1}\r\n000\r\nDigest: x\r\n\r\n',
        ),
        ROW,
        not_on={"mounted": "werkzeug's server reads no chunk extensions"},
    ),
]

RECORD = [
    _body(
        "V1-list-in-an-object",
        '{"events":[{"a":1},{"a":2}]}',
        stored({"events": [{"a": 1}, {"a": 2}]}),
    ),
    _body("V1-empty-object", "{}", stored({})),
    _body(
        "V2",
        '{"i":1234,"f":1.5,"b":true,"n":null,"s":"x"}',
        stored({"i": 1234, "f": 1.5, "b": True, "n": None, "s": "x"}),
    ),
    _body(
        "V3",
        '{"i":1234,"f":1.5,"b":true,"c":false,"n":null,"s":"x","o":{"é":[1, null]}}',
        stored(
            {
                "i": "1234",
                "f": "1.5",
                "b": "true",
                "c": "false",
                "n": None,
                "s": "x",
                "o": '{"é":[1,null]}',
            }
        ),
        value_types="string",
    ),
    _body("T1", "{}", stored({"time": str(NOW)})),
    _body("T2-number", f'{{"td_record_time":{NOW - 1}}}', stored({"time": str(NOW - 1)})),
    _body("T2-string", f'{{"td_record_time":"{NOW + 1}"}}', stored({"time": str(NOW + 1)})),
    _body("T3-old", f'{{"td_record_time":{NOW - 7 * DAY - 1}}}', stored({}, "T3")),
    _body("T3-ahead", f'{{"td_record_time":{NOW + 3 * DAY + 1}}}', stored({}, "T3")),
    _body(
        "T3-drop",
        f'{{"td_record_time":{NOW - 7 * DAY - 1}}}',
        rejected("T3", "T3"),
        stale_time="drop",
    ),
    _body(
        "T3-drop-milliseconds",
        f'{{"td_record_time":{NOW * 1000}}}',
        rejected("T3", "T5"),
        stale_time="drop",
    ),
    _body(
        "T3-drop-spares-the-window", f'{{"td_record_time":{NOW}}}', stored({}), stale_time="drop"
    ),
    _body(
        "T4-oldest", f'{{"td_record_time":{NOW - 7 * DAY}}}', stored({"time": str(NOW - 7 * DAY)})
    ),
    _body(
        "T4-newest", f'{{"td_record_time":{NOW + 3 * DAY}}}', stored({"time": str(NOW + 3 * DAY)})
    ),
    _body("T5-text", '{"td_record_time":"yesterday"}', stored({}, "T5")),
    _body("T5-milliseconds", f'{{"td_record_time":{NOW}000}}', stored({}, "T5")),
    _body("T6", '{"time":1,"a":1}', stored({"a": 1}, "T6")),
    _body(
        "C1",
        '{"Price":1,"1st":2,"a b":3,"":4,"_ok":5}',
        stored({"Price": 1, "1st": 2, "a b": 3, "": 4, "_ok": 5}, "C1", "C1", "C1", "C1"),
    ),
    _body(
        "C2-512-columns",
        json.dumps({f"c{n}": n for n in range(512)}),
        stored({f"c{n}": n for n in range(512)}),
    ),
    _body(
        "C2-513-columns",
        json.dumps({f"c{n}": n for n in range(513)}),
        stored({f"c{n}": n for n in range(513)}, "C2"),
    ),
    _body(
        "C3",
        '{"td_ip":"td_ip","td_ua":"td_ua","td_global_id":"td_global_id"}',
        stored({"td_ip": "td_ip", "td_ua": "td_ua", "td_global_id": "td_global_id"}),
    ),
]

ANSWER = [
    case("W2-v2-get", get(PATH, f"X-TD-Write-Key: {KEY}"), stored({}, "P6"), v2=_R4),
    case(
        "W3-http-1.0",
        shape(
            "POST {path} HTTP/1.0\nContent-Type: application/json\n"
            "X-TD-Write-Key: {key}\nContent-Length: {length}",
            '{"a":1}',
        ),
        ROW,
        answer={"Connection": "close"},
    ),
    case(
        "W3-http-1.0-keep-alive",
        shape(
            "POST {path} HTTP/1.0\nConnection: keep-alive\n"
            "Content-Type: application/json\nX-TD-Write-Key: {key}\nContent-Length: {length}",
            '{"a":1}',
        ),
        ROW,
        answer={"Connection": "close"},
    ),
    case(
        "W3-kept-alive",
        post(),
        ROW,
        answer={"Connection": "keep-alive"},
        not_on={"mounted": "werkzeug's server closes", **dict.fromkeys(IN_PROCESS, "hop by hop")},
    ),
    case(
        "W3-pipelined",
        post() + post("[]") + post('{"b":2}'),
        ROW,
        _B3,
        stored({"b": 2}),
        not_on=NO_PIPELINE,
    ),
    case(
        "W3-pipelined-chunked",
        shape(
            "POST {path} HTTP/1.1\nHost: h\n"
            "Content-Type: application/json\nX-TD-Write-Key: {key}\nTransfer-Encoding: chunked",
            b'7\r\n{"a":1}\r\n0\r\n\r\n',
        )
        + post(),
        ROW,
        ROW,
        not_on=NO_PIPELINE,
    ),
]

TRACKING_PIXEL = [
    _pixel(
        "P1",
        "&a=1&b=x%20y+z&c",
        stored({"a": "1", "b": "x y z", "c": ""}),
        answer={"Content-Type": "image/gif"},
    ),
    _pixel("P1-no-columns", "", stored({})),
    _pixel("P1-wrong-key", "&td_write_key=9/no", rejected("A5", "P9"), article=_A6),
    case("P1-no-key", get(f"{PATH}?td_format=pixel&a=1"), _A4, v2=_R4),
    case(
        "P1-key-in-the-header",
        get(f"{PATH}?td_format=pixel&a=1", f"X-TD-Write-Key: {KEY}"),
        stored({"a": "1"}),
        v2=_R4,
    ),
    _pixel("P2-time", f"&td_record_time={NOW - 2}&a=1", stored({"a": "1", "time": str(NOW - 2)})),
    _pixel("P2-stale-time", "&td_record_time=0", stored({}, "T3")),
    _pixel("P2-empty-time", "&td_record_time=", stored({}, "T5")),
    _pixel(
        "P3",
        "&td_ip=td_ip&td_ua=td_ua",
        stored({"td_ip": "127.0.0.1", "td_ua": "Agent/1"}),
        "User-Agent: Agent/1",
    ),
    _pixel(
        "P3-other-values",
        "&td_ip=1.2.3.4&td_ua=x&td_global_id=g&a=td_ip",
        stored({"td_ip": "1.2.3.4", "td_ua": "x", "td_global_id": "g", "a": "td_ip"}),
    ),
    _pixel(
        "P5",
        "&td_redirect=https%3A%2F%2Fshop.example%2F%3Fq%3D1",
        stored({}).answered(302),
        answer={"Location": "https://shop.example/?q=1"},
    ),
    _pixel(
        "P5-global-id",
        "&td_redirect=http%3A%2F%2Fx%2F%3Ftd_global_id%3Dtd_global_id%26n%3D1",
        stored({}).answered(302),
        "Cookie: _td_global=me",
        answer={"Location": "http://x/?td_global_id=me&n=1"},
    ),
    _pixel(
        "P5-no-header-injection",
        "&td_redirect=http%3A%2F%2Fx%2F%0D%0ASet-Cookie%3A%20a%3D1",
        stored({}).answered(302),
        answer={"Location": "http://x/%0D%0ASet-Cookie:%20a=1"},
    ),
    _pixel("P5-empty", "&td_redirect=", stored({}), answer={"Location": None}),
    case(
        "P6",
        get(f"{PATH}?{KEYED}&a=1&td_ua=td_ua&td_redirect=x", "User-Agent: A"),
        stored({"a": "1", "td_ua": "A"}, "P6"),
        v2=_R4,
        answer={"Content-Type": "application/json"},
    ),
    case(
        "P6-other-format",
        get(f"{PATH}?{KEYED}&a=1&td_format=gif"),
        stored({"a": "1"}, "P6"),
        v2=_R4,
    ),
    _pixel("P7-unusable-cookie", "&a=1", stored({"a": "1"}), 'Cookie: _td_global=a b; x="_td'),
    case(
        "P8",
        post('{"b":1}', target=f"{PATH}?td_format=pixel&a=1"),
        stored({"a": "1"}),
        v2=stored({"b": 1}, "B10", "B10"),
    ),
    case("P8-other-format", post(target=f"{PATH}?td_format=gif"), stored({"a": 1}, "B10")),
    case("P8-too-large", post(_padded(101), target=f"{PATH}?td_format=pixel"), _B6, max_body=100),
    _pixel("P9", "&a=1&a=2&b=1", stored({"a": "2", "b": "1"}, "P9")),
    case(
        "P9-beside-a-body",
        post(target=f"{PATH}?b=1&b=2"),
        stored({"b": "2", "a": 1}, "P9"),
        url_parameters="store",
    ),
    # The text of a case stands for bytes: these are the two bytes of an "é" in UTF-8.
    _pixel("P10-raw-utf-8", "&a=\u00c3\u00a9", stored({"a": "é"}, "P10"), not_on=NO_RAW_TARGET),
    _pixel(
        "P10-raw-not-utf-8",
        "&a=\u00e9",
        stored({"a": "\ufffd"}, "P10", "P10"),
        not_on=NO_RAW_TARGET,
    ),
    _pixel("P10-encoded-not-utf-8", "&a=%FF", stored({"a": "\ufffd"}, "P10")),
    _pixel("P10-percent", "&a=%ZZ&b=1%", stored({"a": "%ZZ", "b": "1%"}, "P10", "P10")),
    _pixel("P10-clean", "&a=%C3%A9%25%EF%BF%BD", stored({"a": "é%\ufffd"})),
]

CASES_BY_RULE = [*ROUTE, *AUTHENTICATION, *BODY, *RECORD, *ANSWER, *TRACKING_PIXEL]
