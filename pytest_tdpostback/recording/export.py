"""Events as they leave this process: JSON values only, as the schema `event` has them."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

from ..protocol.secrets import Redacted

if TYPE_CHECKING:
    from ..collector.events import Event
    from ..protocol.request import PostbackRequest


def exported(event: Event) -> dict[str, Any]:
    """`event` as it is now, ready for `json.dumps`; the write keys of its request are shortened.

    What somebody sent as data is given as it was sent, whatever it is.
    """
    return {
        "seq": event.seq,
        "received_at": event.received_at,
        "batch": None if event.batch is None else event.batch._asdict(),
        "database": event.database,
        "table": event.table,
        "key": None if event.key is None else _shown(event.key),
        "status": event.status,
        "copies": event.copies,
        "fault": event.fault,
        "state": str(event.state),
        "rule": event.rule,
        "reason": event.reason,
        "payload": event.payload,
        "record": None if event.record is None else dict(event.record),
        "findings": [
            {"rule": found.rule, "message": found.message, "column": found.column}
            for found in event.findings
        ],
        "request": _sent(event.request),
    }


def _sent(request: PostbackRequest) -> dict[str, Any]:
    try:
        body, encoding = request.body.decode(), "utf-8"
    except UnicodeDecodeError:
        body, encoding = base64.b64encode(request.body).decode("ascii"), "base64"
    return {
        "method": request.method,
        "target": _shown(request.target),
        "headers": [[name, _shown(value)] for name, value in request.headers.pairs],
        "body": body,
        "body_encoding": encoding,
        "peer": request.peer,
    }


def _shown(text: str) -> str:
    return text.shown if isinstance(text, Redacted) else text
