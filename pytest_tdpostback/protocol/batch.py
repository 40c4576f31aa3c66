"""Batches of the Data Ingestion API: from a body to its records (rules I7 to I13, I16)."""

from __future__ import annotations

import gzip
import io
import json
import re
import zlib
from typing import Any, NamedTuple

from .body import InvalidBody, parse_any, type_name

MOST_RECORDS = 500
"""I8: the most records of a batch."""
RECORD_LIMIT = 1024 * 1024
"""I9: the largest record in bytes."""
_INVALID_VALUE, _INVALID_NAME = "InvalidPropertyValueError", "InvalidPropertyNameError"
_SPACE = b" \t\n\r"
_NOT_SPACE = re.compile(r"[^ \t\n\r]|\Z")
_UUID = r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}"
_decode = json.JSONDecoder().raw_decode
_BITS = {"gzip": 16 + zlib.MAX_WBITS, "deflate": zlib.MAX_WBITS}
"""I10: the argument of zlib for each content coding."""


class Failure(NamedTuple):
    """I13: why one record of a batch fails."""

    rule: str
    name: str
    description: str


class BatchRecord(NamedTuple):
    """One record of a batch: where it stands in the decoded body, in bytes, and its fate."""

    start: int
    end: int
    uuid: str | None
    """I16: the `uuid` that the record brings."""
    failure: Failure | None


class BatchBody(NamedTuple):
    """The records of one request, and its body without content coding."""

    body: bytes
    records: list[BatchRecord]


def read(body: bytes, encodings: list[str], *, single: bool, limit: int) -> BatchBody:
    """Return the records of a request.

    Args:
        body: The body as it was sent.
        encodings: The content codings, in the order in which they were applied.
        single: Whether the body is one record (`v1.single+json`), not a batch.
        limit: The most bytes of the decoded body.

    Raises:
        InvalidBody: The bytes don't decode (I10), are too many (I9) or aren't strict JSON (I11),
            there is no list `events` (I7), or it doesn't have 1 to 500 records (I8).
    """
    for encoding in reversed(encodings):
        body = _decoded(body, encoding, limit)
    try:
        value = parse_any(body)
    except InvalidBody as error:
        raise InvalidBody("I11", str(error)) from None
    if single:
        start, end = len(body) - len(body.lstrip(_SPACE)), len(body.rstrip(_SPACE))
        return BatchBody(body, [_record(start, end, value)])
    if not isinstance(value, dict):
        kind = type_name(value)
        raise InvalidBody("I7", f"the batch is {kind}, not an object with a list 'events'", 422)
    events = value.get("events")
    if not isinstance(events, list):
        reason = "the batch has no list 'events'"
        if isinstance(value.get("records"), list):
            reason += "; it has 'records', which is not read"
        raise InvalidBody("I7", reason, 422)
    if not 1 <= len(events) <= MOST_RECORDS:
        reason = f"the batch has {len(events)} records; 1 to {MOST_RECORDS} are accepted"
        raise InvalidBody("I8", reason, 422)
    spans = _spans_of_events(body.decode("latin-1"))  # a character for each byte
    records = [_record(*span, event) for span, event in zip(spans, events, strict=True)]
    return BatchBody(body, records)


def _decoded(body: bytes, encoding: str, limit: int) -> bytes:
    """I10: `body` without the content coding `encoding`."""
    decoder = zlib.decompressobj(_BITS[encoding])
    try:
        decoded = decoder.decompress(body, limit + 1)
        rest = decoder.unused_data
        if rest and encoding == "gzip":  # a series of members (RFC 1952), and zero bytes
            file = io.BytesIO(rest.lstrip(b"\0"))
            decoded += gzip.GzipFile(fileobj=file).read(limit + 1 - len(decoded))
            rest = b""
    except (zlib.error, gzip.BadGzipFile, EOFError) as error:
        raise InvalidBody("I10", f"the body is not {encoding}: {error}") from None
    if len(decoded) > limit:
        raise InvalidBody("I9", f"the decoded body has more than {limit} bytes", 413)
    if not decoder.eof or rest:
        where = "is cut off" if not decoder.eof else "has bytes after its end"
        raise InvalidBody("I10", f"the {encoding} body {where}")
    return decoded


def _spans_of_events(text: str) -> list[tuple[int, int]]:
    """Where each element of the list `events` begins and ends in `text`, which is a batch."""
    spans: list[tuple[int, int]] = []
    at = text.index("{")
    while text[at] != "}":
        name, at = _decode(text, _skip(text, at + 1))
        at = _skip(text, _skip(text, at) + 1)
        if name == "events" and text[at] == "[":  # the last one counts, as for every name (I11)
            spans = []
            at = _skip(text, at + 1)
            while text[at] != "]":
                end = _decode(text, at)[1]
                spans.append((at, end))
                at = _skip(text, end)
                if text[at] == ",":
                    at = _skip(text, at + 1)
            end = at + 1
        else:
            end = _decode(text, at)[1]
        at = _skip(text, end)
    return spans


def _skip(text: str, at: int) -> int:
    """The place of the first character of `text` from `at` on that isn't white space."""
    found = _NOT_SPACE.search(text, at)
    assert found is not None
    return found.start()


def _record(start: int, end: int, value: Any) -> BatchRecord:
    """I13: one record and why it fails, if it does."""
    failure, uuid = None, None
    if not isinstance(value, dict):
        description = f"the record is {type_name(value)}, not an object"
        failure = Failure("I13", _INVALID_VALUE, description)
    elif end - start > RECORD_LIMIT:
        description = f"the record has {end - start} bytes; the limit is {RECORD_LIMIT}"
        failure = Failure("I9", _INVALID_VALUE, description)
    elif "" in value:
        failure = Failure("I13", _INVALID_NAME, "a column name is empty")
    elif "uuid" in value:
        uuid = value["uuid"]
        if not isinstance(uuid, str) or not re.fullmatch(_UUID, uuid):
            failure, uuid = Failure("I16", _INVALID_VALUE, "uuid is not a UUID"), None
    return BatchRecord(start, end, uuid, failure)
