"""What is checked: an endpoint, by its URL, key, database and table."""

from __future__ import annotations

import json
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode, urlsplit

from ..protocol.profiles import by_host
from ..protocol.secrets import WriteKey
from .wire import Connection

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from ..protocol.profiles import Profile
    from .wire import Reply

MOST_REQUESTS = 300
"""Requests that one run sends at the most; asked for more, it stops."""
MARK = "td_conformance"
"""The column by which the events of a run can be found again; its value is the run's own."""
JSON = "application/json"
WRONG_KEY = WriteKey("0/conformance-check-unknown-key")
"""A key of the right shape that no account has."""


class TooManyRequests(Exception):
    """The run has sent as much as it may."""


@dataclass
class Target:
    """An endpoint and what may be sent to it."""

    url: str
    """Base URL, no trailing slash."""
    key: str
    """A write key that it accepts."""
    database: str
    table: str
    profile: Profile
    """The profile whose rules it is held to."""
    run: str
    """The value of the column `td_conformance` in each event of this run."""
    sent: int = field(default=0, init=False)
    _front: str | None = field(default=None, init=False)

    @property
    def known_service(self) -> bool:
        """Whether the URL is one of the service's own hosts: it gets nothing but events."""
        return urlsplit(self.url).hostname in by_host

    def path(self, database: str | None = None, table: str | None = None, tail: str = "") -> str:
        """The path of the event route; `tail` follows it."""
        route = f"{self.database if database is None else database}"
        route += f"/{self.table if table is None else table}"
        return f"/postback/v3/event/{route}{tail}"

    def columns(self, **columns: Any) -> dict[str, Any]:
        """A small event of this run."""
        return {MARK: self.run, **columns}

    def body(self, **columns: Any) -> bytes:
        """A small event of this run as JSON."""
        return json.dumps(self.columns(**columns)).encode()

    def post(self, columns: Mapping[str, Any] | None = None, /, **how: Any) -> Reply:
        """Send an event with the right key as JSON; `how` is as in `send` and goes before that."""
        body = json.dumps(self.columns(**(columns or {}))).encode()
        headers = [("Content-Type", JSON), ("X-TD-Write-Key", str(self.key))]
        return self.send("POST", **{"body": body, "headers": headers, **how})

    def pixel(self, *pairs: tuple[str, str], **how: Any) -> Reply:
        """Send `GET` with the key, the mark and `pairs` as URL parameters."""
        parameters = [("td_write_key", str(self.key)), (MARK, self.run), *pairs]
        return self.send(how.pop("method", "GET"), query=parameters, **how)

    def send(
        self,
        method: str,
        path: str | None = None,
        *,
        query: str | Iterable[tuple[str, str]] = "",
        headers: Iterable[tuple[str, str]] = (),
        body: bytes = b"",
        connection: Connection | None = None,
        version: str = "1.1",
    ) -> Reply:
        """Send one request and return the answer; without a `connection` on one of its own.

        `path` is the event route where it is not given; `query` is text or names and values.
        """
        fields = [*headers]
        if body or method == "POST":
            fields.append(("Content-Length", str(len(body))))
        with nullcontext(connection) if connection else self.connect() as wire:
            self.begin(wire, method, path, query=query, headers=fields, version=version)
            wire.write(body)
            return wire.receive(method)

    def begin(
        self,
        connection: Connection,
        method: str,
        path: str | None = None,
        *,
        query: str | Iterable[tuple[str, str]] = "",
        headers: Iterable[tuple[str, str]] = (),
        version: str = "1.1",
    ) -> None:
        """Send the head of a request alone. Raises `TooManyRequests`."""
        self.sent += 1
        if self.sent > MOST_REQUESTS:
            raise TooManyRequests(f"this run has sent {MOST_REQUESTS} requests, its limit")
        text = query if isinstance(query, str) else urlencode(list(query), quote_via=quote)
        target = urlsplit(self.url).path + (self.path() if path is None else path)
        connection.send(method, target + (f"?{text}" if text else ""), headers, version)

    def front(self) -> str:
        """The name of a server in front of the target that owns its connections; empty for none."""
        if self._front is None:
            self._front = self.send("OPTIONS").front
        return self._front

    def connect(self) -> Connection:
        """A connection to the target."""
        return Connection(self.url)
