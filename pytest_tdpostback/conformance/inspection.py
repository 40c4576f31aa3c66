"""The other side of a double's inspection interface: what became of what was sent."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode, urlsplit

from .wire import Connection

if TYPE_CHECKING:
    from collections.abc import Callable

PREFIX = "/.tdpostback/"
SETTLE_SECONDS = 5.0


class Inspection:
    """Asks a target about itself; what a check changes there is undone after it."""

    def __init__(self, url: str) -> None:
        """`url` is the base URL of a target whose `offered` is true."""
        self._url = url
        self._since = 0
        self._undo: list[Callable[[], object]] = []

    @classmethod
    def offered(cls, url: str) -> bool:
        """Whether the target answers questions about itself; asks it once."""
        return cls(url).about() != {}

    # what happened

    def begin(self) -> None:
        """Look only at what happens from now on."""
        self._since = self.about()["seq"]

    def about(self) -> dict[str, Any]:
        """The settings, the clock and the number of the last event; empty where none are told."""
        found: dict[str, Any] = self._ask("GET", "", missing=True)
        return found if "tdpostback" in found else {}

    def settle(self, timeout: float = SETTLE_SECONDS) -> list[int]:
        """Wait until nothing is pending; the numbers of the events that still are."""
        pending: list[int] = self._ask("POST", "settle", query={"timeout": timeout})["pending"]
        return pending

    def events(self) -> list[dict[str, Any]]:
        """The events since `begin`, or since they were asked for last, as they are now."""
        found: list[dict[str, Any]] = self._ask("GET", "events", query={"since": self._since})
        self._since = max([self._since, *(event["seq"] for event in found)])
        return found

    def event(self) -> dict[str, Any]:
        """The one event since `begin`, or since the last one, after it got its outcome."""
        pending = self.settle()  # not inside the `assert`, which `python -O` leaves out
        assert not pending, "the event is still pending"
        found = self.events()
        assert len(found) == 1, f"one request made {len(found)} events"
        return found[0]

    def record(self) -> dict[str, Any]:
        """The record that the one event since became."""
        event = self.event()
        assert event["state"] == "ingested", f"{event['state']}: {event['reason']}"
        record: dict[str, Any] = event["record"]
        return record

    def rejected(self) -> dict[str, Any]:
        """The one event since, which was answered 200 and failed afterwards."""
        event = self.event()
        assert event["state"] == "rejected"
        return event

    def finding(self, rule: str) -> dict[str, Any]:
        """The one event since, which was ingested and carries one finding by `rule`."""
        event = self.event()
        assert event["state"] == "ingested", f"{event['state']}: {event['reason']}"
        assert [found["rule"] for found in event["findings"]].count(rule) == 1
        return event

    def records(self, database: str, table: str) -> list[dict[str, Any]]:
        """Every record of a table."""
        rows = self._ask("GET", "records", query={"database": database, "table": table})
        return [row["columns"] for row in rows]

    def clear(self) -> None:
        """Forget every event."""
        self._ask("DELETE", "events")

    # what is changed until the check is over

    def configure(self, **settings: Any) -> None:
        """Change settings of the target."""
        before = self.about()["settings"]
        old = {name: before[name] for name in settings}
        self._undo.append(lambda: self._ask("PATCH", "settings", body=old))
        self._ask("PATCH", "settings", body=settings)

    def add_key(self, key: str, **limits: list[str]) -> str:
        """Make `key` valid, within `limits`."""
        self._undo.append(lambda: self._ask("DELETE", "keys", body={"key": key}, missing=True))
        self._ask("POST", "keys", body={"key": key, **limits})
        return key

    def revoke(self, key: str) -> None:
        """Make `key` invalid."""
        self._ask("DELETE", "keys", body={"key": key})

    def freeze(self, at: float) -> None:
        """Stop the target's clock."""
        self._undo.append(lambda: self._ask("DELETE", "clock"))
        self._ask("PUT", "clock", body={"at": at})

    def hold(self) -> None:
        """Keep accepted events pending."""
        self._undo.append(lambda: self._ask("POST", "release", missing=True))
        self._ask("POST", "hold")

    def release(self) -> None:
        """End `hold`."""
        self._ask("POST", "release")

    def restore(self) -> None:
        """Undo what was changed."""
        while self._undo:
            self._undo.pop()()

    def _ask(
        self,
        method: str,
        name: str,
        *,
        query: dict[str, Any] | None = None,
        body: Any = None,
        missing: bool = False,
    ) -> Any:
        sent = b"" if body is None else json.dumps(body).encode()
        target = urlsplit(self._url).path + PREFIX + name
        target += f"?{urlencode(query)}" if query else ""
        with Connection(self._url) as connection:
            connection.send(method, target, [("Content-Length", str(len(sent)))])
            connection.write(sent)
            reply = connection.receive(method)
        if missing and reply.status != 200:
            return {}
        assert reply.status == 200, f"{method} {name}: {reply.status} {reply.body!r}"
        return json.loads(reply.body)
