"""The rules: one typed row for each behaviour of the Postback API that this project imitates.

A behaviour is written here and nowhere else. Judging, the schemas, the OpenAPI documents, the
conformance suite, the fidelity page and the command line all read these rows; code elsewhere names
a behaviour by its id, as in ``rules["A5"]``.

Two principles decide what no document says. Precaution: take the reading under which a careless
client loses data, because a double that is kinder than production hides bugs. Evidence beats
precaution: where a shipped sender depends on a behaviour, accept it and attach a finding.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Generic, SupportsIndex, TypeVar, overload

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

_Row = TypeVar("_Row")

_OPENAPI, _ARTICLE, _V2 = "openapi-1.0.0", "article-2015", "v2-2.0.0"
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
    "W": "Answer",
    "Y": "After the answer",
    "P": "Tracking pixel",
}


class Basis(str, Enum):
    """How well a rule is founded; where a row mixes grades, its note says which part has which."""

    DOCUMENTED = "documented"
    """A document of the service says so."""
    CONFLICT = "conflict"
    """The documents disagree or are ambiguous; a setting selects the reading."""
    OBSERVED = "observed"
    """No document says so; somebody who used the real service depends on it or reports it."""
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
    """Ids of `sources`; empty where no public page backs the rule."""
    profiles: tuple[str, ...] = _ALL
    """Names of the profiles in which the rule holds."""
    status: int | None = None
    """The HTTP status, where the rule is about an answer that has exactly one."""

    @property
    def section(self) -> str:
        """The heading under which the rule is shown, such as ``"Route"``."""
        return _SECTIONS[self.id[0]]


# Behaves as a `Sequence` but does not derive from it: mypy, in strict mode, would then take
# `"A5" in rules` for a comparison that cannot be true.
class Catalogue(Generic[_Row]):
    """A read-only sequence of rows that also finds a row by its key.

    Args:
        rows: The rows, in the order in which they are shown.
        key: Gives the text by which a row is looked up, such as its id.

    Raises:
        ValueError: Two rows have the same key.
    """

    __slots__ = ("_by_key", "_rows")

    def __init__(self, rows: Iterable[_Row], *, key: Callable[[_Row], str]) -> None:
        self._rows = tuple(rows)
        self._by_key: dict[str, _Row] = {}
        for row in self._rows:
            if key(row) in self._by_key:
                raise ValueError(f"two rows have the key {key(row)!r}")
            self._by_key[key(row)] = row

    @overload
    def __getitem__(self, index: str | SupportsIndex) -> _Row: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[_Row]: ...
    def __getitem__(self, index: str | SupportsIndex | slice) -> _Row | Sequence[_Row]:
        """Return the row with a key or at a position, or the rows of a slice.

        Raises:
            KeyError: No row has this key; the text lists the keys there are, nearest first.
            IndexError: There is no such position.
        """
        if not isinstance(index, str):
            return self._rows[index]
        try:
            return self._by_key[index]
        except KeyError:
            raise KeyError(self._unknown(index)) from None

    def __contains__(self, value: object) -> bool:
        """Tell whether ``value`` is the key of a row, or a row."""
        return value in self._by_key if isinstance(value, str) else value in self._rows

    def __iter__(self) -> Iterator[_Row]:
        """Iterate over the rows in the order in which they are shown."""
        return iter(self._rows)

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self._rows)

    def __repr__(self) -> str:
        """Name the keys, which is what a reader of a failure needs."""
        return f"<Catalogue: {', '.join(self._by_key)}>"

    def _unknown(self, key: str) -> str:
        from difflib import SequenceMatcher  # only a mistake needs it

        matcher = SequenceMatcher(b=key.casefold())

        def likeness(known: str) -> float:
            matcher.set_seq1(known.casefold())
            return matcher.ratio()

        nearest_first = sorted(self._by_key, key=likeness, reverse=True)
        return f"{key!r} is unknown; known, nearest first: {', '.join(nearest_first)}"


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
    ),
    Rule(
        "R2",
        "Database and table names consist of ASCII letters, digits and `_`. Any other character, "
        "an empty name, or a missing or extra segment under `/postback/v3/event` (the bare prefix "
        "included) is answered with 400.",
        Basis.DOCUMENTED,
        "The characters are documented; the status is inferred.",
        sources=("S0", "S1"),
        status=400,
    ),
    Rule(
        "R3",
        "A single slash after the table name is accepted, and the event carries a finding.",
        Basis.OBSERVED,
        "Three senders, independent of each other, put it there; that more than one slash is "
        "refused (R2) is inferred.",
    ),
    Rule(
        "R4",
        "On the event route `GET` is the tracking pixel (P1, P6), except in `v2-2.0.0`, which has "
        "none. Every method that is not served, which leaves `POST` and `OPTIONS` and where "
        "there is a pixel `GET`, is answered with 405 and an `Allow` header.",
        Basis.DOCUMENTED,
        "`GET` with `td_format` is documented; the 405 is inferred.",
        sources=("PX",),
        status=405,
    ),
    Rule(
        "R5",
        "`OPTIONS` on the event route answers a CORS preflight with 204, allowing the origin, "
        "credentials, the methods and the headers asked for, and is not an event. The answer to "
        "any other request that has an `Origin` header carries `Access-Control-Allow-Origin` and "
        "`Access-Control-Allow-Credentials`.",
        Basis.INFERRED,
        "Browsers cannot send an event with a header of its own unless both are there, and no "
        "beacon of `application/json` without leave for credentials, which beacons always send.",
        status=204,
    ),
    Rule(
        "R6",
        "Any path outside the event route is answered with 404. That includes "
        "`/js/v3/event` and `/{database}/{table}`, which other products serve on the same hosts.",
        Basis.INFERRED,
        status=404,
    ),
    Rule(
        "R7",
        "Percent-encoding in the path is decoded before the names are judged.",
        Basis.INFERRED,
    ),
    Rule(
        "R8",
        "The platform wants database and table names in lower case and 3 to 128 characters long. "
        "A name that breaks this is not refused; the event carries a finding.",
        Basis.DOCUMENTED,
        "The naming is documented for the platform, not for this route; that it refuses nothing "
        "is inferred.",
        sources=("NM",),
    ),
]

_AUTHENTICATION = [
    Rule(
        "A1",
        "The write key travels in the header `X-TD-Write-Key`, whose name may be in any letter "
        "case.",
        Basis.DOCUMENTED,
        sources=("S0", "S1"),
    ),
    Rule(
        "A2",
        "The write key may travel in the URL parameter `td_write_key` instead, decoded as a form "
        "value (`+` is a space). An unencoded `/` in it is accepted, and of several the last "
        "counts.",
        Basis.DOCUMENTED,
        "The parameter is documented, although S1 also marks the header as required; the "
        "unencoded `/` is observed; the decoding and that the last one counts are inferred.",
        sources=("S0", "S1"),
        profiles=_NOT_V2,
    ),
    Rule(
        "A3",
        "Where header and URL parameter are both present the header decides, even if its key is "
        "wrong and the other one right.",
        Basis.DOCUMENTED,
        sources=("S0", "S1"),
        profiles=_NOT_V2,
    ),
    Rule(
        "A4",
        "A request without a write key, or with an empty header (whatever the URL parameter "
        "holds), is answered with 403. Of several key headers only the first counts, and the event "
        "carries a finding.",
        Basis.DOCUMENTED,
        "That each request must authenticate and that 403 exists is documented; that the one "
        "leads to the other, and the reading of empty and repeated headers, is inferred.",
        sources=("S0", "S1"),
        status=403,
    ),
    Rule(
        "A5",
        "A key that is unknown, revoked or used outside its scope is answered with 200, and the "
        "event fails the validation that follows (Y3).",
        Basis.DOCUMENTED,
        sources=("S1", "V2"),
        profiles=_NOT_ARTICLE,
        status=200,
    ),
    Rule(
        "A6",
        "A key that is unknown, revoked or used outside its scope is answered with 403, and "
        "nothing is stored.",
        Basis.DOCUMENTED,
        "The article lists the status 403, and neither it nor the copy of 2021 knows the note on "
        "asynchronous validation; that a wrong key is what 403 is for is concluded from that.",
        sources=("S0", "A21"),
        profiles=(_ARTICLE,),
        status=403,
    ),
    Rule(
        "A7",
        "A key that does not have the form `account/secret` is treated like an unknown key.",
        Basis.INFERRED,
        "`malformed_key` is `async` by default, which means this rule; `refuse` answers 403 at "
        "once, because one test suite written against the service expects an error.",
    ),
    Rule(
        "A8",
        "An `Authorization` header is ignored.",
        Basis.INFERRED,
        profiles=_NOT_V2,
    ),
    Rule(
        "A9",
        "The write key travels in `Authorization: TD1 <key>` or in `X-TD-Write-Key`, and "
        "`Authorization` decides where both are present. The URL parameter `td_write_key` does "
        "not count: alone it is no authentication (A4).",
        Basis.DOCUMENTED,
        sources=("V2",),
        profiles=(_V2,),
    ),
    Rule(
        "A10",
        "An `Authorization` header of another scheme than `TD1` still decides against an "
        "`X-TD-Write-Key` beside it, and is an unknown key. Alone it is no authentication (A4).",
        Basis.INFERRED,
        profiles=(_V2,),
    ),
]

_BODY = [
    Rule(
        "B1",
        "The body must be declared as `Content-Type: application/json`; parameters and a bare `;` "
        "behind it are allowed. Any other type, or none, is answered with 400.",
        Basis.DOCUMENTED,
        "That the header is to be sent is documented; the status is inferred.",
        sources=("S0", "S1"),
        status=400,
    ),
    Rule(
        "B2",
        "The body must be strict JSON in UTF-8, otherwise the answer is 400. `NaN`, `Infinity`, "
        "the escape of a lone surrogate, a byte order mark, a trailing comma, invalid UTF-8, a "
        "number beyond the range of a double, and an integer of more than 4,300 digits are all "
        "refused.",
        Basis.DOCUMENTED,
        "That a bad request is answered with 400 is documented; what counts as bad is inferred.",
        sources=("S0", "S1"),
        status=400,
    ),
    Rule(
        "B3",
        "The top level of the JSON must be an object; an array, `null`, a string, a number or a "
        "boolean is answered with 400.",
        Basis.DOCUMENTED,
        "Documented for `v2-2.0.0`, inferred for the other profiles.",
        sources=("V2",),
        status=400,
    ),
    Rule(
        "B4",
        "An empty body is answered with 400, unless the request is read from its URL (B9, P8).",
        Basis.INFERRED,
        status=400,
    ),
    Rule(
        "B5",
        "Of members with the same name in one JSON object the last one counts, and the event "
        "carries a finding.",
        Basis.INFERRED,
    ),
    Rule(
        "B6",
        "A body above the limit is answered with 413: 1,048,064 bytes in `v2-2.0.0` (exactly that "
        "many are accepted), in every other profile `max_body`, 64 MiB by default. "
        "`Content-Length` decides before a `100 Continue` is sent; where it does not, the rest is "
        "read and thrown away, within bounds, so that the client gets to read the answer.",
        Basis.DOCUMENTED,
        "Limit and status are documented for `v2-2.0.0`; no limit is documented for the other "
        "profiles, where `max_body` only protects the fake. How the answer is reached is inferred.",
        sources=("V2",),
        status=413,
    ),
    Rule(
        "B7",
        "JSON nested more than 512 levels deep is answered with 400, on every Python alike.",
        Basis.INFERRED,
        status=400,
    ),
    Rule(
        "B8",
        "A request with a `Content-Encoding` is answered with 400.",
        Basis.INFERRED,
        "No document mentions compressed bodies.",
        status=400,
    ),
    Rule(
        "B9",
        "An empty `POST` with no content type or with `text/plain` (parameters allowed) whose URL "
        "has data parameters becomes a record of strings, to which P2, P3 and P7 apply, and "
        "carries a finding. Without a data parameter it is an empty body (B4).",
        Basis.OBSERVED,
        "A widely shipped analytics integration sends its events like this.",
        profiles=_NOT_V2,
    ),
    Rule(
        "B10",
        "URL parameters beside a JSON body, other than `td_write_key`, are not stored, and the "
        "event carries a finding.",
        Basis.CONFLICT,
        "The article mentions key/value parameters besides the key without saying what becomes "
        "of them. `url_parameters` is `ignore` by default, which means this rule; `store` stores "
        "them as strings, and the body wins where both have a name.",
        sources=("S0",),
    ),
    Rule(
        "B11",
        "Chunked bodies and `Expect: 100-continue` work as HTTP/1.1 defines them.",
        Basis.INFERRED,
    ),
]

_RECORD = [
    Rule(
        "V1",
        "The JSON object becomes exactly one row, even if it is a wrapper around a list of events.",
        Basis.DOCUMENTED,
        "One row for one object is documented; the list inside one row is observed.",
        sources=("S0", "REPORT"),
    ),
    Rule(
        "V2",
        "JSON values keep their types, so that the number `1234` is stored as a number.",
        Basis.CONFLICT,
        "The default of every profile, `value_types` being `json`: the article's worked example "
        "shows it, and the copy of 2021 speaks of strings only to recommend JSON with types. "
        "Against it stands V3, selected by `string`.",
        sources=("S0", "A21"),
    ),
    Rule(
        "V3",
        "With `value_types` set to `string` every value is stored as a string: nested values as "
        "compact JSON text, booleans as `true` and `false`, while `null` stays null.",
        Basis.CONFLICT,
        "The OpenAPI description says that values are processed as strings; the spelling of "
        "nested values, booleans and null is inferred. Against it stands V2, the default, `json`.",
        sources=("S1",),
    ),
    Rule(
        "T1",
        "Without `td_record_time` the column `time` is the moment of receipt.",
        Basis.DOCUMENTED,
        sources=("S1",),
    ),
    Rule(
        "T2",
        "`td_record_time`, in UNIX seconds, sets the column `time` and is not stored itself.",
        Basis.DOCUMENTED,
        "That it sets the time is documented; that it is consumed is inferred for JSON bodies.",
        sources=("S1",),
    ),
    Rule(
        "T3",
        "A `td_record_time` more than 7 days before or more than 3 days after the receipt is "
        "ignored: `time` is the moment of receipt, and the event carries a finding.",
        Basis.CONFLICT,
        "The window is documented, but `ignored` may mean the value or the record. `stale_time` "
        "is `receipt` by default, which ignores the value; `drop` rejects the event.",
        sources=("S1",),
    ),
    Rule(
        "T4",
        "Both ends of that window are inside it: exactly 7 days old and exactly 3 days ahead are "
        "accepted.",
        Basis.INFERRED,
    ),
    Rule(
        "T5",
        "A `td_record_time` that is neither an integer nor a string of digits is ignored, and the "
        "event carries a finding. A value that looks like milliseconds is named as such.",
        Basis.INFERRED,
    ),
    Rule(
        "T6",
        "A `time` member in the body is replaced by the column `time`, and the event carries a "
        "finding.",
        Basis.INFERRED,
    ),
    Rule(
        "T7",
        "The column `time` is shown as a string of whole UNIX seconds.",
        Basis.DOCUMENTED,
        "Shown by the article's example.",
        sources=("S0",),
    ),
    Rule(
        "C1",
        "A column name that has anything but lower-case letters, digits and `_`, or starts with a "
        "digit, gets an alias from the platform. The event carries a finding.",
        Basis.DOCUMENTED,
        sources=("NM",),
    ),
    Rule(
        "C2",
        "A table has at most 512 columns; the event with which a table crosses that number carries "
        "a finding.",
        Basis.DOCUMENTED,
        sources=("LM",),
    ),
    Rule(
        "C3",
        "In a JSON body `td_ip`, `td_ua` and `td_global_id` are stored as they were sent.",
        Basis.INFERRED,
        "Their substitution (P3) is documented for URL parameters only.",
    ),
]

_ANSWER = [
    Rule(
        "W1",
        "Success is 200 with the body `{}` and the headers `Content-Type: application/json`, "
        "`Date`, `Strict-Transport-Security: max-age=31536000` (not in `article-2015`), "
        "`Content-Length: 2` and `Connection: keep-alive`, in the order of the profile's own "
        "example.",
        Basis.DOCUMENTED,
        "The quickstart prints the body; the example body of S1 repeats the headers, which is an "
        "artefact of how that page was made.",
        sources=("S0", "S1", "QS"),
        status=200,
    ),
    Rule(
        "W2",
        "The refusals 400, 403 and 413 carry the same headers as a success, and the body `{}`.",
        Basis.DOCUMENTED,
        "Weakly: one schema, with a length of 2, is shared by the documented answers.",
        sources=("S1",),
    ),
    Rule(
        "W3",
        "The connection stays open and serves the next request. A client that asks for `close`, or "
        "speaks HTTP/1.0, is answered with `Connection: close`.",
        Basis.DOCUMENTED,
        "`keep-alive` is documented; `close` is inferred.",
        sources=("S0", "S1"),
    ),
    Rule(
        "W4",
        "The reason for a refusal is not part of the answer; it is on the event, in the report and "
        "in the log.",
        Basis.INFERRED,
        "`explain` is false by default; true puts the reason into the answer as well.",
    ),
]

_AFTER_THE_ANSWER = [
    Rule(
        "Y1",
        "The answer is written first, and the event is validated after it.",
        Basis.DOCUMENTED,
        sources=("S1",),
    ),
    Rule(
        "Y2",
        "Until it has been validated an accepted event is pending, and no record exists.",
        Basis.INFERRED,
    ),
    Rule(
        "Y3",
        "An invalid key ends in an authentication failure that the sender never gets to see.",
        Basis.DOCUMENTED,
        "`on_auth_failure` is `fail` by default, which fails the test that sent the event; "
        "`ignore` only records it. In `article-2015` such a key is refused at once (A6).",
        sources=("S1",),
        profiles=_NOT_ARTICLE,
    ),
    Rule(
        "Y4",
        "A key may be limited to databases or to tables, or be revoked; outside its scope it is an "
        "invalid key (Y3, in `article-2015` A6).",
        Basis.INFERRED,
    ),
    Rule(
        "Y5",
        "How long validation takes is not specified; minutes have been reported.",
        Basis.OBSERVED,
        "`validation_delay` sets it, 0 seconds by default, and a test can hold and release it.",
        sources=("REPORT",),
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
    ),
    Rule(
        "P2",
        "`td_format`, `td_write_key`, `td_record_time` and `td_redirect` are consumed and do not "
        "become columns; `td_record_time` works as in a body (T2).",
        Basis.DOCUMENTED,
        sources=("PX",),
        profiles=_NOT_V2,
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
    ),
    Rule(
        "P4",
        "A pixel is answered with 200 and a GIF of 1x1 pixels.",
        Basis.INFERRED,
        "The documents do not give the bytes.",
        profiles=_NOT_V2,
        status=200,
    ),
    Rule(
        "P5",
        "`td_redirect=<encoded URL>` is answered with 302 to that URL, in which the value of a "
        "`td_global_id` parameter is replaced by the real global id.",
        Basis.DOCUMENTED,
        "Redirect and replacement are documented; the status is inferred.",
        sources=("PX",),
        profiles=_NOT_V2,
        status=302,
    ),
    Rule(
        "P6",
        "`GET` without `td_format` still ingests a record, to which P1, P2, P3 and P7 apply, and "
        "is answered like a `POST` (W1). The event carries a finding, because this form is "
        "deprecated and may lose data.",
        Basis.DOCUMENTED,
        "An older edition of the article documents it as deprecated; the current text no longer "
        "mentions it. Senders that still use it have been observed.",
        sources=("S0",),
        profiles=_NOT_V2,
        status=200,
    ),
    Rule(
        "P7",
        "The global id arrives in a cookie; where there is none, one is made up and set by the "
        "answer.",
        Basis.DOCUMENTED,
        "Documented in general terms; the name of the cookie is inferred.",
        sources=("PX",),
        profiles=_NOT_V2,
    ),
    Rule(
        "P8",
        "`POST` with `td_format=pixel`, as the ping of a link sends it, is a pixel: its body is "
        "not read as a record.",
        Basis.OBSERVED,
        "Seen in pages that ping this way; no document describes it.",
        profiles=_NOT_V2,
    ),
    Rule(
        "P9",
        "Of a repeated URL parameter the last one counts, and the event carries a finding.",
        Basis.INFERRED,
        "In `v2-2.0.0` no parameter counts unless `url_parameters` is `store` (B10).",
    ),
]

rules: Catalogue[Rule] = Catalogue(
    [
        *_ROUTE,
        *_AUTHENTICATION,
        *_BODY,
        *_RECORD,
        *_ANSWER,
        *_AFTER_THE_ANSWER,
        *_TRACKING_PIXEL,
    ],
    key=lambda rule: rule.id,
)
"""Every rule, in the order of the fidelity page, by id."""
