"""The rules: one row for each behaviour of the Postback API that the fake server imitates.

A behaviour is written here and nowhere else. The judge, the schemas, the OpenAPI documents, the
conformance suite, the fidelity page and the command line all read these rows. Code elsewhere names
a behaviour by its id, as in ``rules["A5"]``.

Two principles decide what no document says. Precaution: take the reading under which a careless
client loses data, because a fake server that is kinder than production hides bugs. Evidence is
stronger than precaution: if a shipped sender depends on a behaviour, accept it, with a finding.
"""

from __future__ import annotations

import re
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

from .catalogue import Catalogue
from .profiles import profiles

if TYPE_CHECKING:
    from collections.abc import Iterator


class Basis(StrEnum):
    """How well a rule is founded. If parts of a rule differ, its note says how."""

    DOCUMENTED = "documented"
    """A document of the service says so."""
    CONFLICT = "conflict"
    """The documents disagree or are ambiguous; a setting selects the reading."""
    OBSERVED = "observed"
    """No document says so, but somebody who used the real service depends on it or reports it."""
    INFERRED = "inferred"
    """Nobody says so; the reading is this project's own."""


class Source(NamedTuple):
    """A document that rules cite by its ``id``."""

    id: str
    title: str
    url: str


class Rule(NamedTuple):
    """One behaviour of the service.

    In the texts, backticks enclose what is literal on the wire or in a setting.
    """

    id: str
    """A letter for the group and a number, as in ``"A5"``; never reused for another behaviour."""
    statement: str
    """What the service does, in one or two sentences."""
    basis: Basis
    """The grade of the central claim."""
    note: str
    """Which part is founded on what, and which setting selects another reading; may be empty."""
    sources: tuple[str, ...]
    """Ids of `sources`; empty if no public page backs the rule."""
    profiles: tuple[str, ...]
    """Names of the profiles in which the rule holds."""
    status: int | None
    """The HTTP status, if the rule is about a response that has exactly one."""
    advice: str
    """What a sender, or its test, does about it, in one or two sentences."""
    section: str
    """The heading under which the rule is shown, such as ``"Route"``."""


_SOURCES = """
S0 Postback API (article with a sample response of 2015)
    https://docs.treasuredata.com/products/customer-data-platform/integration-hub/streaming/postback-api
S1 postback-api 1.0.0 (OpenAPI description)
    https://api-docs.treasuredata.com/en/api/postback/postback-api.openapi/overview
QS Postback API Quickstart
    https://api-docs.treasuredata.com/en/api/postback/quickstart
V2 Postback API v2 2.0.0 (OpenAPI description and quickstart)
    https://docs.treasure.ai/apis/postback-v2
DI Importing Table Records Using the Data Ingestion API
    https://docs.treasuredata.com/products/customer-data-platform/integration-hub/streaming/importing-table-records-using-the-data-ingestion-api
JS td-js-sdk 4.4 (the browser SDK of the service's owner)
    https://github.com/treasure-data/td-js-sdk
AND td-android-sdk 1.0 and its HTTP client (of the service's owner)
    https://github.com/treasure-data/td-android-sdk
IOS td-ios-sdk 1.0 (of the service's owner)
    https://github.com/treasure-data/td-ios-sdk
PX Tracking Pixels
    https://docs.treasuredata.com/products/customer-data-platform/integration-hub/streaming/tracking-pixels
NM Naming Requirements and Restrictions for Treasure Data Entities
    https://docs.treasuredata.com/requirements-and-limitations/naming-requirements-and-restrictions-for-treasure-data-entities
LM List of Upper Limits
    https://docs.treasure.ai/requirements-and-limitations/list-of-upper-limits-max-on-treasure-data
A21 postback-api 1.0.0, the copy of 2021 (no note on asynchronous validation yet)
    https://api-docs.treasuredata.com/pages/postback_api/overview
REPORT Treasure Data for Currents (what the maker of a shipped sender reports)
    https://www.braze.com/docs/partners/data_and_analytics/customer_data_platform/treasure_data/treasure_data_for_currents
"""

# Sections of the fidelity page with their rules. The line of a rule has its id, its grade, its
# sources, the profiles in which it holds (without any: all of the Postback API), and its status.
_RULES = """
# Route
R1 documented S0 S1 V2
    `POST /postback/v3/event/{database}/{table}` ingests one record.
    Advice: Send each record in a request of its own.
R2 documented S0 S1 400
    Database and table names consist of ASCII letters, digits and `_`. Any other character, an empty
    name, or a missing or extra segment under `/postback/v3/event` (the bare prefix included) is
    refused with 400.
    Advice: Check the names and the number of segments in the URL.
    Note: The characters are documented; the status is inferred.
R3 observed
    A single slash after the table name is accepted, and the event carries a finding.
    Advice: Remove the slash at the end of the path.
    Note: Three independent senders put it there; that more slashes are refused (R2) is inferred.
R4 documented PX 405
    On the event route `GET` is the tracking pixel (P1, P6), except in `v2-2.0.0`, which has none.
    Any method other than `POST`, `OPTIONS` and, if there is a pixel, `GET` is refused with 405 and
    an `Allow` header.
    Advice: Send events by `POST`.
    Note: `GET` with `td_format` is documented; the 405 is inferred.
R5 inferred 204
    `OPTIONS` on the event route is a CORS preflight: the response is 204, allows the origin,
    credentials, the methods and the headers asked for, and there is no event. The response to any
    other request with an `Origin` header carries `Access-Control-Allow-Origin` and
    `Access-Control-Allow-Credentials`.
    Advice: A page can send events without further settings.
    Note: Without both, browsers send no event with a header of its own. Beacons always send
    credentials, so a beacon of `application/json` needs the permission for them.
R6 inferred 404
    Any path outside the event route is refused with 404, `OPTIONS` included, which is then a
    refused event. That includes `/js/v3/event` and `/{database}/{table}`, which other products
    serve on the same hosts.
    Advice: Send to `/postback/v3/event/{database}/{table}`.
    Note: A page that loses everything at its preflight must not look as if it had sent nothing.
R7 inferred
    Percent-encoding in the path is decoded before the names are judged.
    Advice: Either spelling of a name works.
R8 documented NM
    The platform wants database and table names in lower case and 3 to 128 characters long. A name
    that breaks this is accepted, and the event carries a finding.
    Advice: Choose a name of 3 to 128 lower-case letters, digits and `_`.
    Note: Documented for the platform, not for this route; that nothing is refused is inferred.

# Authentication
A1 documented S0 S1
    The header `X-TD-Write-Key`, in any letter case, carries the write key.
    Advice: Send the write key, `account/secret`, in this header.
A2 documented S0 S1 openapi-1.0.0 article-2015
    The URL parameter `td_write_key` may carry the write key instead, decoded as a form value (`+`
    is a space). A raw `/` in it is accepted, and the last of several counts.
    Advice: Percent-encode the key, and send it once.
    Note: The parameter is documented, although S1 also marks the header as required. The raw `/` is
    observed. The decoding and that the last one counts are inferred.
A3 documented S0 S1 openapi-1.0.0 article-2015
    If header and URL parameter are both present, the header decides, right or wrong.
    Advice: Send the key in one place.
A4 documented S0 S1 403
    A request without a write key, or with an empty header (whatever the URL parameter holds), is
    refused with 403. The first of several key headers counts, with a finding.
    Advice: Send a write key in `X-TD-Write-Key`, once.
    Note: It is documented that each request must authenticate and that 403 exists. That a missing
    key gets 403 is inferred, as is the reading of empty and repeated headers.
A5 documented S1 V2 openapi-1.0.0 v2-2.0.0 200
    A key that is unknown, revoked or used outside its scope gets 200, and the event fails the
    validation that follows (Y3).
    Advice: Send a valid key: in a test `tdpostback.write_key`, or a key that `tdpostback.keys` has.
A6 documented S0 A21 article-2015 403
    A key that is unknown, revoked or outside its scope gets 403, and nothing is stored.
    Advice: Send a valid key: in a test `tdpostback.write_key`, or a key that `tdpostback.keys` has.
    Note: The article lists the status 403. Neither it nor the copy of 2021 has the note on
    asynchronous validation, so a wrong key is taken to be what 403 is for.
A7 inferred
    A key that does not have the form `account/secret` is treated like an unknown key.
    Advice: Send the whole key, `account/secret`.
    Note: `malformed_key` is `async` by default, which means this rule. `refuse` refuses it with 403
    at once, because one test suite written against the service expects an error.
A8 inferred openapi-1.0.0 article-2015
    An `Authorization` header is ignored.
    Advice: Send the key in `X-TD-Write-Key`.
A9 documented V2 v2-2.0.0
    `Authorization: TD1 <key>` or `X-TD-Write-Key` carries the write key, and `Authorization`
    decides if both are present. The URL parameter `td_write_key` does not count: alone it is no
    authentication (A4).
    Advice: Send the key in `Authorization: TD1 <key>`.
A10 inferred v2-2.0.0
    An `Authorization` header of a scheme other than `TD1` still decides against an `X-TD-Write-Key`
    beside it, and is an unknown key. Alone it is no authentication (A4).
    Advice: Remove the `Authorization` header, or send `TD1 <key>` in it.

# Body
B1 documented S0 S1 400
    The body must be declared as `Content-Type: application/json`; parameters and a bare `;` after
    it are allowed. Any other type, or none, is refused with 400.
    Advice: Send `Content-Type: application/json`.
    Note: It is documented that the header is to be sent; the status is inferred.
B2 documented S0 S1 400
    A body that is not strict JSON in UTF-8 is refused with 400: `NaN`, `Infinity`, the escape of a
    lone surrogate, a byte order mark, a trailing comma, invalid UTF-8, a number beyond the range of
    a double, an integer of more than 4,300 digits.
    Advice: Write the body with a JSON library, in strict mode.
    Note: It is documented that a bad request gets 400; what counts as bad is inferred.
B3 documented V2 400
    The top level of the JSON must be an object; anything else is refused with 400.
    Advice: Send one object in each request.
    Note: Documented for `v2-2.0.0`, inferred for the other profiles.
B4 inferred 400
    An empty body is refused with 400, unless the record is read from the URL (B9, P8).
    Advice: Send a JSON object, `{}` at least.
B5 inferred
    The last value of a repeated name in an object counts, and the event carries a finding.
    Advice: Send each name once.
B6 documented V2 413
    A body above the limit is refused with 413: the limit is 1,048,064 bytes in `v2-2.0.0` (exactly
    that many are accepted) and `max_body` in every other profile, 64 MiB by default. If
    `Content-Length` shows it, the refusal comes before a `100 Continue`; otherwise the rest is read
    and thrown away, within bounds, so that the client can read the response.
    Advice: Send smaller events.
    Note: Limit and status are documented for `v2-2.0.0`. In other profiles `max_body` only protects
    the fake server. How the client gets the response is inferred.
B7 inferred 400
    JSON with more than 512 levels of nesting is refused with 400, on every Python.
    Advice: Send fewer levels of nesting.
B8 inferred 400
    A request with a `Content-Encoding` other than `identity` is refused with 400. `identity` says
    that there is none: it is accepted, and the event carries a finding.
    Advice: Send the body uncompressed and without `Content-Encoding`.
    Note: No document mentions compressed bodies.
B9 observed openapi-1.0.0 article-2015
    An empty `POST` with no content type or with `text/plain` (parameters allowed) whose URL has
    data parameters becomes a record of strings, to which P2, P3 and P7 apply, and carries a
    finding. Without a data parameter it is an empty body (B4).
    Advice: Send the data as a JSON body.
    Note: A widely shipped analytics integration sends its events like this.
B10 conflict S0
    URL parameters beside a JSON body, other than `td_write_key`, are not stored, and the event
    carries a finding.
    Advice: Move the parameters into the body.
    Note: The article mentions key/value parameters besides the key and does not say what happens to
    them. `url_parameters` is `ignore` by default, which means this rule. `store` stores them as
    strings; if both have a name, the body decides.
B11 inferred
    Chunked bodies and `Expect: 100-continue` work as HTTP/1.1 defines them.
    Advice: Nothing: any HTTP/1.1 client does it right.

# Record
V1 documented S0 REPORT
    The JSON object becomes exactly one record, even if it wraps a list of events.
    Advice: Send each event in a request of its own if each is to be a record.
    Note: One record for one object is documented; a list inside one record is observed.
V2 conflict S0 A21
    JSON values keep their types: the number `1234` is stored as a number.
    Advice: Run the tests with each of the two settings if a type matters.
    Note: This is the default of every profile, `value_types` being `json`. The article's worked
    example shows it, and the copy of 2021 mentions strings only to recommend JSON with types. V3
    contradicts it and is selected by `string`.
V3 conflict S1
    With `value_types` set to `string` every value is stored as a string: nested values as compact
    JSON text, booleans as `true` and `false`, while `null` stays null.
    Advice: Run the tests with each of the two settings if a type matters.
    Note: The OpenAPI description says that values are processed as strings; how nested values,
    booleans and null are spelled is inferred. V2, the default `json`, contradicts it.
T1 documented S1
    Without `td_record_time` the column `time` is the moment of receipt.
    Advice: Send `td_record_time` if the time of the event itself matters.
T2 documented S1
    `td_record_time`, in UNIX seconds, sets the column `time` and is not stored itself.
    Advice: Send the time under another name as well if it must stay a column.
    Note: It is documented that it sets the time; that a JSON body loses it is inferred.
T3 conflict S1
    A `td_record_time` more than 7 days before or more than 3 days after the receipt is ignored:
    `time` is the moment of receipt, and the event carries a finding.
    Advice: Send events within 7 days, and check the clock of the sender.
    Note: The window is documented, but `ignored` may mean the value or the record. `stale_time` is
    `receipt` by default, which ignores the value; `drop` rejects the event.
T4 inferred
    Both ends of that window belong to it: exactly 7 days old and exactly 3 days ahead count.
    Advice: Keep away from the ends of the window.
T5 inferred
    A `td_record_time` that is neither an integer nor a string of digits is ignored, and the event
    carries a finding. The finding says so if a value looks like milliseconds.
    Advice: Send whole UNIX seconds.
T6 inferred
    The column `time` replaces a member `time` of the body, and the event carries a finding.
    Advice: Send the value under another name, or as `td_record_time`.
T7 documented S0
    The column `time` is shown as a string of whole UNIX seconds.
    Advice: Compare with a string: `record["time"] == "1440426473"`.
    Note: The article's example shows it.
C1 documented NM
    A column name that has anything but lower-case letters, digits and `_`, or starts with a digit,
    gets an alias from the platform. The event carries a finding.
    Advice: Name columns in lower case, such as `user_id`.
C2 documented LM
    A table has at most 512 columns; the event that exceeds that carries a finding.
    Advice: Do not make column names from data; store such data as one nested value.
C3 inferred
    In a JSON body `td_ip`, `td_ua` and `td_global_id` are stored as they were sent.
    Advice: Send the real values.
    Note: Their substitution (P3) is documented for URL parameters only.

# Response
W1 documented S0 S1 QS 200
    Success is 200 with the body `{}` and the headers `Content-Type: application/json`, `Date`,
    `Strict-Transport-Security: max-age=31536000` (not in `article-2015`), `Content-Length: 2` and
    `Connection: keep-alive`, in the order of the profile's example.
    Advice: Do not read more out of the body than that it is empty.
    Note: The quickstart prints the body. The example body of S1 repeats the headers by mistake.
W2 documented S1
    The responses 400, 403 and 413 have the same headers as a success, and the body `{}`.
    Advice: Look at the status, not at the body.
    Note: Weakly: the documented responses share one schema, with a length of 2.
W3 documented S0 S1
    The connection stays open and serves the next request. A client that asks for `close`, or speaks
    HTTP/1.0, gets `Connection: close`.
    Advice: Reuse connections.
    Note: `keep-alive` is documented; `close` is inferred.
W4 inferred
    The reason for a refusal is not part of the response; it is on the event, in the report and in
    the log.
    Advice: Set `explain` while debugging.
    Note: `explain` is false by default; true puts the reason into the response as well.

# After the response
Y1 documented S1
    The response is written first, and the event is validated after it.
    Advice: Do not take a 200 for a stored event.
Y2 inferred
    Until it is validated an accepted event is pending, and no record exists.
    Advice: Wait with `tdpostback.settle()` or an assertion.
Y3 documented S1 openapi-1.0.0 v2-2.0.0
    An invalid key ends in an authentication failure that the sender never sees.
    Advice: If a test expects the failure, wrap it in `tdpostback.expect_auth_failure()`.
    Note: `on_auth_failure` is `fail` by default, which fails the test that sent the event; `ignore`
    only records it. In `article-2015` such a key is refused at once (A6).
Y4 inferred
    A key may be limited to databases or to tables, or be revoked; outside its scope it is an
    invalid key (Y3, in `article-2015` A6).
    Advice: Send the key that belongs to the database and table.
Y5 observed REPORT
    How long validation takes is not specified; minutes have been reported.
    Advice: Do not expect a record soon after the response.
    Note: `validation_delay` sets it, 0 seconds by default, and a test can hold and release it.

# Tracking pixel
P1 documented PX openapi-1.0.0 article-2015
    `GET` with `td_format=pixel` and `td_write_key` ingests one record, in which every other URL
    parameter is a column that holds a string.
    Advice: Send a `POST` with JSON if types matter.
P2 documented PX openapi-1.0.0 article-2015
    `td_format`, `td_write_key`, `td_record_time` and `td_redirect` do not become columns;
    `td_record_time` works as in a body (T2).
    Advice: Do not name data like these parameters.
P3 documented PX openapi-1.0.0 article-2015
    `td_global_id=td_global_id`, `td_ip=td_ip` and `td_ua=td_ua` store the real global id, the
    source address and the user agent. Any other value is stored as it was sent.
    Advice: Send the parameter's own name as its value.
    Note: The substitution is documented; what happens to other values is inferred.
P4 inferred openapi-1.0.0 article-2015 200
    The response to a pixel is 200 with a GIF of 1x1 pixels.
    Advice: Use the URL as the source of an image.
    Note: The documents do not give the bytes.
P5 documented PX openapi-1.0.0 article-2015 302
    The response to `td_redirect=<encoded URL>` is 302 to that URL, in which the real global id
    replaces the value of a `td_global_id` parameter.
    Advice: Percent-encode the whole URL.
    Note: Redirect and replacement are documented; the status is inferred.
P6 documented S0 openapi-1.0.0 article-2015 200
    `GET` without `td_format` still ingests a record, to which P1, P2, P3 and P7 apply, and has the
    response of a `POST` (W1). The event carries a finding, because this form is deprecated and may
    lose data.
    Advice: Add `td_format=pixel`.
    Note: An older edition of the article documents it as deprecated; the current text no longer
    mentions it. Senders that still use it have been observed.
P7 documented PX openapi-1.0.0 article-2015
    A cookie carries the global id; if there is none, the response sets a new one.
    Advice: Keep cookies if the id is to stay the same.
    Note: Documented in general terms; the name of the cookie is inferred.
P8 observed openapi-1.0.0 article-2015
    `POST` with `td_format=pixel`, the ping of a link, is a pixel; its body is not a record.
    Advice: Put the data into the URL, or leave `td_format` out.
    Note: Seen in pages that ping this way; no document describes it.
P9 inferred
    The last one of a repeated URL parameter counts, and the event carries a finding.
    Advice: Send each parameter once.
    Note: In `v2-2.0.0` no parameter counts unless `url_parameters` is `store` (B10).
P10 observed
    Bytes above 0x7F in a query are read as UTF-8; if they are not UTF-8, raw or as `%FF`, U+FFFD
    replaces them, and a `%` without two hexadecimal digits stays as it is. In each case the event
    carries a finding.
    Advice: Percent-encode parameters as UTF-8.
    Note: Raw bytes come from curl, PHP and Java; the reading of invalid bytes is inferred. In
    `v2-2.0.0` no parameter counts unless `url_parameters` is `store` (B10).

# Data Ingestion API
I1 observed DI JS AND IOS ingestion-v1
    `POST /{database}/{table}` takes a batch of records, or one record. Database and table come from
    the path alone.
    Advice: Send to `/{database}/{table}` of a records host.
    Note: All SDKs of the service's owner send it. `/postback/v3/event/{database}/{table}` on the
    same hosts is the Postback API v2.
I2 documented NM ingestion-v1
    A database or table name outside `[0-9a-z_]{3,128}` is refused with 400. Any other method is
    refused with 405 and an `Allow` header, any other path with 404 (R6).
    Advice: Check the method, and the names in the path.
    Note: The names are documented; the statuses are inferred.
I3 observed JS ingestion-v1
    The query is ignored. `modified` and `time`, which the browser SDK sends, pass without a word;
    any other parameter brings a finding.
    Advice: Put data into the record, not into the URL.
    Note: That unknown parameters are ignored is inferred.
I4 observed JS AND IOS ingestion-v1
    `Authorization: TD1 <key>` authenticates, and nothing else does. Before the body is judged, a
    missing, unknown or revoked key and another scheme are refused with 401, and a key outside its
    scope with 403.
    Advice: Send a valid write key as `Authorization: TD1 <key>`.
    Note: All clients send the header; which status means what is inferred.
I5 observed JS AND IOS ingestion-v1 400
    `Content-Type` is `application/vnd.treasuredata.v1+json` (a batch),
    `application/vnd.treasuredata.v1.js+json` (a batch from a browser),
    `application/vnd.treasuredata.v1.mobile+json` (a batch from a phone) or
    `application/vnd.treasuredata.v1.single+json` (one record), in any letter case and with any
    parameters. Any other type is refused with 400.
    Advice: Send one of these types, not `application/json`.
    Note: The types are those of shipped clients; the 400 is inferred.
I6 observed JS ingestion-v1
    `Accept` never refuses a request. The response to accepted records has the content type of the
    request.
    Advice: Any `Accept` works.
    Note: That no value of `Accept` refuses is inferred.
I7 observed JS AND IOS ingestion-v1 422
    A batch is a JSON object with a list `events`. Without it the request is refused with 422; a
    list `records` is not read.
    Advice: Send `{"events": [...]}`.
    Note: The 422 is inferred.
I8 documented DI ingestion-v1 422
    A batch has 1 to 500 records. Otherwise it is refused with 422, and nothing is stored.
    Advice: Split the records into batches of at most 500.
    Note: The number is documented, the status inferred.
I9 documented DI ingestion-v1 413
    A batch of more than 5 mebibytes (5,242,880 bytes), before or after decoding, is refused with
    413. A record of more than 1 mebibyte (1,048,576 bytes) fails alone (I13).
    Advice: Split large batches, and shorten large records.
    Note: The sizes are documented; the 413 and how a large record fails are inferred.
I10 observed AND IOS ingestion-v1
    `Content-Encoding: gzip` and `deflate` are decoded, and `identity` is accepted with a finding.
    Another coding, or bytes that do not decode, are refused with 400.
    Advice: Compress with gzip, or not at all.
    Note: The mobile SDKs send gzip; the rest is inferred.
I11 inferred ingestion-v1 400
    A body that is not strict JSON, as in B2 and B7, is refused with 400; the last of equal names in
    an object counts, with a finding. With `application/vnd.treasuredata.v1.single+json` the whole
    body is the record, even if it has a list `events`.
    Advice: Send strict JSON in UTF-8, and each name once.
I12 observed DI AND IOS ingestion-v1 200
    Every record has an outcome of its own and, in the order of the records, a receipt:
    `{"receipts": [{"success": true, "uuid": "..."}]}`. The status is 200 if all succeed.
    Advice: Read the receipts: a 2xx does not mean that every record was accepted.
    Note: It is documented that the response has a UUID; its place is inferred.
I13 observed AND ingestion-v1 206
    If at least one record fails, the status is 206, also if all of them fail. The receipt of a
    failed record is `{"success": false, "error": {"name": "...", "description": "..."}}`, and its
    event is refused.
    Advice: Send the failed records again after you correct them. A client that takes 206 for
    success loses them.
    Note: The 206 is in a sample of the service's owner, and the names of errors are in its HTTP
    client. Inferred: `InvalidPropertyValueError` stands for a record that is not an object or is
    too large and for a bad `uuid`, `InvalidPropertyNameError` for an empty column name.
I14 inferred ingestion-v1
    Accepted records are validated after the response (Y1, Y2, Y5). A record whose key was revoked
    in the meantime is rejected.
    Advice: Send with a key that stays valid.
I15 documented DI ingestion-v1
    `time` in a record sets the time of the record if it is UNIX seconds, as an integer or a string
    of digits. Anything else, and what looks like milliseconds, is ignored with a finding.
    Advice: Send `time` in whole seconds.
    Note: Seconds are documented; the rest is inferred. There is no window as in T3, and
    `td_record_time` is a column like any other.
I16 documented DI ingestion-v1
    `uuid` in a record is a UUID, comes back in the receipt and is not stored. A record without one
    gets a UUID that is made up.
    Advice: Give each record a UUID of its own, and keep it if you send the record again.
I17 documented DI ingestion-v1
    A record whose `uuid` was stored in the same table within the last hour and the last 4,096
    records is accepted and not stored again: it is deduplicated.
    Advice: Use a new `uuid` for each new record.
    Note: Deduplication is documented as best effort. The clock is that of the fake server;
    `deduplicate` set to `false` turns deduplication off.
I18 observed JS ingestion-v1
    JSON types are kept, those of nested values too, as in V2.
    Advice: Set `value_types` to the reading that you trust.
    Note: `value_types` selects strings, as in V3.
I19 documented JS AND IOS ingestion-v1
    A record from a browser or a phone (I5) gets the column `td_ip`, the address of the sender,
    unless it has one. In a record from a browser, a `td_global_id` equal to its own name becomes
    the global id of the browser.
    Advice: Do not send these columns, unless you mean your own values.
I20 observed JS ingestion-v1 200
    `GET /` with a valid key gets `{"global_id": "..."}`, the same for one browser by a cookie
    (`SameSite=None; Secure; HttpOnly`). It is no event.
    Advice: Enable the global id only in signed mode.
    Note: The cookie is inferred.
I21 observed JS ingestion-v1 204
    The response to a CORS preflight is 204 with the origin, the credentials and the headers asked
    for by name. Every other response, also a refusal, allows origin and credentials.
    Advice: A page can send records without further settings.
    Note: Without any of this a browser sends nothing.
I22 inferred ingestion-v1
    The body of a refusal is a JSON object with `error` and `message`.
    Advice: Read the status; the reason is on the event.
    Note: With `explain` the message is the reason.
I23 inferred ingestion-v1 404
    A preflight to a path that is not served is a refused event (R6).
    Advice: Check the path that the page sends to.
    Note: A page that loses everything at its preflight must not look as if it had sent nothing.
"""
_NEXT_ROW = re.compile(r"\n(?=\S)")


def _read_sources() -> Iterator[Source]:
    for row in _NEXT_ROW.split(_SOURCES.strip()):
        first, url = row.split("\n")
        source_id, _, title = first.partition(" ")
        yield Source(source_id, title, url.strip())


def _read_rules() -> Iterator[Rule]:
    of_postback = tuple(row.name for row in profiles if row.postback is None)
    for text in _RULES.split("\n# ")[1:]:
        section, *rows = _NEXT_ROW.split(text.strip())
        for row in rows:
            line, _, texts = row.partition("\n")
            rule_id, basis, *words = line.split()
            statement, _, rest = " ".join(texts.split()).partition(" Advice: ")
            advice, _, note = rest.partition(" Note: ")
            status = int(words.pop()) if words and words[-1].isdecimal() else None
            held = tuple(word for word in words if word in profiles) or of_postback
            cited = tuple(sources[word].id for word in words if word not in profiles)
            yield Rule(rule_id, statement, Basis(basis), note, cited, held, status, advice, section)


sources = Catalogue(_read_sources())
"""Every document that a rule cites, by id."""
rules = Catalogue(_read_rules())
"""Every rule, in the order of the fidelity page, by id."""
WITH_FINDING = {
    *("R3", "R8", "A4", "B5", "B8", "B9", "B10", "T3", "T5", "T6", "C1", "C2", "P6", "P9", "P10"),
    *("I3", "I4", "I10", "I11", "I13", "I15"),
}
"""The ids of the rules that a finding may be about."""
