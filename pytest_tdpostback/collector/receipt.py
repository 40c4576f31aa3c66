"""What a request came to, and what a fault may have made of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from ..protocol.judge import Refusal, Verdict
from ..protocol.request import PostbackRequest

if TYPE_CHECKING:
    from ..protocol.response import Response


@dataclass(frozen=True)
class Intervention:
    """What a fault does to one event: answer something else or nothing, store it not or twice.

    `delivery` is for the transport: how the answer travels.
    """

    fault: str
    answer: Response | None = None
    answered: bool = True
    stored: bool = True
    copies: int = 1
    delivery: Any = None


Intervene = Callable[[int, PostbackRequest, Verdict, "Refusal | None"], "Intervention | None"]
"""What faults are asked about each event: its sequence number, request, verdict and refusal."""


class Receipt(NamedTuple):
    """What a request came to: the answer, and the event's sequence number (none for `OPTIONS`)."""

    answer: Response
    seq: int = 0
    intervention: Intervention | None = None
