"""What a head decides before its body is there; remembered, because senders repeat heads."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from ..protocol import response as responses
from ..protocol.judge import judge_head, size_limit
from ..protocol.request import RequestHead

if TYPE_CHECKING:
    from ..protocol.judge import Refusal, Verdict
    from ..protocol.response import Response
    from ..protocol.settings import Settings

REMEMBERED = 1024
"""Heads kept; senders use few, and one that never repeats a head must not fill the memory."""
_JUDGED = re.compile(
    rb"""\r\n(?:authorization|content-encoding|content-length|content-type|host|origin
        |x-td-write-key):.*(?=\r\n|\Z)""",
    re.VERBOSE | re.IGNORECASE,
)
"""The fields that judging and the usual answer read; all others are cut off before they do."""


class Plan:
    """The verdict on a head, and what follows from it."""

    __slots__ = ("_accepted", "_second", "head", "limit", "origin", "route", "straight", "verdict")

    def __init__(self, head: RequestHead, settings: Settings) -> None:
        """Judges `head`, which holds the fields that matter."""
        self.head = head
        self.verdict: Verdict = judge_head(head, settings)
        self.route = (self.verdict.database or "", self.verdict.table or "")
        self.origin = head.field("origin") if "origin" in head.fields else None
        self.limit = size_limit(self.verdict.profile, settings)
        self.straight = self.verdict.key is not None and not (
            self.verdict.from_url
            or self.verdict.body_refusal
            or self.verdict.profile.refuses_unknown_keys
        )
        """Whether nothing but a JSON body within `limit` is left to be judged."""
        self._second = -1
        self._accepted: Response

    def accepted(self, second: int) -> Response:
        """W1: the answer to an event with a JSON body; made once a second (of UNIX time)."""
        if second != self._second:
            date = responses.http_date(second)
            self._accepted = responses.accepted(self.verdict.profile, date, origin=self.origin)
            self._second = second
        return self._accepted

    def refused(self, refusal: Refusal, second: int, *, explain: bool) -> Response:
        """W2: the answer to a refused request."""
        profile, date = self.verdict.profile, responses.http_date(second)
        return responses.refused(refusal, profile, date, origin=self.origin, explain=explain)


class Plans:
    """The plans of one collector, by head."""

    def __init__(self, settings: Settings) -> None:
        """`settings` are what heads are judged by."""
        self._settings = settings
        self._by_head: dict[bytes, Plan] = {}
        self._by_judged: dict[bytes, Plan] = {}

    def of(self, raw: bytes) -> Plan:
        """The plan for the head `raw`; heads that differ in unimportant fields share theirs."""
        plan = self._by_head.get(raw)
        if plan is None:
            plan = self._judged(raw)
            _keep(self._by_head, raw, plan)
        return plan

    def clear(self) -> None:
        """Forget them; what is needed again is judged again."""
        self._by_head.clear()
        self._by_judged.clear()

    def _judged(self, raw: bytes) -> Plan:
        judged = raw.partition(b"\r\n")[0] + b"".join(_JUDGED.findall(raw))
        plan = self._by_judged.get(judged)
        if plan is None:
            plan = Plan(RequestHead(judged), self._settings)
            _keep(self._by_judged, judged, plan)
        return plan


def _keep(plans: dict[bytes, Plan], key: bytes, plan: Plan) -> None:
    if len(plans) >= REMEMBERED:
        plans.clear()
    plans[key] = plan
