"""The endpoint that is checked: its URL, key, database and table."""

from __future__ import annotations

import json
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode, urlsplit

from ..protocol.profiles import by_host
from ..protocol.secrets import WriteKey
from .wire import RawConnection

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from ..protocol.profiles import Profile
    from .wire import RawResponse

MOST_REQUESTS = 500
"""The most requests that one run sends; it stops before the next one."""
MARK = "td_conformance"
"""The column that marks the events of a run; each run has a value of its own."""
JSON = "application/json"
WRONG_KEY = WriteKey("0/conformance-check-unknown-key")
"""A key of the right shape that belongs to no account."""


class TooManyRequests(Exception):
    """The run has sent its limit of requests."""


@dataclass
class Endpoint:
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
    _proxy_server: str | None = field(default=None, init=False)

    @property
    def postback(self) -> Profile:
        """The profile at the path of the Postback API."""
        return self.profile.postback or self.profile

    @property
    def known_service(self) -> bool:
        """Whether the URL is one of the service's own hosts, which get events only."""
        return urlsplit(self.url).hostname in by_host

    def path(self, database: str | None = None, table: str | None = None, tail: str = "") -> str:
        """Return the path of the event route, followed by `tail`."""
        route = f"{self.database if database is None else database}"
        route += f"/{self.table if table is None else table}"
        return f"/postback/v3/event/{route}{tail}"

    def columns(self, **columns: Any) -> dict[str, Any]:
        """Return a small event of this run."""
        return {MARK: self.run, **columns}

    def body(self, **columns: Any) -> bytes:
        """Return a small event of this run as JSON."""
        return json.dumps(self.columns(**columns)).encode()

    def post(self, columns: Mapping[str, Any] | None = None, /, **how: Any) -> RawResponse:
        """Send an event as JSON with the right key; `how` overrides arguments of `send`."""
        body = json.dumps(self.columns(**(columns or {}))).encode()
        headers = [("Content-Type", JSON), ("X-TD-Write-Key", str(self.key))]
        return self.send("POST", **{"body": body, "headers": headers, **how})

    def pixel(self, *pairs: tuple[str, str], **how: Any) -> RawResponse:
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
        connection: RawConnection | None = None,
        version: str = "1.1",
    ) -> RawResponse:
        """Send one request and return the response.

        Without a `connection` it opens one. Without a `path` it uses the event route. `query` is
        text, or names and values.
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
        connection: RawConnection,
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

    def proxy_server(self) -> str:
        """Return the name of a server in front of the target, which owns its connections."""
        if self._proxy_server is None:
            self._proxy_server = self.send("OPTIONS").proxy_server
        return self._proxy_server

    def connect(self) -> RawConnection:
        """Return a new connection to the target."""
        return RawConnection(self.url)
