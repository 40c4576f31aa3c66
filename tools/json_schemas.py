"""Makes the JSON Schemas from the rules, the profiles and the values that requests are judged by.

The results are shipped as files, and a test keeps the files equal to them. A description says in
words what no schema can say: bytes, depth, duplicate keys, the digits of a number.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from pytest_tdpostback.protocol.batch import MOST_RECORDS
from pytest_tdpostback.protocol.judge import (
    CONSUMED,
    INGESTION_TYPES,
    NAME,
    PLATFORM_NAME,
    ROUTE,
    SINGLE,
)
from pytest_tdpostback.protocol.profiles import DEFAULT, profiles
from pytest_tdpostback.protocol.rules import rules

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_tdpostback.protocol.profiles import Profile

Schema = dict[str, Any]

BASE = "https://pytest-tdpostback.readthedocs.io/schemas/"
"""The beginning of the `$id` of every schema; nothing is ever fetched from there."""
DIALECT = "https://json-schema.org/draft/2020-12/schema"
NAME_PATTERN = NAME.pattern.removesuffix(r"\Z")
"""R2: what a database or table name holds, without anchors."""
PLATFORM_NAME_PATTERN = PLATFORM_NAME.pattern.removesuffix(r"\Z")
"""I2: the same at the path of the Data Ingestion API."""
BATCH_TYPES = sorted(INGESTION_TYPES - {SINGLE})
"""I5: the media types of a batch."""
STATES = ("refused", "pending", "ingested", "rejected", "lost", "deduplicated")
"""Every state of an event, as in `EventState`."""
STRICT_TRANSPORT_SECURITY = "max-age=31536000"
DATE = "^[A-Z][a-z]{2}, [0-9]{2} [A-Z][a-z]{2} [0-9]{4} [0-9]{2}:[0-9]{2}:[0-9]{2} GMT$"

_TEXT: Schema = {"type": "string"}
_OPTIONAL_TEXT: Schema = {"type": ["string", "null"]}
_PRESENT: Schema = {"type": "string", "minLength": 1}
_NUMBER: Schema = {"type": "integer", "minimum": 0}
_NO_UPPER_CASE = "^[^A-Z]*$"


def schemas() -> dict[str, Schema]:
    """Return every schema by its name, each with an `$id`, as it is written to its file.

    Each schema is complete in itself: its `$defs` hold what it needs of another.
    """
    body, record = _named("body", body_schema()), _named("record", record_schema())
    event = {**event_schema(), "$defs": {"record": record}}
    request = _of_each_profile("A request that is accepted", request_schema)
    request["$defs"]["body"] = body
    request["$defs"]["batch"] = batch_schema()
    response = _of_each_profile("A response on the event route", response_schema)
    return {
        "request": _named("request", request),
        "body": body,
        "record": record,
        "response": _named("response", response),
        "event": _named("event", event),
    }


def _named(name: str, schema: Schema) -> Schema:
    return {"$schema": DIALECT, "$id": f"{BASE}{name}.json", **schema}


def cited(*ids: str) -> str:
    """Return the statements of rules as one text, each after its id."""
    return "\n".join(f"{name}: {rules[name].statement}" for name in ids)


def body_schema() -> Schema:
    """Return the schema of a body that may be sent: an object with any values."""
    return {
        "title": "What may be sent as the body of a POST",
        "description": "Any object. No schema can express B2 (text, numbers), B5 (duplicate "
        "keys), B6 (bytes) and B7 (depth).\n" + cited("B3", "B2", "B4", "B5", "B6", "B7"),
        "type": "object",
        "properties": {"td_record_time": {"description": cited("T2", "T3", "T5")}},
        "examples": [{"param1": "value1", "param2": "value2"}],
    }


def record_schema() -> Schema:
    """Return the schema of what is stored of an accepted event."""
    return {
        "title": "A record as it is stored",
        "description": cited("V1", "V2", "V3", "T1", "T2", "T7", "I15", "I16", "I18", "I19"),
        "type": "object",
        "required": ["time"],
        "properties": {
            "time": {"description": cited("T7"), "type": "string", "pattern": "^-?[0-9]+$"}
        },
        "examples": [{"time": "1440426473", "param1": "value1", "param2": 1234}],
    }


def request_schema(profile: Profile) -> Schema:
    """Return the schema of a request that `profile` accepts with default settings.

    The names of its headers are in lower case; its path and URL parameters are decoded.
    """
    if profile.postback is not None:
        return _ingestion_request(profile, profile.postback)
    route = "/".join([*ROUTE, NAME_PATTERN, NAME_PATTERN])
    return {
        "title": f"A request that is accepted in {profile.name}",
        "type": "object",
        "required": ["method", "path", "headers", "query"],
        "additionalProperties": False,
        "properties": {
            "method": {
                "description": cited("R1", "R4"),
                "enum": [method for method in profile.methods if method != "OPTIONS"],
            },
            "path": {
                "description": "Percent-encoding is undone, except that of a slash.\n"
                + cited("R2", "R3", "R7"),
                "type": "string",
                # Some engines let `$` match before a line feed, which belongs to no name.
                "pattern": rf"^{route}/?$(?!\n)",
            },
            "headers": {
                "description": "Values by names in lower case, without white space around them. A "
                "repeated header has its first value (A4).",
                "type": "object",
                "propertyNames": {"pattern": _NO_UPPER_CASE},
                "additionalProperties": _TEXT,
            },
            "query": {
                "description": "The URL parameters, decoded as form values (A2, P10). A repeated "
                "one has its last value (P9).",
                "type": "object",
                "additionalProperties": _TEXT,
            },
            "body": {
                "description": "The JSON value of the body; left out if the body is empty (B4)."
            },
        },
        "allOf": [_key(profile), _record_source(profile)],
    }


def batch_schema() -> Schema:
    """Return the schema of a batch of records."""
    return {
        "title": "A batch of records",
        "description": cited("I7", "I8", "I13"),
        "type": "object",
        "required": ["events"],
        "properties": {
            "events": {
                "description": "Each record is an object. Another value fails alone (I13).",
                "type": "array",
                "minItems": 1,
                "maxItems": MOST_RECORDS,
            }
        },
        "examples": [{"events": [{"param1": "value1"}, {"param1": "value2"}]}],
    }


def _ingestion_request(profile: Profile, postback: Profile) -> Schema:
    """A request to the Data Ingestion API, or to the Postback API at its own path (I1)."""
    key = _headers({"authorization": {"type": "string", "pattern": "^[Tt][Dd]1 +[^ ]"}})
    name = PLATFORM_NAME_PATTERN
    post = {
        "method": {"const": "POST"},
        # Some engines let `$` match before a line feed, which belongs to no name.
        "path": {"type": "string", "pattern": rf"^/{name}/{name}$(?!\n)"},
    }
    batches = "|".join(_letters(each) for each in BATCH_TYPES)
    unencoded = {"content-encoding": {"pattern": f"^({_letters('identity')})?$"}}
    forms = [(f"({batches})", {"$ref": "#/$defs/batch"}), (_letters(SINGLE), True)]
    records = [
        {
            "allOf": [key, _headers({"content-type": {"pattern": _in_type(media)}}, unencoded)],
            "required": ["body"],
            "properties": {**post, "body": body},
        }
        for media, body in forms
    ]
    global_id = {
        "description": cited("I20"),
        "allOf": [key],
        "properties": {"method": {"const": "GET"}, "path": {"const": "/"}},
    }
    return {
        "title": f"A request that is accepted in {profile.name}",
        "description": "The body is the JSON value without content coding (I10): the schema knows "
        "no `Content-Encoding` but `identity`. No schema can express I9 (bytes) and I11 (text, "
        "duplicate names).\n" + cited("I1", "I2", "I3", "I4", "I5", "I6", "I7", "I8", "I10", "I11"),
        "type": "object",
        "required": ["method", "path", "headers", "query"],
        "anyOf": [*records, global_id, {"$ref": f"#/$defs/{postback.name}"}],
    }


def _key(profile: Profile) -> Schema:
    header = _headers({"x-td-write-key": _PRESENT})
    if profile.td1_authorization:
        td1 = "[Tt][Dd]1"
        other = {"type": "string", "minLength": 1, "not": {"pattern": f"^{td1}( |$)"}}
        ways = [
            _headers({"authorization": {"type": "string", "pattern": f"^{td1} +[^ ]"}}),
            _headers({"authorization": other, "x-td-write-key": _TEXT}),
            {**header, "not": _headers({"authorization": True})},
        ]
        return {"description": cited("A9", "A10", "A4", "A5"), "anyOf": ways}
    parameter = {
        "not": _headers({"x-td-write-key": True}),
        "properties": {"query": _having({"td_write_key": _PRESENT})},
    }
    decided = "A6" if profile.refuses_unknown_keys else "A5"
    return {"description": cited("A1", "A2", "A3", "A4", decided), "anyOf": [header, parameter]}


def _record_source(profile: Profile) -> Schema:
    """The forms of an event; they differ in where the record comes from."""
    identity = f"^[ \\t,]*({_letters('identity')}[ \\t]*(,[ \\t,]*|$))*$"
    unencoded = {"content-encoding": {"pattern": identity}}
    json = _headers({"content-type": {"pattern": _media_type("application/json")}}, unencoded)
    json["description"] = cited("B1", "B3", "B8")
    json["required"] = ["body"]
    json["properties"] |= {"method": {"const": "POST"}, "body": {"$ref": f"{BASE}body.json"}}
    if not profile.url_interface:
        return json
    pixel = {
        "description": cited("P1", "P8"),
        "properties": {"query": _having({"td_format": {"const": "pixel"}})},
    }
    deprecated = {"description": cited("P6"), "properties": {"method": {"const": "GET"}}}
    data = {"not": {"propertyNames": {"enum": sorted(CONSUMED)}}}
    untyped = {"content-type": {"pattern": f"^$|{_media_type('text/plain')}"}, **unencoded}
    parameters = {
        "description": cited("B9"),
        "properties": {"method": {"const": "POST"}, "body": False, "query": data}
        | {"headers": {"properties": untyped}},
    }
    return {"anyOf": [json, pixel, deprecated, parameters]}


def response_schema(profile: Profile) -> Schema:
    """Return the schema of a response of `profile`, its header names in lower case."""
    if profile.postback is not None:
        return _ingestion_response(profile, profile.postback)
    texts = {"success": {"type": "object", "maxProperties": 0}, "refusal": explained_schema()}
    forms = [
        _response(profile, [200], {"content-type": "application/json"}, texts["success"]),
        _response(
            profile, refusals(profile), {"content-type": "application/json"}, texts["refusal"]
        ),
        {"properties": {"status": {"const": 204}, "body": {"const": ""}}},
    ]
    if profile.url_interface:
        image = {"type": "string", "contentEncoding": "base64", "contentMediaType": "image/gif"}
        forms += [
            _response(profile, [200], {"content-type": "image/gif"}, image),
            _response(profile, [302], {}, {"const": ""}),
        ]
    return {
        "title": f"A response of {profile.name} on the event route",
        "type": "object",
        "required": ["status", "headers", "body"],
        "additionalProperties": False,
        "properties": {
            "status": {"type": "integer"},
            "headers": {
                "description": "Values by names in lower case.",
                "type": "object",
                "propertyNames": {"pattern": _NO_UPPER_CASE},
                "properties": {
                    "connection": {"description": cited("W3"), "enum": ["keep-alive", "close"]},
                    "date": {"type": "string", "pattern": DATE},
                },
                "additionalProperties": _TEXT,
            },
            "body": {
                "description": "The empty string if there is none, the JSON value if the type is "
                "application/json, Base64 if it is image/gif."
            },
        },
        "anyOf": forms,
    }


def _ingestion_response(profile: Profile, postback: Profile) -> Schema:
    """A response of the Data Ingestion API, or of the Postback API at its own path (I1)."""
    forms = [
        _response(profile, [status], {}, receipts_schema(failed=failed))
        for status, failed in ((200, False), (206, True))
    ]
    types = "|".join(_letters(each) for each in [*BATCH_TYPES, SINGLE])
    for form in forms:
        headers = form["properties"]["headers"]
        headers["required"].append("content-type")
        headers["properties"]["content-type"] = {"pattern": _in_type(f"({types})")}
    json = {"content-type": "application/json"}
    forms += [
        _response(profile, [200], json, global_id_schema()),
        _response(profile, refusals(profile), json, ingestion_refusal_schema()),
    ]
    return {
        "title": f"A response of {profile.name}",
        "type": "object",
        "required": ["status", "headers", "body"],
        "anyOf": [*forms, {"$ref": f"#/$defs/{postback.name}"}],
    }


def receipts_schema(*, failed: bool) -> Schema:
    """Return the schema of the receipts of a batch, of which some `failed` or none."""
    success = _having({"success": {"const": True}, "uuid": {"type": "string", "format": "uuid"}})
    error = _having({"name": _PRESENT, "description": _PRESENT})
    failure = _having({"success": {"const": False}, "error": {"type": "object", **error}})
    receipts: Schema = {"type": "array", "minItems": 1, "maxItems": MOST_RECORDS}
    if failed:
        receipts["items"] = {"type": "object", "anyOf": [success, failure]}
        receipts["contains"] = failure
    else:
        receipts["items"] = {"type": "object", **success}
    return {
        "description": cited("I12", "I13", "I16"),
        "type": "object",
        **_having({"receipts": receipts}),
    }


def global_id_schema() -> Schema:
    """Return the schema of the response to a request for the global id."""
    return {"description": cited("I20"), "type": "object", **_having({"global_id": _PRESENT})}


def ingestion_refusal_schema() -> Schema:
    """Return the schema of the body of a refusal of the Data Ingestion API."""
    return {
        "description": cited("I22", "W4"),
        "type": "object",
        "required": ["error", "message"],
        "properties": {
            "error": _PRESENT,
            "message": _PRESENT,
            "rule": {"enum": [rule.id for rule in rules]},
        },
        "additionalProperties": False,
    }


def explained_schema() -> Schema:
    """Return the schema of the body of a refusal: empty, or with its reason (W4)."""
    return {
        "description": cited("W2", "W4"),
        "type": "object",
        "properties": {"rule": {"enum": [rule.id for rule in rules]}, "reason": _TEXT},
        "dependentRequired": {"rule": ["reason"], "reason": ["rule"]},
        "additionalProperties": False,
    }


def refusals(profile: Profile) -> list[int]:
    """Return the statuses with which `profile` refuses requests, by its rules."""
    mine = [rule for rule in rules if profile.name in rule.profiles]
    several = () if profile.postback is None else (400, 401, 403, 405)  # I2, I4: more than one
    statuses = {rule.status for rule in mine if rule.status and rule.status >= 400}
    return sorted(statuses.union(several))


def _response(
    profile: Profile, statuses: list[int], headers: dict[str, str], body: Schema
) -> Schema:
    fixed = dict(headers)
    if profile.strict_transport_security:
        fixed["strict-transport-security"] = STRICT_TRANSPORT_SECURITY
    fields: dict[str, Any] = {name: {"const": value} for name, value in fixed.items()}
    fields |= {"date": True, "content-length": {"pattern": "^[0-9]+$"}}
    form = _headers(fields)
    form["properties"] |= {"status": {"enum": statuses}, "body": body}
    return form


def event_schema() -> Schema:
    """An event as it is exported: JSON values only, with every write key shortened."""
    fields: dict[str, Schema] = {
        "seq": {"description": "Place in the order of arrival, from 1.", "type": "integer"},
        "received_at": {"description": "UNIX seconds.", "type": "number"},
        "batch": {
            "description": "The place of a record in its batch, from 0; null for another event.",
            "anyOf": [_closed({"index": _NUMBER, "size": _NUMBER}), {"type": "null"}],
        },
        "database": {"description": "Null where the route was not met (R2).", **_OPTIONAL_TEXT},
        "table": {"description": "Null where the route was not met (R2).", **_OPTIONAL_TEXT},
        "key": {"description": "Shortened; null where none counted (A4).", **_OPTIONAL_TEXT},
        "status": {
            "description": "HTTP status, null where a fault kept the answer back.",
            "type": ["integer", "null"],
        },
        "copies": {"description": "Records stored of it.", "type": "integer", "minimum": 0},
        "fault": {"description": "The fault that hit it.", **_OPTIONAL_TEXT},
        "state": {"description": cited("Y2", "Y3", "I17"), "enum": list(STATES)},
        "rule": {
            "description": "By which rule it was refused or rejected.",
            "enum": [*(rule.id for rule in rules), None],
        },
        "reason": {"description": "Why it was refused or rejected.", **_OPTIONAL_TEXT},
        "payload": {"description": "What was sent, parsed; null if it cannot be."},
        "record": {
            "description": "Null unless ingested.",
            "anyOf": [{"$ref": f"{BASE}record.json"}, {"type": "null"}],
        },
        "findings": {"type": "array", "items": _finding()},
        "request": _sent(),
    }
    return {
        "title": "An event as it is exported, its write keys shortened",
        **_closed(fields),
    }


def _finding() -> Schema:
    return _closed(
        {
            "rule": {"enum": [rule.id for rule in rules]},
            "message": _TEXT,
            "column": _OPTIONAL_TEXT,
        }
    )


def _sent() -> Schema:
    pair = {"type": "array", "prefixItems": [_TEXT, _TEXT], "minItems": 2, "maxItems": 2}
    return _closed(
        {
            "method": _TEXT,
            "target": {"description": "Path and query as they were sent.", **_TEXT},
            "headers": {"description": "As sent, in order.", "type": "array", "items": pair},
            "body": {"description": "Text, or Base64 if it is not UTF-8.", **_TEXT},
            "body_encoding": {"enum": ["utf-8", "base64"]},
            "peer": {"description": "Address of the sender.", **_TEXT},
        }
    )


def _of_each_profile(title: str, make: Callable[[Profile], Schema]) -> Schema:
    return {
        "title": title,
        "description": f"In the default profile; each profile has its own under `$defs`, such as "
        f"`#/$defs/{DEFAULT.name}`.",
        "$ref": f"#/$defs/{DEFAULT.name}",
        "$defs": {profile.name: make(profile) for profile in profiles},
    }


def _headers(required: dict[str, Any], optional: dict[str, Any] | None = None) -> Schema:
    """A schema whose member `headers` has `required`, and may have `optional`."""
    fields = {**_having(required)["properties"], **(optional or {})}
    return {"properties": {"headers": {"required": list(required), "properties": fields}}}


def _having(fields: dict[str, Any]) -> Schema:
    return {"required": list(fields), "properties": dict(fields)}


def _closed(fields: dict[str, Any]) -> Schema:
    return {"type": "object", **_having(fields), "additionalProperties": False}


def _media_type(name: str) -> str:
    """A pattern for a media type in any letter case, with or without parameters (B1)."""
    return _in_type(_letters(name))


def _in_type(pattern: str) -> str:
    return f"^{pattern}[ \\t]*(;|$)"


def _letters(name: str) -> str:
    """A pattern for `name` in any letter case."""
    return "".join(f"[{c.upper()}{c}]" if c.isalpha() else re.escape(c) for c in name)
