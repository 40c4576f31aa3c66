"""Faults on the wire and behind it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..collector.collector import Collector


class Faults:
    """The faults of one double."""

    def __init__(self, collector: Collector) -> None:
        self._collector = collector
