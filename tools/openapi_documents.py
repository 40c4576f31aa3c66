"""Makes the OpenAPI 3.1 document of each profile from the rules, the profiles and the schemas.

The results are shipped as files. In OpenAPI the parameters and the body of an operation cannot
depend on each other. Only the `request` schema says in full which forms B9 and P8 accept, and that
an empty header decides against a key in the URL (A4).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pytest_tdpostback.protocol.judge import ROUTE, SINGLE
from pytest_tdpostback.protocol.rules import rules, sources
from tools.json_schemas import (
    BATCH_TYPES,
    DATE,
    DIALECT,
    NAME_PATTERN,
    PLATFORM_NAME_PATTERN,
    STRICT_TRANSPORT_SECURITY,
    batch_schema,
    body_schema,
    cited,
    explained_schema,
    global_id_schema,
    ingestion_refusal_schema,
    receipts_schema,
    refusals,
)

if TYPE_CHECKING:
    from pytest_tdpostback.protocol.profiles import Profile

Document = dict[str, Any]
_CROSS_ORIGIN = ("Access-Control-Allow-Origin", "Access-Control-Allow-Credentials")


def openapi(profile: Profile) -> Document:
    """Return the document of `profile`: its event route with every method, status and header."""
    if profile.postback is not None:
        return _ingestion(profile, openapi(profile.postback))
    source = sources[profile.imitates]
    document = {
        "openapi": "3.1.0",
        "jsonSchemaDialect": DIALECT,
        "info": {
            "title": f"Postback API as {profile.name} has it",
            "version": profile.name.rpartition("-")[2],
            "description": f"Imitates {source.title}, {source.url}.\n{cited('R2', 'R3', 'R6')}",
        },
        "servers": [{"url": f"https://{host}"} for host in profile.hosts],
        "paths": {"/".join([*ROUTE, "{database}", "{table}"]): _route(profile)},
        "components": {
            "schemas": {"Body": body_schema(), "Refusal": explained_schema()},
            "headers": _headers(profile),
            "securitySchemes": _security_schemes(profile),
        },
    }
    if not profile.hosts:
        del document["servers"]
    return document


def _route(profile: Profile) -> Document:
    security: list[Document] = [{name: []} for name in _security_schemes(profile)]
    methods: dict[str, Document] = {
        "POST": {
            "operationId": "ingest",
            "summary": "Ingest one record",
            "description": cited("R1", "V1"),
            "parameters": _names(),
            "security": security,
            "requestBody": {
                "description": cited("B1", "B2", "B4", "B7", "B8"),
                "required": True,
                "content": {"application/json": {"schema": _schema("Body")}},
            },
            "responses": {"200": _json(profile, cited("W1", *_known(profile, "A5")), empty=True)}
            | _refusals(profile),
        },
        "GET": {
            "operationId": "pixel",
            "summary": "Ingest one record by a tracking pixel",
            "description": cited("P1", "P6", "P9"),
            "parameters": [*_names(), *_pixel_parameters()],
            "security": security,
            "responses": {"200": _pixel(profile), "302": _redirect(profile)} | _refusals(profile),
        },
        "OPTIONS": {
            "operationId": "preflight",
            "summary": "Ask what a browser may send",
            "description": cited("R5"),
            # A preflight accepts any names.
            "parameters": [_path_parameter("database", {}), _path_parameter("table", {})],
            "security": [],
            "responses": {"204": {"description": cited("R5"), "headers": _preflight_headers()}},
        },
    }
    return {method.lower(): methods[method] for method in profile.methods}


def _known(profile: Profile, *ids: str) -> list[str]:
    return [name for name in ids if profile.name in rules[name].profiles]


def _names() -> list[Document]:
    pattern = {"pattern": f"^{NAME_PATTERN}$"}
    return [_path_parameter("database", pattern), _path_parameter("table", pattern)]


def _path_parameter(name: str, schema: Document) -> Document:
    return {
        "name": name,
        "in": "path",
        "required": True,
        "description": cited("R2", "R7", "R8") if schema else "Not judged.",
        "schema": {"type": "string", **schema},
    }


def _pixel_parameters() -> list[Document]:
    described = {
        "td_format": cited("P1", "P6"),
        "td_record_time": cited("T2", "T5"),
        "td_redirect": cited("P5"),
        "td_global_id": cited("P3", "P7"),
        "td_ip": cited("P3"),
        "td_ua": cited("P3"),
    }
    examples: dict[str, Document] = {"td_format": {"example": "pixel"}}
    named = [
        {"name": name, "in": "query", "description": text, "schema": {"type": "string"}}
        | examples.get(name, {})
        for name, text in described.items()
    ]
    columns = {
        "name": "columns",
        "in": "query",
        "description": cited("P2"),
        "style": "form",
        "explode": True,
        # All values arrive as text, so a constraint on them would say nothing.
        "schema": {},
    }
    return [*named, columns]


def _refusals(profile: Profile) -> Document:
    """Every refusal except that of R6, which is about other paths."""
    described: dict[int, list[str]] = {}
    for rule in rules:
        if rule.status in refusals(profile) and profile.name in rule.profiles and rule.id != "R6":
            described.setdefault(rule.status, []).append(rule.id)
    return {str(status): _json(profile, cited(*described[status])) for status in sorted(described)}


def _json(profile: Profile, description: str, *, empty: bool = False) -> Document:
    schema = {"type": "object", "maxProperties": 0} if empty else _schema("Refusal")
    content = {"application/json": {"schema": schema, "example": {}}}
    headers = _common_headers(profile)
    if "R4:" in description:
        headers["Allow"] = _header("Allow")
    return {"description": description, "headers": headers, "content": content}


def _pixel(profile: Profile) -> Document:
    response = _json(profile, cited("P4", "P6"), empty=True)
    response["content"]["image/gif"] = {}
    response["headers"]["Set-Cookie"] = _header("Set-Cookie")
    return response


def _redirect(profile: Profile) -> Document:
    headers = _common_headers(profile) | {
        name: _header(name) for name in ("Location", "Set-Cookie")
    }
    return {"description": cited("P5"), "headers": headers}


def _common_headers(profile: Profile) -> Document:
    names = ["Date", "Content-Length", "Connection", *_CROSS_ORIGIN]
    if profile.strict_transport_security:
        names.append("Strict-Transport-Security")
    return {name: _header(name) for name in names}


def _preflight_headers() -> Document:
    kinds = ("Origin", "Credentials", "Methods", "Headers")
    return {
        f"Access-Control-Allow-{kind}": {"required": True, "schema": {"type": "string"}}
        for kind in kinds
    }


def _headers(profile: Profile) -> Document:
    text = {"type": "string"}
    fields: dict[str, Document] = {
        "Date": {"required": True, "schema": text | {"pattern": DATE}},
        "Content-Length": {"required": True, "schema": {"type": "integer", "minimum": 0}},
        "Connection": {
            "description": cited("W3"),
            "schema": text | {"enum": ["keep-alive", "close"]},
        },
        **{name: {"description": cited("R5"), "schema": text} for name in _CROSS_ORIGIN},
        "Allow": {"required": True, "schema": {"const": ", ".join(profile.methods)}},
    }
    if profile.strict_transport_security:
        schema = {"const": STRICT_TRANSPORT_SECURITY}
        fields["Strict-Transport-Security"] = {"required": True, "schema": schema}
    if profile.url_interface:
        fields["Location"] = {"required": True, "description": cited("P5"), "schema": text}
        fields["Set-Cookie"] = {"description": cited("P7"), "schema": text}
    return fields


def _security_schemes(profile: Profile) -> Document:
    header = {
        "type": "apiKey",
        "in": "header",
        "name": "X-TD-Write-Key",
        "description": cited("A1"),
    }
    if profile.td1_authorization:
        td1 = {"type": "http", "scheme": "TD1", "description": cited("A9", "A10")}
        return {"td1": td1, "header": header}
    url = {"type": "apiKey", "in": "query", "name": "td_write_key"}
    return {"header": header, "url": {**url, "description": cited("A2", "A3", "A4")}}


def _schema(name: str) -> Document:
    return {"$ref": f"#/components/schemas/{name}"}


def _header(name: str) -> Document:
    return {"$ref": f"#/components/headers/{name}"}


def _ingestion(profile: Profile, postback: Document) -> Document:
    """The document of the Data Ingestion API, which also has the route of `postback` (I1)."""
    source = sources[profile.imitates]
    text = {"type": "string"}
    components = postback["components"]
    return {
        **postback,
        "info": {
            "title": f"Data Ingestion API as {profile.name} has it",
            "version": profile.name.rpartition("-")[2],
            "description": f"Imitates {source.title}, {source.url}.\n"
            + cited("I1", "I2", "I3", "R6"),
        },
        "paths": {
            "/{database}/{table}": _batch_route(profile),
            "/": _global_id_route(profile),
            **postback["paths"],
        },
        "components": {
            "schemas": {
                **components["schemas"],
                "Batch": batch_schema(),
                "Record": {"description": cited("I1", "I13", "I15", "I16")},
                "Receipts": receipts_schema(failed=False),
                "PartialFailure": receipts_schema(failed=True),
                "GlobalId": global_id_schema(),
                "IngestionRefusal": ingestion_refusal_schema(),
            },
            "headers": {
                **components["headers"],
                "AllowGlobalId": {"required": True, "schema": {"const": "GET, OPTIONS"}},
                "GlobalIdCookie": {"required": True, "description": cited("I20"), "schema": text},
            },
            "securitySchemes": {
                **components["securitySchemes"],
                "td1": {
                    "type": "http",
                    "scheme": "TD1",
                    "description": cited("I4", "A9", "A10"),
                },
            },
        },
    }


def _batch_route(profile: Profile) -> Document:
    types = {name: {"schema": _schema("Batch")} for name in BATCH_TYPES}
    names = {"pattern": f"^{PLATFORM_NAME_PATTERN}$"}
    return {
        "post": {
            "operationId": "ingestBatch",
            "summary": "Ingest a batch of records, or one record",
            "description": cited("I1", "I14", "I17"),
            "parameters": _ingestion_parameters(names),
            "security": [{"td1": []}],
            "requestBody": {
                "description": cited("I5", "I7", "I8", "I9", "I10", "I11"),
                "required": True,
                "content": {**types, SINGLE: {"schema": _schema("Record")}},
            },
            "responses": {
                "200": _receipts(profile, cited("I6", "I12"), "Receipts"),
                "206": _receipts(profile, cited("I13"), "PartialFailure"),
                **_ingestion_refusals(profile, refusals(profile), "Allow"),
            },
        },
        "options": _ingestion_preflight("preflightBatch", _ingestion_parameters({})),
    }


def _global_id_route(profile: Profile) -> Document:
    content = {"application/json": {"schema": _schema("GlobalId")}}
    headers = _common_headers(profile) | {"Set-Cookie": _header("GlobalIdCookie")}
    return {
        "get": {
            "operationId": "globalId",
            "summary": "Ask for the global id of a browser",
            "description": cited("I20"),
            "security": [{"td1": []}],
            "responses": {
                "200": {"description": cited("I20"), "headers": headers, "content": content},
                **_ingestion_refusals(profile, [401, 405], "AllowGlobalId"),
            },
        },
        "options": _ingestion_preflight("preflightGlobalId", []),
    }


def _ingestion_parameters(schema: Document) -> list[Document]:
    parameters = [_path_parameter(name, schema) for name in ("database", "table")]
    for parameter in parameters:
        parameter["description"] = cited("I2", "R7") if schema else "Not judged."
    return parameters


def _receipts(profile: Profile, description: str, schema: str) -> Document:
    content = {name: {"schema": _schema(schema)} for name in [*BATCH_TYPES, SINGLE]}
    headers = _common_headers(profile)
    return {"description": description, "headers": headers, "content": content}


def _ingestion_refusals(profile: Profile, statuses: list[int], allow: str) -> Document:
    """Every refusal except 404 (R6, I23), which is about other paths."""
    described = {
        400: ("I2", "I5", "I10", "I11"),
        401: ("I4",),
        403: ("I4",),
        405: ("I2",),
        413: ("I9",),
        422: ("I7", "I8"),
    }
    content = {"application/json": {"schema": _schema("IngestionRefusal")}}
    allowed = {405: {"Allow": _header(allow)}}
    return {
        str(status): {
            "description": cited(*described[status], "I22"),
            "headers": _common_headers(profile) | allowed.get(status, {}),
            "content": content,
        }
        for status in statuses
        if status in described
    }


def _ingestion_preflight(name: str, parameters: list[Document]) -> Document:
    return {
        "operationId": name,
        "summary": "Ask what a browser may send",
        "description": cited("I21"),
        "parameters": parameters,
        "security": [],
        "responses": {"204": {"description": cited("I21"), "headers": _preflight_headers()}},
    }
