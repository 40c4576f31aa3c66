"""What the heads of requests decide. Senders repeat their heads, so it is remembered."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..protocol import response as responses
from ..protocol.judge import judge_head, size_limit
from ..protocol.request import RequestHead

if TYPE_CHECKING:
    from ..protocol.judge import Refusal, Verdict
    from ..protocol.response import Response
    from ..protocol.settings import Settings

REMEMBERED = 1_024
"""How many heads are remembered: a sender uses few."""
LONGEST = 4_096
"""Bytes of the longest head that is remembered: hostile ones must not fill the memory."""


class JudgedHead:
    """The verdict on a head, and what follows from it alone."""

    __slots__ = (
        "_accepted",
        "_accepted_second",
        "head",
        "judge",
        "origin",
        "size_limit",
        "table",
        "verdict",
    )

    def __init__(self, judge: JudgedHeads, head: RequestHead) -> None:
        """Made by `JudgedHeads`."""
        self.judge = judge
        self.head = head
        self.verdict: Verdict = judge_head(head, judge.settings)
        self.table = (self.verdict.database or "", self.verdict.table or "")
        self.origin = head.field("origin") if "origin" in head.fields else None
        self.size_limit = size_limit(self.verdict.profile, judge.settings)
        """B6: the largest body in bytes."""
        self._accepted_second = -1
        self._accepted: Response

    def accepted(self, second: int) -> Response:
        """W1: the response to an event with a JSON body at `second` (UNIX time).

        All responses of one second are equal, so they are one object.
        """
        if second != self._accepted_second:
            date = responses.http_date(second)
            self._accepted = responses.accepted(self.verdict.profile, date, origin=self.origin)
            self._accepted_second = second
        return self._accepted

    def refused(self, refusal: Refusal, second: int) -> Response:
        """W2: the response to a request that is refused at `second` (UNIX time)."""
        return responses.refused(
            refusal,
            self.verdict.profile,
            responses.http_date(second),
            origin=self.origin,
            explain=self.judge.settings.explain,
        )


class JudgedHeads:
    """Judges heads by `settings`, each different one once."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._remembered: dict[bytes, JudgedHead] = {}

    def of(self, raw: bytes, head: RequestHead | None = None) -> JudgedHead:
        """What a head decides; `raw` is `head.raw`, and `head` is made from it if not given."""
        judged = self._remembered.get(raw)
        if judged is None:
            judged = JudgedHead(self, head or RequestHead(raw))
            if len(raw) <= LONGEST:
                if len(self._remembered) >= REMEMBERED:
                    self._remembered.clear()
                self._remembered[raw] = judged
        return judged

    def __getstate__(self) -> dict[str, Any]:
        """What a pickle keeps: what is remembered can be found out again."""
        return {"settings": self.settings, "_remembered": {}}
