"""What a case of the table is: raw bytes, and what the fake server makes of them."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from textwrap import dedent
from typing import Any

KEY = "12345/abcdef"
"""The write key that is valid in every case."""
NOW = 1_700_000_000
"""The moment at which every request arrives, in UNIX seconds."""
PATH = "/postback/v3/event/test_db/test_tbl"
OPENAPI, ARTICLE, V2 = "openapi-1.0.0", "article-2015", "v2-2.0.0"

IN_PROCESS = ("wsgi", "httpx", "async-httpx", "requests")
BY_CLIENTS = ("httpx", "async-httpx", "requests")

NO_DUPLICATES = dict.fromkeys(
    (*IN_PROCESS, "mounted"),
    "WSGI has one value for a name: the server in front joins repeated fields",
)
NO_EXPECT = dict.fromkeys(
    (*IN_PROCESS, "mounted"), "the server in front sends the 100 before the application is asked"
)
NO_PIPELINE = {
    **dict.fromkeys(IN_PROCESS, "a request at a time"),
    "mounted": "werkzeug's server answers one request and closes",
}
NO_RAW_PATH = {"mounted": "werkzeug's server decides what path it hands on"}


@dataclass(frozen=True)
class Outcome:
    """What one request ends as: the answer's status, and the event it leaves.

    ``record`` is the row without its ``time``, unless ``time`` is what the case is about.
    """

    status: int = 200
    rule: str | None = None
    record: dict[str, Any] | None = None
    findings: tuple[str, ...] = ()
    event: bool = True

    def answered(self, status: int) -> Outcome:
        """The same with another status."""
        return replace(self, status=status)

    @property
    def state(self) -> str:
        if self.status >= 400:
            return "refused"
        return "rejected" if self.rule else "ingested"


@dataclass(frozen=True)
class Case:
    """Raw bytes and the outcome of each request in them, in every profile unless named apart."""

    id: str
    raw: bytes
    outcomes: tuple[Outcome, ...]
    apart: dict[str, tuple[Outcome, ...]] = field(default_factory=dict)
    not_on: dict[str, str] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)
    answer: dict[str, str | None] = field(default_factory=dict)

    def expected(self, profile: str) -> tuple[Outcome, ...]:
        """The outcomes under one profile."""
        return self.apart.get(profile, self.outcomes)


def stored(record: dict[str, Any], *findings: str) -> Outcome:
    """Answered 200 and ingested."""
    return Outcome(record=record, findings=findings)


def no_event(status: int) -> Outcome:
    """Answered, and no event."""
    return Outcome(status, event=False)


def refused(status: int, rule: str) -> Outcome:
    """Answered with a 4xx by a rule."""
    return Outcome(status, rule)


def rejected(rule: str, *findings: str) -> Outcome:
    """Answered 200, and rejected by a rule afterwards."""
    return Outcome(rule=rule, findings=findings)


def case(
    name: str,
    raw: bytes,
    *outcomes: Outcome,
    article: Outcome | None = None,
    v2: Outcome | None = None,
    not_on: dict[str, str] | None = None,
    answer: dict[str, str | None] | None = None,
    **settings: Any,
) -> Case:
    """A case; ``answer`` names fields that the reply has (or with ``None`` has not)."""
    apart: dict[str, tuple[Outcome, ...]] = {
        name: (each,) for name, each in ((ARTICLE, article), (V2, v2)) if each is not None
    }
    return Case(name, raw, outcomes, apart, not_on or {}, settings, answer or {})


def shape(head: str, body: bytes | str = b"") -> bytes:
    """A request as bytes: ``{path}``, ``{key}``, ``{length}`` filled in, lines ended by CR LF."""
    body = body if isinstance(body, bytes) else body.encode()
    text = dedent(head).strip("\n")
    text = text.replace("{path}", PATH).replace("{key}", KEY).replace("{length}", str(len(body)))
    return text.replace("\n", "\r\n").encode("latin-1") + b"\r\n\r\n" + body


def post(
    body: bytes | str = b'{"a":1}',
    *headers: str,
    target: str = PATH,
    key: str | None = f"X-TD-Write-Key: {KEY}",
    content_type: str | None = "Content-Type: application/json",
    method: str = "POST",
) -> bytes:
    """A plain request, changed in what a case is about."""
    fields = [f"{method} {target} HTTP/1.1", "Host: in.treasuredata.com", key, content_type]
    fields += [*headers, "Content-Length: {length}"]
    return shape("\n".join(line for line in fields if line is not None), body)


def get(target: str, *headers: str) -> bytes:
    """A plain ``GET``."""
    return shape("\n".join([f"GET {target} HTTP/1.1", "Host: in.treasuredata.com", *headers]))
