"""The rules: one typed row for each behaviour of the Postback API that the fake server imitates.

A behaviour is written here and nowhere else. The judge, the schemas, the OpenAPI documents, the
conformance suite, the fidelity page and the command line all read these rows. Code elsewhere names
a behaviour by its id, as in ``rules["A5"]``.

Two principles decide what no document says. Precaution: take the reading under which a careless
client loses data, because a fake server that is kinder than production hides bugs. Evidence is
stronger than precaution: if a shipped sender depends on a behaviour, accept it, with a finding.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

Row = TypeVar("Row")

_OPENAPI, _ARTICLE, _V2 = "openapi-1.0.0", "article-2015", "v2-2.0.0"
_INGESTION = ("ingestion-v1",)
_ALL = (_OPENAPI, _ARTICLE, _V2)
_NOT_V2 = (_OPENAPI, _ARTICLE)
_NOT_ARTICLE = (_OPENAPI, _V2)

_SECTIONS = {
    "R": "Route",
    "A": "Authentication",
    "B": "Body",
    "V": "Record",
    "T": "Record",
    "C": "Record",
    "W": "Response",
    "Y": "After the response",
    "P": "Tracking pixel",
    "I": "Data Ingestion API",
}


class Basis(str, Enum):
    """How well a rule is founded. If parts of a rule differ, its note says how."""

    DOCUMENTED = "documented"
    """A document of the service says so."""
    CONFLICT = "conflict"
    """The documents disagree or are ambiguous; a setting selects the reading."""
    OBSERVED = "observed"
    """No document says so, but somebody who used the real service depends on it or reports it."""
    INFERRED = "inferred"
    """Nobody says so; the reading is this project's own."""

    def __str__(self) -> str:
        """Return the bare value, on every Python."""
        return self.value


@dataclass(frozen=True)
class Source:
    """A document that rules cite by its ``id``."""

    id: str
    title: str
    url: str


@dataclass(frozen=True)
class Rule:
    """One behaviour of the service.

    In the texts, backticks enclose what is literal on the wire or in a setting.
    """

    id: str
    """A letter for the group and a number, as in ``"A5"``; never reused for another behaviour."""
    statement: str
    """What the service does, in one or two sentences."""
    basis: Basis
    """The grade of the central claim."""
    note: str = ""
    """Which part is founded on what, and which setting selects another reading; may be empty."""
    sources: tuple[str, ...] = ()
    """Ids of `sources`; empty if no public page backs the rule."""
    profiles: tuple[str, ...] = _ALL
    """Names of the profiles in which the rule holds."""
    status: int | None = None
    """The HTTP status, if the rule is about a response that has exactly one."""
    advice: str = ""
    """What a sender, or its test, does about it, in one or two sentences."""

    @property
    def section(self) -> str:
        """The heading under which the rule is shown, such as ``"Route"``."""
        return _SECTIONS[self.id[0]]


class Catalogue(Generic[Row]):
    """Rows in their order, each of which can also be looked up by its key.

    ``catalogue["A5"]`` is a row, ``"A5" in catalogue`` tells whether there is one, and iteration
    gives the rows.
    """

    __slots__ = ("_rows",)

    def __init__(self, rows: Iterable[Row], *, key: Callable[[Row], str]) -> None:
        """`rows` are the rows in the order in which they are shown; `key` gives the key of each.

        Raises:
            ValueError: Two rows have the same key.
        """
        self._rows: dict[str, Row] = {}
        for row in rows:
            if key(row) in self._rows:
                raise ValueError(f"two rows have the key {key(row)!r}")
            self._rows[key(row)] = row

    def __getitem__(self, key: str) -> Row:
        """Return the row with `key`.

        Raises:
            KeyError: There is no such row. The message names the nearest key.
        """
        try:
            return self._rows[key]
        except KeyError:
            raise KeyError(f"{key!r} is unknown; did you mean {self.nearest(key)!r}?") from None

    def nearest(self, key: str) -> str:
        """Return the existing key that is most like `key`."""
        from difflib import SequenceMatcher  # only a mistake needs it

        def likeness(known: str) -> float:
            return SequenceMatcher(None, known.casefold(), str(key).casefold()).ratio()

        return max(self._rows, key=likeness)

    def __contains__(self, key: object) -> bool:
        return key in self._rows

    def __iter__(self) -> Iterator[Row]:
        return iter(self._rows.values())

    def __len__(self) -> int:
        return len(self._rows)

    def __repr__(self) -> str:
        return f"<Catalogue: {', '.join(self._rows)}>"


sources: Catalogue[Source] = Catalogue(
    [
        Source(
            "S0",
            "Postback API (article with a sample response of 2015)",
            "https://docs.treasuredata.com/products/customer-data-platform/integration-hub/streaming/postback-api",
        ),
        Source(
            "S1",
            "postback-api 1.0.0 (OpenAPI description)",
            "https://api-docs.treasuredata.com/en/api/postback/postback-api.openapi/overview",
        ),
        Source(
            "QS",
            "Postback API Quickstart",
            "https://api-docs.treasuredata.com/en/api/postback/quickstart",
        ),
        Source(
            "V2",
            "Postback API v2 2.0.0 (OpenAPI description and quickstart)",
            "https://docs.treasure.ai/apis/postback-v2",
        ),
        Source(
            "DI",
            "Importing Table Records Using the Data Ingestion API",
            "https://docs.treasuredata.com/products/customer-data-platform/integration-hub/streaming/importing-table-records-using-the-data-ingestion-api",
        ),
        Source(
            "JS",
            "td-js-sdk 4.4 (the browser SDK of the service's owner)",
            "https://github.com/treasure-data/td-js-sdk",
        ),
        Source(
            "AND",
            "td-android-sdk 1.0 and its HTTP client (of the service's owner)",
            "https://github.com/treasure-data/td-android-sdk",
        ),
        Source(
            "IOS",
            "td-ios-sdk 1.0 (of the service's owner)",
            "https://github.com/treasure-data/td-ios-sdk",
        ),
        Source(
            "PX",
            "Tracking Pixels",
            "https://docs.treasuredata.com/products/customer-data-platform/integration-hub/streaming/tracking-pixels",
        ),
        Source(
            "NM",
            "Naming Requirements and Restrictions for Treasure Data Entities",
            "https://docs.treasuredata.com/requirements-and-limitations/naming-requirements-and-restrictions-for-treasure-data-entities",
        ),
        Source(
            "LM",
            "List of Upper Limits",
            "https://docs.treasure.ai/requirements-and-limitations/list-of-upper-limits-max-on-treasure-data",
        ),
        Source(
            "A21",
            "postback-api 1.0.0, the copy of 2021 (no note on asynchronous validation yet)",
            "https://api-docs.treasuredata.com/pages/postback_api/overview",
        ),
        Source(
            "REPORT",
            "Treasure Data for Currents (what the maker of a shipped sender reports)",
            "https://www.braze.com/docs/partners/data_and_analytics/customer_data_platform/treasure_data/treasure_data_for_currents",
        ),
    ],
    key=lambda source: source.id,
)
"""Every document that a rule cites, by id."""


_ROUTE = [
    Rule(
        "R1",
        "`POST /postback/v3/event/{database}/{table}` ingests one record.",
        Basis.DOCUMENTED,
        sources=("S0", "S1", "V2"),
        advice="Send each record in a request of its own.",
    ),
    Rule(
        "R2",
        "Database and table names consist of ASCII letters, digits and `_`. Any other character, "
        "an empty name, or a missing or extra segment under `/postback/v3/event` (the bare prefix "
        "included) is refused with 400.",
        Basis.DOCUMENTED,
        "The characters are documented; the status is inferred.",
        sources=("S0", "S1"),
        status=400,
        advice="Check the names and the number of segments in the URL.",
    ),
    Rule(
        "R3",
        "A single slash after the table name is accepted, and the event carries a finding.",
        Basis.OBSERVED,
        "Three independent senders put it there; that more than one slash is refused (R2) is "
        "inferred.",
        advice="Remove the slash at the end of the path.",
    ),
    Rule(
        "R4",
        "On the event route `GET` is the tracking pixel (P1, P6), except in `v2-2.0.0`, which has "
        "none. Any method other than `POST`, `OPTIONS` and, if there is a pixel, `GET` is refused "
        "with 405 and an `Allow` header.",
        Basis.DOCUMENTED,
        "`GET` with `td_format` is documented; the 405 is inferred.",
        sources=("PX",),
        status=405,
        advice="Send events by `POST`.",
    ),
    Rule(
        "R5",
        "`OPTIONS` on the event route is a CORS preflight: the response is 204, allows the origin, "
        "credentials, the methods and the headers asked for, and there is no event. The response "
        "to any other request with an `Origin` header carries `Access-Control-Allow-Origin` and "
        "`Access-Control-Allow-Credentials`.",
        Basis.INFERRED,
        "Without both, browsers send no event with a header of its own. Beacons always send "
        "credentials, so a beacon of `application/json` needs the permission for them.",
        status=204,
        advice="A page can send events without further settings.",
    ),
    Rule(
        "R6",
        "Any path outside the event route is refused with 404, `OPTIONS` included, which is then "
        "a refused event. That includes `/js/v3/event` and `/{database}/{table}`, which other "
        "products serve on the same hosts.",
        Basis.INFERRED,
        "A page that loses everything at its preflight must not look as if it had sent nothing.",
        status=404,
        advice="Send to `/postback/v3/event/{database}/{table}`.",
    ),
    Rule(
        "R7",
        "Percent-encoding in the path is decoded before the names are judged.",
        Basis.INFERRED,
        advice="Either spelling of a name works.",
    ),
    Rule(
        "R8",
        "The platform wants database and table names in lower case and 3 to 128 characters long. "
        "A name that breaks this is accepted, and the event carries a finding.",
        Basis.DOCUMENTED,
        "The naming is documented for the platform, not for this route; that nothing is refused "
        "is inferred.",
        sources=("NM",),
        advice="Choose a name of 3 to 128 lower-case letters, digits and `_`.",
    ),
]

_AUTHENTICATION = [
    Rule(
        "A1",
        "The header `X-TD-Write-Key`, in any letter case, carries the write key.",
        Basis.DOCUMENTED,
        sources=("S0", "S1"),
        advice="Send the write key, `account/secret`, in this header.",
    ),
    Rule(
        "A2",
        "The URL parameter `td_write_key` may carry the write key instead, decoded as a form "
        "value (`+` is a space). An unencoded `/` in it is accepted, and the last of several "
        "counts.",
        Basis.DOCUMENTED,
        "The parameter is documented, although S1 also marks the header as required. The "
        "unencoded `/` is observed. The decoding and that the last one counts are inferred.",
        sources=("S0", "S1"),
        profiles=_NOT_V2,
        advice="Percent-encode the key, and send it once.",
    ),
    Rule(
        "A3",
        "If header and URL parameter are both present the header decides, even if its key is "
        "wrong and the other key is right.",
        Basis.DOCUMENTED,
        sources=("S0", "S1"),
        profiles=_NOT_V2,
        advice="Send the key in one place.",
    ),
    Rule(
        "A4",
        "A request without a write key, or with an empty header (whatever the URL parameter "
        "holds), is refused with 403. The first of several key headers counts, and the event "
        "carries a finding.",
        Basis.DOCUMENTED,
        "It is documented that each request must authenticate and that 403 exists. That a missing "
        "key gets 403 is inferred, as is the reading of empty and repeated headers.",
        sources=("S0", "S1"),
        status=403,
        advice="Send a write key in `X-TD-Write-Key`, once.",
    ),
    Rule(
        "A5",
        "A key that is unknown, revoked or used outside its scope gets 200, and the event fails "
        "the validation that follows (Y3).",
        Basis.DOCUMENTED,
        sources=("S1", "V2"),
        profiles=_NOT_ARTICLE,
        status=200,
        advice="Send a valid write key. In a test send `tdpostback.write_key`, or register the key "
        "with `tdpostback.keys.add`.",
    ),
    Rule(
        "A6",
        "A key that is unknown, revoked or used outside its scope is refused with 403, and "
        "nothing is stored.",
        Basis.DOCUMENTED,
        "The article lists the status 403. Neither it nor the copy of 2021 has the note on "
        "asynchronous validation, so a wrong key is taken to be what 403 is for.",
        sources=("S0", "A21"),
        profiles=(_ARTICLE,),
        status=403,
        advice="Send a valid write key. In a test send `tdpostback.write_key`, or register the key "
        "with `tdpostback.keys.add`.",
    ),
    Rule(
        "A7",
        "A key that does not have the form `account/secret` is treated like an unknown key.",
        Basis.INFERRED,
        "`malformed_key` is `async` by default, which means this rule. `refuse` refuses it with "
        "403 at once, because one test suite written against the service expects an error.",
        advice="Send the whole key, `account/secret`.",
    ),
    Rule(
        "A8",
        "An `Authorization` header is ignored.",
        Basis.INFERRED,
        profiles=_NOT_V2,
        advice="Send the key in `X-TD-Write-Key`.",
    ),
    Rule(
        "A9",
        "`Authorization: TD1 <key>` or `X-TD-Write-Key` carries the write key, and "
        "`Authorization` decides if both are present. The URL parameter `td_write_key` does "
        "not count: alone it is no authentication (A4).",
        Basis.DOCUMENTED,
        sources=("V2",),
        profiles=(_V2,),
        advice="Send the key in `Authorization: TD1 <key>`.",
    ),
    Rule(
        "A10",
        "An `Authorization` header of a scheme other than `TD1` still decides against an "
        "`X-TD-Write-Key` beside it, and is an unknown key. Alone it is no authentication (A4).",
        Basis.INFERRED,
        profiles=(_V2,),
        advice="Remove the `Authorization` header, or send `TD1 <key>` in it.",
    ),
]

_BODY = [
    Rule(
        "B1",
        "The body must be declared as `Content-Type: application/json`; parameters and a bare `;` "
        "after it are allowed. Any other type, or none, is refused with 400.",
        Basis.DOCUMENTED,
        "It is documented that the header is to be sent; the status is inferred.",
        sources=("S0", "S1"),
        status=400,
        advice="Send `Content-Type: application/json`.",
    ),
    Rule(
        "B2",
        "The body must be strict JSON in UTF-8, otherwise it is refused with 400. `NaN`, "
        "`Infinity`, the escape of a lone surrogate, a byte order mark, a trailing comma, invalid "
        "UTF-8, a number beyond the range of a double, and an integer of more than 4,300 digits "
        "are all refused.",
        Basis.DOCUMENTED,
        "It is documented that a bad request gets 400; what counts as bad is inferred.",
        sources=("S0", "S1"),
        status=400,
        advice="Write the body with a JSON library, in strict mode.",
    ),
    Rule(
        "B3",
        "The top level of the JSON must be an object; an array, `null`, a string, a number or a "
        "boolean is refused with 400.",
        Basis.DOCUMENTED,
        "Documented for `v2-2.0.0`, inferred for the other profiles.",
        sources=("V2",),
        status=400,
        advice="Send one object in each request.",
    ),
    Rule(
        "B4",
        "An empty body is refused with 400, unless the record is read from the URL (B9, P8).",
        Basis.INFERRED,
        status=400,
        advice="Send a JSON object, `{}` at least.",
    ),
    Rule(
        "B5",
        "If a name stands more than once in a JSON object, its last value counts, and the event "
        "carries a finding.",
        Basis.INFERRED,
        advice="Send each name once.",
    ),
    Rule(
        "B6",
        "A body above the limit is refused with 413: the limit is 1,048,064 bytes in `v2-2.0.0` "
        "(exactly that many are accepted) and `max_body` in every other profile, 64 MiB by "
        "default. If `Content-Length` shows it, the refusal comes before a `100 Continue`; "
        "otherwise the rest is read and thrown away, within bounds, so that the client can read "
        "the response.",
        Basis.DOCUMENTED,
        "Limit and status are documented for `v2-2.0.0`. No limit is documented for the other "
        "profiles, in which `max_body` only protects the fake server. How the client gets the "
        "response is inferred.",
        sources=("V2",),
        status=413,
        advice="Send smaller events.",
    ),
    Rule(
        "B7",
        "JSON with more than 512 levels of nesting is refused with 400, on every Python.",
        Basis.INFERRED,
        status=400,
        advice="Send fewer levels of nesting.",
    ),
    Rule(
        "B8",
        "A request with a `Content-Encoding` other than `identity` is refused with 400. "
        "`identity` says that there is none: it is accepted, and the event carries a finding.",
        Basis.INFERRED,
        "No document mentions compressed bodies.",
        status=400,
        advice="Send the body uncompressed and without `Content-Encoding`.",
    ),
    Rule(
        "B9",
        "An empty `POST` with no content type or with `text/plain` (parameters allowed) whose URL "
        "has data parameters becomes a record of strings, to which P2, P3 and P7 apply, and "
        "carries a finding. Without a data parameter it is an empty body (B4).",
        Basis.OBSERVED,
        "A widely shipped analytics integration sends its events like this.",
        profiles=_NOT_V2,
        advice="Send the data as a JSON body.",
    ),
    Rule(
        "B10",
        "URL parameters beside a JSON body, other than `td_write_key`, are not stored, and the "
        "event carries a finding.",
        Basis.CONFLICT,
        "The article mentions key/value parameters besides the key and does not say what happens "
        "to them. `url_parameters` is `ignore` by default, which means this rule. `store` stores "
        "them as strings; if both have a name, the body decides.",
        sources=("S0",),
        advice="Move the parameters into the body.",
    ),
    Rule(
        "B11",
        "Chunked bodies and `Expect: 100-continue` work as HTTP/1.1 defines them.",
        Basis.INFERRED,
        advice="Nothing: any HTTP/1.1 client does it right.",
    ),
]

_RECORD = [
    Rule(
        "V1",
        "The JSON object becomes exactly one record, even if it wraps a list of events.",
        Basis.DOCUMENTED,
        "One record for one object is documented; a list inside one record is observed.",
        sources=("S0", "REPORT"),
        advice="Send each event in a request of its own if each is to be a record.",
    ),
    Rule(
        "V2",
        "JSON values keep their types: the number `1234` is stored as a number.",
        Basis.CONFLICT,
        "This is the default of every profile, `value_types` being `json`. The article's worked "
        "example shows it, and the copy of 2021 mentions strings only to recommend JSON with "
        "types. V3 contradicts it and is selected by `string`.",
        sources=("S0", "A21"),
        advice="Run the tests with each of the two settings if a type matters.",
    ),
    Rule(
        "V3",
        "With `value_types` set to `string` every value is stored as a string: nested values as "
        "compact JSON text, booleans as `true` and `false`, while `null` stays null.",
        Basis.CONFLICT,
        "The OpenAPI description says that values are processed as strings. The spelling of "
        "nested values, booleans and null is inferred. V2 contradicts it and is the default, "
        "`json`.",
        sources=("S1",),
        advice="Run the tests with each of the two settings if a type matters.",
    ),
    Rule(
        "T1",
        "Without `td_record_time` the column `time` is the moment of receipt.",
        Basis.DOCUMENTED,
        sources=("S1",),
        advice="Send `td_record_time` if the time of the event itself matters.",
    ),
    Rule(
        "T2",
        "`td_record_time`, in UNIX seconds, sets the column `time` and is not stored itself.",
        Basis.DOCUMENTED,
        "It is documented that it sets the time; that a JSON body loses it is inferred.",
        sources=("S1",),
        advice="Send the time under another name as well if it must stay a column.",
    ),
    Rule(
        "T3",
        "A `td_record_time` more than 7 days before or more than 3 days after the receipt is "
        "ignored: `time` is the moment of receipt, and the event carries a finding.",
        Basis.CONFLICT,
        "The window is documented, but `ignored` may mean the value or the record. `stale_time` "
        "is `receipt` by default, which ignores the value; `drop` rejects the event.",
        sources=("S1",),
        advice="Send events within 7 days, and check the clock of the sender.",
    ),
    Rule(
        "T4",
        "Both ends of that window belong to it: exactly 7 days old and exactly 3 days ahead are "
        "accepted.",
        Basis.INFERRED,
        advice="Keep away from the ends of the window.",
    ),
    Rule(
        "T5",
        "A `td_record_time` that is neither an integer nor a string of digits is ignored, and the "
        "event carries a finding. The finding says so if a value looks like milliseconds.",
        Basis.INFERRED,
        advice="Send whole UNIX seconds.",
    ),
    Rule(
        "T6",
        "The column `time` replaces a member `time` of the body, and the event carries a finding.",
        Basis.INFERRED,
        advice="Send the value under another name, or as `td_record_time`.",
    ),
    Rule(
        "T7",
        "The column `time` is shown as a string of whole UNIX seconds.",
        Basis.DOCUMENTED,
        "The article's example shows it.",
        sources=("S0",),
        advice='Compare with a string: `record["time"] == "1440426473"`.',
    ),
    Rule(
        "C1",
        "A column name that has anything but lower-case letters, digits and `_`, or starts with a "
        "digit, gets an alias from the platform. The event carries a finding.",
        Basis.DOCUMENTED,
        sources=("NM",),
        advice="Name columns in lower case, such as `user_id`.",
    ),
    Rule(
        "C2",
        "A table has at most 512 columns; the event that brings it above that number carries a "
        "finding.",
        Basis.DOCUMENTED,
        sources=("LM",),
        advice="Do not make column names from data; store such data as one nested value.",
    ),
    Rule(
        "C3",
        "In a JSON body `td_ip`, `td_ua` and `td_global_id` are stored as they were sent.",
        Basis.INFERRED,
        "Their substitution (P3) is documented for URL parameters only.",
        advice="Send the real values.",
    ),
]

_RESPONSE = [
    Rule(
        "W1",
        "Success is 200 with the body `{}` and the headers `Content-Type: application/json`, "
        "`Date`, `Strict-Transport-Security: max-age=31536000` (not in `article-2015`), "
        "`Content-Length: 2` and `Connection: keep-alive`, in the order of the profile's own "
        "example.",
        Basis.DOCUMENTED,
        "The quickstart prints the body. The example body of S1 repeats the headers, which comes "
        "from the way that page was made.",
        sources=("S0", "S1", "QS"),
        status=200,
        advice="Do not read more out of the body than that it is empty.",
    ),
    Rule(
        "W2",
        "The responses 400, 403 and 413 have the same headers as a success, and the body `{}`.",
        Basis.DOCUMENTED,
        "Weakly: the documented responses share one schema, with a length of 2.",
        sources=("S1",),
        advice="Look at the status, not at the body.",
    ),
    Rule(
        "W3",
        "The connection stays open and serves the next request. A client that asks for `close`, or "
        "speaks HTTP/1.0, gets `Connection: close`.",
        Basis.DOCUMENTED,
        "`keep-alive` is documented; `close` is inferred.",
        sources=("S0", "S1"),
        advice="Reuse connections.",
    ),
    Rule(
        "W4",
        "The reason for a refusal is not part of the response; it is on the event, in the report "
        "and in the log.",
        Basis.INFERRED,
        "`explain` is false by default; true puts the reason into the response as well.",
        advice="Set `explain` while debugging.",
    ),
]

_AFTER_THE_RESPONSE = [
    Rule(
        "Y1",
        "The response is written first, and the event is validated after it.",
        Basis.DOCUMENTED,
        sources=("S1",),
        advice="Do not take a 200 for a stored event.",
    ),
    Rule(
        "Y2",
        "Until it is validated an accepted event is pending, and no record exists.",
        Basis.INFERRED,
        advice="Wait with `tdpostback.settle()` or an assertion.",
    ),
    Rule(
        "Y3",
        "An invalid key ends in an authentication failure that the sender never sees.",
        Basis.DOCUMENTED,
        "`on_auth_failure` is `fail` by default, which fails the test that sent the event; "
        "`ignore` only records it. In `article-2015` such a key is refused at once (A6).",
        sources=("S1",),
        profiles=_NOT_ARTICLE,
        advice="If a test expects the failure, wrap it in `tdpostback.expect_auth_failure()`.",
    ),
    Rule(
        "Y4",
        "A key may be limited to databases or to tables, or be revoked; outside its scope it is an "
        "invalid key (Y3, in `article-2015` A6).",
        Basis.INFERRED,
        advice="Send the key that belongs to the database and table.",
    ),
    Rule(
        "Y5",
        "How long validation takes is not specified; minutes have been reported.",
        Basis.OBSERVED,
        "`validation_delay` sets it, 0 seconds by default, and a test can hold and release it.",
        sources=("REPORT",),
        advice="Do not expect a record soon after the response.",
    ),
]

_TRACKING_PIXEL = [
    Rule(
        "P1",
        "`GET` with `td_format=pixel` and `td_write_key` ingests one record, in which every other "
        "URL parameter is a column that holds a string.",
        Basis.DOCUMENTED,
        sources=("PX",),
        profiles=_NOT_V2,
        advice="Send a `POST` with JSON if types matter.",
    ),
    Rule(
        "P2",
        "`td_format`, `td_write_key`, `td_record_time` and `td_redirect` do not become columns; "
        "`td_record_time` works as in a body (T2).",
        Basis.DOCUMENTED,
        sources=("PX",),
        profiles=_NOT_V2,
        advice="Do not name data like these parameters.",
    ),
    Rule(
        "P3",
        "`td_global_id=td_global_id`, `td_ip=td_ip` and `td_ua=td_ua` store the real global id, "
        "the source address and the user agent. With any other value the parameter is stored as "
        "it was sent.",
        Basis.DOCUMENTED,
        "The substitution is documented; what happens to other values is inferred.",
        sources=("PX",),
        profiles=_NOT_V2,
        advice="Send the parameter's own name as its value.",
    ),
    Rule(
        "P4",
        "The response to a pixel is 200 with a GIF of 1x1 pixels.",
        Basis.INFERRED,
        "The documents do not give the bytes.",
        profiles=_NOT_V2,
        status=200,
        advice="Use the URL as the source of an image.",
    ),
    Rule(
        "P5",
        "The response to `td_redirect=<encoded URL>` is 302 to that URL, in which the real global "
        "id replaces the value of a `td_global_id` parameter.",
        Basis.DOCUMENTED,
        "Redirect and replacement are documented; the status is inferred.",
        sources=("PX",),
        profiles=_NOT_V2,
        status=302,
        advice="Percent-encode the whole URL.",
    ),
    Rule(
        "P6",
        "`GET` without `td_format` still ingests a record, to which P1, P2, P3 and P7 apply, and "
        "has the response of a `POST` (W1). The event carries a finding, because this form is "
        "deprecated and may lose data.",
        Basis.DOCUMENTED,
        "An older edition of the article documents it as deprecated; the current text no longer "
        "mentions it. Senders that still use it have been observed.",
        sources=("S0",),
        profiles=_NOT_V2,
        status=200,
        advice="Add `td_format=pixel`.",
    ),
    Rule(
        "P7",
        "A cookie carries the global id; if there is none, the response sets a new one.",
        Basis.DOCUMENTED,
        "Documented in general terms; the name of the cookie is inferred.",
        sources=("PX",),
        profiles=_NOT_V2,
        advice="Keep cookies if the id is to stay the same.",
    ),
    Rule(
        "P8",
        "`POST` with `td_format=pixel`, as the ping of a link sends it, is a pixel: its body is "
        "not read as a record.",
        Basis.OBSERVED,
        "Seen in pages that ping this way; no document describes it.",
        profiles=_NOT_V2,
        advice="Put the data into the URL, or leave `td_format` out.",
    ),
    Rule(
        "P9",
        "The last one of a repeated URL parameter counts, and the event carries a finding.",
        Basis.INFERRED,
        "In `v2-2.0.0` no parameter counts unless `url_parameters` is `store` (B10).",
        advice="Send each parameter once.",
    ),
    Rule(
        "P10",
        "Bytes above 0x7F in a query are read as UTF-8; if they are not UTF-8, raw or as `%FF`, "
        "U+FFFD replaces them, and a `%` without two hexadecimal digits stays as it is. In each "
        "case the event carries a finding.",
        Basis.OBSERVED,
        "Raw bytes come from curl, PHP and Java; the reading of invalid bytes is inferred. In "
        "`v2-2.0.0` no parameter counts unless `url_parameters` is `store` (B10).",
        advice="Percent-encode parameters as UTF-8.",
    ),
]

_DATA_INGESTION = [
    Rule(
        "I1",
        "`POST /{database}/{table}` takes a batch of records, or one record. Database and table "
        "come from the path alone.",
        Basis.OBSERVED,
        "All SDKs of the service's owner send it. `/postback/v3/event/{database}/{table}` on the "
        "same hosts is the Postback API v2.",
        sources=("DI", "JS", "AND", "IOS"),
        profiles=_INGESTION,
        advice="Send to `/{database}/{table}` of a records host.",
    ),
    Rule(
        "I2",
        "A database or table name outside `[0-9a-z_]{3,128}` is refused with 400. Any other "
        "method is refused with 405 and an `Allow` header, any other path with 404 (R6).",
        Basis.DOCUMENTED,
        "The names are documented; the statuses are inferred.",
        sources=("NM",),
        profiles=_INGESTION,
        advice="Check the method, and the names in the path.",
    ),
    Rule(
        "I3",
        "The query is ignored. `modified` and `time`, which the browser SDK sends, pass "
        "without a word; any other parameter brings a finding.",
        Basis.OBSERVED,
        "That unknown parameters are ignored is inferred.",
        sources=("JS",),
        profiles=_INGESTION,
        advice="Put data into the record, not into the URL.",
    ),
    Rule(
        "I4",
        "`Authorization: TD1 <key>` authenticates, and nothing else does. Before the body is "
        "judged, a missing, unknown or revoked key and another scheme are refused with 401, and a "
        "key outside its scope with 403.",
        Basis.OBSERVED,
        "All clients send the header; which status means what is inferred.",
        sources=("JS", "AND", "IOS"),
        profiles=_INGESTION,
        advice="Send a valid write key as `Authorization: TD1 <key>`.",
    ),
    Rule(
        "I5",
        "`Content-Type` is `application/vnd.treasuredata.v1+json` (a batch), "
        "`application/vnd.treasuredata.v1.js+json` (a batch from a browser), "
        "`application/vnd.treasuredata.v1.mobile+json` (a batch from a phone) or "
        "`application/vnd.treasuredata.v1.single+json` (one record), in any letter case and with "
        "any parameters. Any other type is refused with 400.",
        Basis.OBSERVED,
        "The types are those of shipped clients; the 400 is inferred.",
        sources=("JS", "AND", "IOS"),
        profiles=_INGESTION,
        status=400,
        advice="Send one of these types, not `application/json`.",
    ),
    Rule(
        "I6",
        "`Accept` never refuses a request. The response to accepted records has the content "
        "type of the request.",
        Basis.OBSERVED,
        "That no value of `Accept` refuses is inferred.",
        sources=("JS",),
        profiles=_INGESTION,
        advice="Any `Accept` works.",
    ),
    Rule(
        "I7",
        "A batch is a JSON object with a list `events`. Without it the request is refused with "
        "422; a list `records` is not read.",
        Basis.OBSERVED,
        "The 422 is inferred.",
        sources=(
            "JS",
            "AND",
            "IOS",
        ),
        profiles=_INGESTION,
        status=422,
        advice='Send `{"events": [...]}`.',
    ),
    Rule(
        "I8",
        "A batch has 1 to 500 records. Otherwise it is refused with 422, and nothing is stored.",
        Basis.DOCUMENTED,
        "The number is documented, the status inferred.",
        sources=("DI",),
        profiles=_INGESTION,
        status=422,
        advice="Split the records into batches of at most 500.",
    ),
    Rule(
        "I9",
        "A batch of more than 5 mebibytes (5,242,880 bytes), before or after decoding, is refused "
        "with 413. A record of more than 1 mebibyte (1,048,576 bytes) fails alone (I13).",
        Basis.DOCUMENTED,
        "The sizes are documented; the 413 and how a large record fails are inferred.",
        sources=("DI",),
        profiles=_INGESTION,
        status=413,
        advice="Split large batches, and shorten large records.",
    ),
    Rule(
        "I10",
        "`Content-Encoding: gzip` and `deflate` are decoded, and `identity` is accepted with a "
        "finding. Another coding, or bytes that do not decode, are refused with 400.",
        Basis.OBSERVED,
        "The mobile SDKs send gzip; the rest is inferred.",
        sources=(
            "AND",
            "IOS",
        ),
        profiles=_INGESTION,
        advice="Compress with gzip, or not at all.",
    ),
    Rule(
        "I11",
        "A body that is not strict JSON, as in B2 and B7, is refused with 400; the last of equal "
        "names in an object counts, with a finding. With `application/vnd.treasuredata.v1.single"
        "+json` the whole body is the record, even if it has a list `events`.",
        Basis.INFERRED,
        profiles=_INGESTION,
        status=400,
        advice="Send strict JSON in UTF-8, and each name once.",
    ),
    Rule(
        "I12",
        "Every record has an outcome of its own and, in the order of the records, a receipt: "
        '`{"receipts": [{"success": true, "uuid": "..."}]}`. The status is 200 if all succeed.',
        Basis.OBSERVED,
        "It is documented that the response has a UUID; its place is inferred.",
        sources=("DI", "AND", "IOS"),
        profiles=_INGESTION,
        status=200,
        advice="Read the receipts: a 2xx does not mean that every record was accepted.",
    ),
    Rule(
        "I13",
        "If at least one record fails, the status is 206, also if all of them fail. The receipt of "
        'a failed record is `{"success": false, "error": {"name": "...", "description": "..."}}`, '
        "and its event is refused.",
        Basis.OBSERVED,
        "The 206 is in a sample of the service's owner, and the names of errors are in its HTTP "
        "client. Inferred: `InvalidPropertyValueError` stands for a record that is not an object "
        "or is too large and for a bad `uuid`, `InvalidPropertyNameError` for an empty column "
        "name.",
        sources=("AND",),
        profiles=_INGESTION,
        status=206,
        advice="Send the failed records again after you correct them. A client that takes 206 for "
        "success loses them.",
    ),
    Rule(
        "I14",
        "Accepted records are validated after the response (Y1, Y2, Y5). A record whose key "
        "was revoked in the meantime is rejected.",
        Basis.INFERRED,
        profiles=_INGESTION,
        advice="Send with a key that stays valid.",
    ),
    Rule(
        "I15",
        "`time` in a record sets the time of the record if it is UNIX seconds, as an integer or a "
        "string of digits. Anything else, and what looks like milliseconds, is ignored with a "
        "finding.",
        Basis.DOCUMENTED,
        "Seconds are documented; the rest is inferred. There is no window as in T3, and "
        "`td_record_time` is a column like any other.",
        sources=("DI",),
        profiles=_INGESTION,
        advice="Send `time` in whole seconds.",
    ),
    Rule(
        "I16",
        "`uuid` in a record is a UUID, comes back in the receipt and is not stored. A record "
        "without one gets a UUID that is made up.",
        Basis.DOCUMENTED,
        sources=("DI",),
        profiles=_INGESTION,
        advice="Give each record a UUID of its own, and keep it if you send the record again.",
    ),
    Rule(
        "I17",
        "A record whose `uuid` was stored in the same table within the last hour and the last "
        "4,096 records is accepted and not stored again: it is deduplicated.",
        Basis.DOCUMENTED,
        "Deduplication is documented as best effort. The clock is that of the fake server; "
        "`deduplicate` set to `false` turns deduplication off.",
        sources=("DI",),
        profiles=_INGESTION,
        advice="Use a new `uuid` for each new record.",
    ),
    Rule(
        "I18",
        "JSON types are kept, those of nested values too, as in V2.",
        Basis.OBSERVED,
        "`value_types` selects strings, as in V3.",
        sources=("JS",),
        profiles=_INGESTION,
        advice="Set `value_types` to the reading that you trust.",
    ),
    Rule(
        "I19",
        "A record from a browser or a phone (I5) gets the column `td_ip`, the address of the "
        "sender, unless it has one. In a record from a browser, a `td_global_id` equal to its own "
        "name becomes the global id of the browser.",
        Basis.DOCUMENTED,
        sources=("JS", "AND", "IOS"),
        profiles=_INGESTION,
        advice="Do not send these columns, unless you mean your own values.",
    ),
    Rule(
        "I20",
        '`GET /` with a valid key gets `{"global_id": "..."}`, the same for one browser by a '
        "cookie (`SameSite=None; Secure; HttpOnly`). It is no event.",
        Basis.OBSERVED,
        "The cookie is inferred.",
        sources=("JS",),
        profiles=_INGESTION,
        status=200,
        advice="Enable the global id only in signed mode.",
    ),
    Rule(
        "I21",
        "The response to a CORS preflight is 204 with the origin, the credentials and the "
        "headers asked for by name. Every other response, also a refusal, allows origin and "
        "credentials.",
        Basis.OBSERVED,
        "Without any of this a browser sends nothing.",
        sources=("JS",),
        profiles=_INGESTION,
        status=204,
        advice="A page can send records without further settings.",
    ),
    Rule(
        "I22",
        "The body of a refusal is a JSON object with `error` and `message`.",
        Basis.INFERRED,
        "With `explain` the message is the reason.",
        profiles=_INGESTION,
        advice="Read the status; the reason is on the event.",
    ),
    Rule(
        "I23",
        "A preflight to a path that is not served is a refused event (R6).",
        Basis.INFERRED,
        "A page that loses everything at its preflight must not look as if it had sent nothing.",
        profiles=_INGESTION,
        status=404,
        advice="Check the path that the page sends to.",
    ),
]

rules: Catalogue[Rule] = Catalogue(
    [
        *_ROUTE,
        *_AUTHENTICATION,
        *_BODY,
        *_RECORD,
        *_RESPONSE,
        *_AFTER_THE_RESPONSE,
        *_TRACKING_PIXEL,
        *_DATA_INGESTION,
    ],
    key=lambda rule: rule.id,
)
"""Every rule, in the order of the fidelity page, by id."""
