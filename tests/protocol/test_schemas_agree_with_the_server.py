"""The schemas and the fake's own judgement agree, in both directions, over generated requests."""

from __future__ import annotations

import base64
import http.client
import json
import re
from decimal import Decimal
from functools import cache
from urllib.parse import quote, urlencode

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from pytest_tdpostback import PostbackServer, load_schema, profiles, rules
from pytest_tdpostback.protocol.profiles import V2_BODY_LIMIT
from pytest_tdpostback.protocol.schemas import load_openapi
from pytest_tdpostback.recording.export import exported
from tests.protocol.requests import texts

over_a_server = settings(
    deadline=None,
    max_examples=40,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
ROUTE = ["postback", "v3", "event"]
PROFILES = [row.name for row in profiles]

json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | texts(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts(), inner, max_size=3),
    max_leaves=8,
)
names = st.sampled_from(["db", "table_1", "T", "", "a-b", "é", "a/b", "t\n"]) | texts()
paths = st.builds(
    lambda database, table, behind: [*ROUTE, database, table, *behind],
    names,
    names,
    st.sampled_from([[], [""], ["x"], ["", ""]]),
) | st.sampled_from(
    [
        ROUTE,
        [*ROUTE, "db"],
        ["js", "v3", "event", "db", "table"],
        ["database", "table"],
        ["database", "Table"],
        ["database", "ta"],
        ["database", "table\n"],
        ["database", ""],
        ["x" * 128, "0_9"],
        ["x" * 129, "0_9"],
        [""],
        ["database"],
    ]
)

KEY = {"x-td-write-key": "1/abc"}
TD1 = {"authorization": "TD1 1/abc"}
JSON = {"content-type": "application/json"}
# Each form of an event (JSON, pixel, deprecated pixel, empty POST), with each way to send a key.
FORMS = [
    {"method": "POST", "headers": KEY | JSON, "query": {}, "body": {"a": 1}},
    {"method": "POST", "headers": TD1 | JSON, "query": {}, "body": {"a": 1}},
    {"method": "POST", "headers": JSON, "query": {"td_write_key": "1/abc"}, "body": {"a": 1}},
    {"method": "GET", "headers": KEY, "query": {"td_format": "pixel", "a": "1"}},
    {"method": "GET", "headers": {}, "query": {"td_write_key": "1/abc"}},
    {"method": "POST", "headers": KEY, "query": {"a": "1"}},
]
BATCH = {"content-type": "application/vnd.treasuredata.v1+json"}
SINGLE = {"content-type": "application/vnd.treasuredata.v1.single+json"}
TABLE = ["database", "table"]
# The same for the Data Ingestion API: a batch, one record, and a request for the global id.
INGESTION_FORMS = [
    {"method": "POST", "path": TABLE, "headers": TD1 | BATCH, "body": {"events": [{"a": 1}]}},
    {"method": "POST", "path": TABLE, "headers": TD1 | BATCH, "body": {"events": [{"a": 1}, 5]}},
    {"method": "POST", "path": TABLE, "headers": TD1 | SINGLE, "body": {"a": 1}},
    {"method": "GET", "path": [""], "headers": TD1},
]
HEADERS = {
    "x-td-write-key": ["", "1/abc", "bad"],
    "authorization": ["TD1 1/abc", "td1  1/abc", "TD1", "TD1x 1/abc", "Basic YTpi", ""],
    "content-type": [
        "application/json",
        "Application/JSON; charset=utf-8",
        "application/json;",
        "application/jsonl",
        "text/plain",
        "text/plain;x",
        "",
        "application/vnd.treasuredata.v1+json",
        "Application/vnd.TreasureData.v1.JS+json ; x",
        "application/vnd.treasuredata.v1.mobile+json;charset=utf-8",
        "application/vnd.treasuredata.v1.single+json",
        "application/vnd_treasuredata.v1+json",
    ],
    "content-encoding": ["", "identity", "gzip"],
}
QUERY = {
    "td_write_key": ["", "1/abc", "1/é f"],
    "td_format": ["pixel", "Pixel", ""],
    "td_record_time": ["0", "x"],
    "td_redirect": ["https://example.com/?td_global_id=x", "é\n"],
    "td_ip": ["td_ip"],
    "column": ["", "é"],
}
NOT_SENT = None


def members(part, values):
    """A change of one member of `part`: one of its values, or that it is not sent."""
    return st.sampled_from(
        [(part, (name, value)) for name, of in values.items() for value in (*of, NOT_SENT)]
    )


changes = st.one_of(
    st.sampled_from([("method", name) for name in ("POST", "GET", "PUT", "DELETE", "PATCH")]),
    st.tuples(st.just("path"), paths),
    members("headers", HEADERS),
    members("query", QUERY),
    st.tuples(st.just("body"), st.dictionaries(texts(), json_values, max_size=3) | json_values),
    st.tuples(
        st.just("body"),
        st.sampled_from([{"events": number * [{}]} for number in (0, 1, 500, 501)])
        | st.fixed_dictionaries({"events": st.lists(json_values, max_size=3)}),
    ),
)


def changed(form, deviations):
    """An event in one of its forms with a few changes, so that one rule at a time decides."""
    request = {"path": [*ROUTE, "db", "table"], "query": {}, **form}
    for part, change in deviations:
        if part not in ("headers", "query"):
            request[part] = change
            continue
        name, value = change
        rest = {each: request[part][each] for each in request[part] if each != name}
        request[part] = rest if value is NOT_SENT else {**rest, name: value}
    return request


requests = st.builds(
    changed, st.sampled_from([*FORMS, *INGESTION_FORMS]), st.lists(changes, max_size=2)
)
ONE_CHANGE = [
    changed(form, [(part, (name, value))])
    for form in [*FORMS, *INGESTION_FORMS]
    for part, values in (("headers", HEADERS), ("query", QUERY))
    for name, of in values.items()
    for value in (*of, NOT_SENT)
]


@pytest.fixture(scope="module")
def send(server):
    """Send a generated request, and give its answer as the schema `response` has it."""
    connection = http.client.HTTPConnection(server.host, server.port, timeout=10)

    def over_the_wire(request):
        target = "".join(f"/{quote(name, safe='')}" for name in request["path"])
        if request["query"]:
            target += f"?{urlencode(request['query'])}"
        body = json.dumps(request["body"]).encode() if "body" in request else None
        connection.request(request["method"], target, body, request["headers"])
        return as_response(connection.getresponse())

    yield over_the_wire
    connection.close()


def as_response(answer):
    body = answer.read()
    fields = {name.lower(): value for name, value in answer.getheaders()}
    kind = fields.get("content-type")
    text = base64.b64encode(body).decode() if kind == "image/gif" else body.decode()
    is_json = re.match(
        r"application/(vnd[.]treasuredata[.]v1.*[+])?json", kind or "", re.IGNORECASE
    )
    parsed = json.loads(body) if body and is_json else text
    return {"status": answer.status, "headers": fields, "body": parsed}


def as_instance(request):
    """The request as the schema `request` has it."""
    segments = [name.replace("/", "%2F") for name in request["path"]]
    return {**request, "path": "/" + "/".join(segments)}


@cache
def validator(name, profile=None):
    schema = load_schema(name)
    return Draft202012Validator({**schema, "$ref": f"#/$defs/{profile}"} if profile else schema)


@over_a_server
@given(request=requests)
def test_request_schema_and_fake_agree(server, send, request):
    agree(server, send, request)


def test_request_schema_and_fake_agree_where_one_thing_differs(server, send):
    for request in ONE_CHANGE:
        agree(server, send, request)


def agree(server, send, request):
    profile = server.settings.profile.name
    answer = send(request)
    accepted = answer["status"] in (200, 206, 302)
    faults = [
        error.message for error in validator("request", profile).iter_errors(as_instance(request))
    ]
    assert accepted == (not faults), (answer, faults)
    validator("response", profile).validate(answer)


@over_a_server
@given(request=requests)
def test_openapi_document_and_fake_agree(server, send, request):
    document = openapi_document(server.settings.profile.name)
    accepted = send(request)["status"] in (200, 206, 302)
    if documented(document, request):
        assert accepted
    elif accepted:
        assert beyond_openapi(document, request)


openapi_document = cache(load_openapi)


def documented(document, request):
    """Whether the document allows this request, as a reader of OpenAPI takes it."""
    for path, item in document["paths"].items():
        templates = path.split("/")[1:]
        operation = item.get(request["method"].lower())
        if operation is not None and len(templates) == len(request["path"]):
            patterns = {
                f"{{{each['name']}}}": each["schema"].get("pattern", "^.*$")[1:-1]
                for each in operation.get("parameters", ())
                if each["in"] == "path"
            }
            if all(
                re.fullmatch(patterns.get(template, re.escape(template)), name)
                for template, name in zip(templates, request["path"], strict=True)
            ):
                return authenticated(document, operation, request) and fits(
                    document, operation, request
                )
    return False


def authenticated(document, operation, request):
    every = document["components"]["securitySchemes"]
    schemes = {name: every[name] for way in operation["security"] for name in way}
    sent = {"header": request["headers"], "query": request["query"]}
    if "td1" in schemes and "authorization" in request["headers"]:
        return re.fullmatch("(?i:td1) +[^ ].*", request["headers"]["authorization"])
    if set(schemes) == {"td1"}:
        return False
    # One scheme is used, as OpenAPI wants it; what a second key beside it does is in A3 and A4.
    header, *url = (each for name, each in schemes.items() if name != "td1")
    if "x-td-write-key" in request["headers"]:
        return bool(sent["header"]["x-td-write-key"])
    return any(sent[each["in"]].get(each["name"]) for each in url) and bool(header)


def fits(document, operation, request):
    if "requestBody" not in operation:
        return True
    kind = request["headers"].get("content-type", "").partition(";")[0].strip().lower()
    if kind not in operation["requestBody"]["content"] or "body" not in request:
        return False
    if request["headers"].get("content-encoding", "") not in ("", "identity"):  # B8
        return False
    name = operation["requestBody"]["content"][kind]["schema"]["$ref"].rpartition("/")[2]
    schema = document["components"]["schemas"][name]
    return Draft202012Validator(schema).is_valid(request["body"])


def beyond_openapi(document, request):
    """The accepted forms that no operation of OpenAPI can tell apart, each by its rule."""
    data = set(request["query"]) - {"td_format", "td_write_key", "td_record_time", "td_redirect"}
    known = set(document["components"]["securitySchemes"])
    return (
        request["path"][5:] == [""]  # R3, which no path template has
        or ("url" in known and request["query"].get("td_format") == "pixel")  # P8
        or ("url" in known and "body" not in request and bool(data))  # B9
        or ("td1" in known and "authorization" in request["headers"])  # A10
    )


@over_a_server
@given(body=json_values)
def test_body_schema_and_fake_agree(send, body):
    request = {"method": "POST", "path": [*ROUTE, "database", "table"], "query": {}, "body": body}
    request["headers"] = {"x-td-write-key": "1/abc", "content-type": "application/json"}
    accepted = validator("body").is_valid(body)
    assert send(request)["status"] == (200 if accepted else 400)


DEEP = b'{"a":' + b"[" * 512 + b"]" * 512 + b"}"
BEYOND = [
    ("B2", b'{"a": NaN}', 400),
    ("B2", b'{"a": "\\ud800"}', 400),
    ("B2", b'{"a": 1e400}', 400),
    ("B2", b'{"a": ' + b"1" * 4301 + b"}", 400),
    ("B2", b'\xef\xbb\xbf{"a": 1}', 400),
    ("B6", b'{"a": "' + b"x" * V2_BODY_LIMIT + b'"}', 413),
    ("B7", DEEP, 400),
]


@pytest.mark.parametrize(("rule", "body", "status"), BEYOND)
def test_rules_beyond_a_schema_are_the_fakes_own(rule, body, status):
    # What JSON readers make of such a body satisfies the schema: only the bytes tell.
    value = json.loads(body.decode("utf-8-sig"), parse_int=Decimal)
    validator("body").validate(value)
    assert f"{rule}:" in load_schema("body")["description"]
    with PostbackServer(profile="v2-2.0.0", explain=True) as server:
        answer = post(server, body)
    assert (answer["status"], answer["body"]["rule"]) == (status, rule)
    assert answer["status"] == rules[rule].status


def test_duplicate_keys_are_beyond_a_schema_and_accepted():
    with PostbackServer() as server:
        assert post(server, b'{"a": 1, "a": 2}')["status"] == 200
        (event,) = server.postback.events
    assert "B5" in [found.rule for found in event.findings]


def post(server, body):
    fields = {"X-TD-Write-Key": server.write_key, "Content-Type": "application/json"}
    connection = http.client.HTTPConnection(server.host, server.port, timeout=10)
    connection.request("POST", "/postback/v3/event/database/table", body, fields)
    try:
        return as_response(connection.getresponse())
    finally:
        connection.close()


@over_a_server
@given(request=requests)
def test_events_are_exported_and_stored_as_their_schemas_say(server, send, request):
    server.postback.clear()
    send(request)
    server.postback.settle()
    for event in server.postback.events:
        validator("event").validate(json.loads(json.dumps(exported(event))))
    for record in server.postback.records():
        validator("record").validate(dict(record))


def test_export_shortens_keys_and_keeps_any_bytes():
    with PostbackServer(write_keys=["12345/abcdefgh"]) as server:
        connection = http.client.HTTPConnection(server.host, server.port, timeout=10)
        fields = {"X-TD-Write-Key": "12345/abcdefgh"}
        target = "/postback/v3/event/database/table?td_write_key=12345%2Fabcdefgh"
        connection.request("POST", target, b"\xff", fields)
        connection.getresponse().read()
        connection.close()
        (event,) = server.postback.events
        text = json.dumps(exported(event))
    assert "abcdefgh" not in text
    assert exported(event)["key"] == "12345/abc…"
    assert exported(event)["request"]["body_encoding"] == "base64"
    assert base64.b64decode(exported(event)["request"]["body"]) == b"\xff"
