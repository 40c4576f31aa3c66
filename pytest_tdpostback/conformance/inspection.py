"""A client of the inspection interface, which tells what happened to the events that were sent."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode, urlsplit

from .wire import RawConnection

if TYPE_CHECKING:
    from collections.abc import Callable

PREFIX = "/.tdpostback/"
SETTLE_SECONDS = 5.0


class InspectionClient:
    """Asks a target about its events, and undoes after a check what the check changed."""

    def __init__(self, url: str) -> None:
        """`url` is the base URL of a target."""
        self._url = url
        self._since = 0
        self._undo: list[Callable[[], object]] = []

    @classmethod
    def offered(cls, url: str) -> bool:
        """Return whether the target offers the interface; sends one request."""
        return cls(url).about() != {}

    # what happened

    def begin(self) -> None:
        """Ignore all events up to now."""
        self._since = self.about()["seq"]

    def about(self) -> dict[str, Any]:
        """Return the settings, the clock and the number of the last event.

        The result is empty if the target responds with anything else: it has no such interface.
        """
        found = self._ask("GET", "", optional=True)
        return found if isinstance(found, dict) and "tdpostback" in found else {}

    def settle(self, timeout: float = SETTLE_SECONDS) -> list[int]:
        """Wait up to `timeout` seconds, and return the numbers of the events still pending."""
        pending: list[int] = self._ask("POST", "settle", query={"timeout": timeout})["pending"]
        return pending

    def events(self) -> list[dict[str, Any]]:
        """Return the events since `begin`, or since the last call, as they are now."""
        found: list[dict[str, Any]] = self._ask("GET", "events", query={"since": self._since})
        self._since = max([self._since, *(event["seq"] for event in found)])
        return found

    def event(self) -> dict[str, Any]:
        """Return the only event since `begin`, or since the last call, once it has an outcome."""
        pending = self.settle()  # not inside the `assert`, which `python -O` leaves out
        assert not pending, "the event is still pending"
        found = self.events()
        assert len(found) == 1, f"one request made {len(found)} events"
        return found[0]

    def record(self) -> dict[str, Any]:
        """Return the record of the only event since."""
        event = self.event()
        assert event["state"] == "ingested", f"{event['state']}: {event['reason']}"
        record: dict[str, Any] = event["record"]
        return record

    def rejected(self) -> dict[str, Any]:
        """Return the only event since, which must be rejected after its 200."""
        event = self.event()
        assert event["state"] == "rejected"
        return event

    def finding(self, rule: str) -> dict[str, Any]:
        """Return the only event since, which must be ingested with one finding by `rule`."""
        event = self.event()
        assert event["state"] == "ingested", f"{event['state']}: {event['reason']}"
        assert [found["rule"] for found in event["findings"]].count(rule) == 1
        return event

    def records(self, database: str, table: str) -> list[dict[str, Any]]:
        """Return every record of a table."""
        found = self._ask("GET", "records", query={"database": database, "table": table})
        return [record["columns"] for record in found]

    def clear(self) -> None:
        """Make the target forget every event."""
        self._ask("DELETE", "events")

    # what a check changes until its end

    def configure(self, **settings: Any) -> None:
        """Change settings of the target."""
        before = self.about()["settings"]
        old = {name: before[name] for name in settings}
        self._undo.append(lambda: self._ask("PATCH", "settings", body=old))
        self._ask("PATCH", "settings", body=settings)

    def add_key(self, key: str, **limits: list[str]) -> str:
        """Make `key` valid within `limits` (`databases`, `tables`), and return it."""
        self._undo.append(lambda: self._ask("DELETE", "keys", body={"key": key}, optional=True))
        self._ask("POST", "keys", body={"key": key, **limits})
        return key

    def revoke(self, key: str) -> None:
        """Make `key` invalid."""
        self._ask("DELETE", "keys", body={"key": key})

    def freeze(self, at: float) -> None:
        """Stop the target's clock at `at` (UNIX seconds)."""
        self._undo.append(lambda: self._ask("DELETE", "clock"))
        self._ask("PUT", "clock", body={"at": at})

    def hold(self) -> None:
        """Keep accepted events pending."""
        self._undo.append(lambda: self._ask("POST", "release", optional=True))
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
        optional: bool = False,
    ) -> Any:
        """Send one request and return its JSON; with `optional`, `None` if there is none."""
        sent = b"" if body is None else json.dumps(body).encode()
        target = urlsplit(self._url).path + PREFIX + name
        target += f"?{urlencode(query)}" if query else ""
        with RawConnection(self._url) as connection:
            fields = [
                ("Content-Type", "application/json"),
                ("Content-Length", str(len(sent))),
            ]
            connection.send(method, target, fields)
            connection.write(sent)
            response = connection.receive(method)
        if response.status == 200:
            try:
                return json.loads(response.body)
            except ValueError:
                pass
        shown = f"{method} {PREFIX}{name}: {response.status} {response.body[:200]!r}"
        assert optional, f"the inspection interface responded with {shown}"
        return None
