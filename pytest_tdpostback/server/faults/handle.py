"""A fault that is active: which events it may hit, and which ones it did."""

from __future__ import annotations

import random
from array import array
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any, TypedDict

from ...collector.events import Events
from ...errors import ConfigurationError
from .checks import coin_seed, count, route_part, share
from .kinds import Target

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

    from ...collector.collector import Arrival, Collector, Effect
    from .kinds import Fault


class Chosen(TypedDict, total=False):
    """The keyword arguments of every fault: which events it may hit."""

    database: str | None
    table: str | None
    where: Mapping[str, Any] | Callable[[Arrival], object] | None
    times: int | None
    probability: float | None
    seed: int | None


class Limited(Chosen, total=False):
    """The keyword arguments of every fault but `truncate`, whose `after` counts bytes."""

    after: int


@dataclass(frozen=True)
class Limits:
    """Which events a fault may hit; raises `ConfigurationError` for what is not valid.

    `database` and `table` are those of the route; `where` is a mapping of columns, compared with
    `==`, or a predicate on the `Arrival`, and never met by a request that is refused; the first
    `after` of the events that match are spared, then `times` of them are hit (`None`: all); with
    `probability` each is hit or spared by a coin of that bias, tossed from `seed` (0).
    """

    database: str | None = None
    table: str | None = None
    where: Mapping[str, Any] | Callable[[Arrival], object] | None = None
    times: int | None = None
    after: int = 0
    probability: float | None = None
    seed: int | None = None

    @classmethod
    def of(cls, method: str, arguments: Mapping[str, Any]) -> Limits:
        """From the keyword arguments of `faults.<method>`."""
        names = [field.name for field in fields(cls)]
        for name in arguments:
            if name not in names:
                valid = ", ".join(names)
                raise ConfigurationError(f"faults.{method}({name}=...): give one of {valid}")
        limits = cls(**arguments)
        limits._check(method)
        return limits

    def _check(self, method: str) -> None:
        route_part(method, "database", self.database)
        route_part(method, "table", self.table)
        coin_seed(method, self.seed)
        if self.times is not None:
            count(method, "times", self.times, least=1)
        count(method, "after", self.after)
        if self.probability is not None:
            share(method, "probability", self.probability)
        elif self.seed is not None:
            raise ConfigurationError(f"faults.{method}(seed=...): it needs a probability= as well")
        if not (self.where is None or isinstance(self.where, Mapping) or callable(self.where)):
            raise ConfigurationError(
                f"faults.{method}(where={self.where!r}): give a mapping of columns or a predicate"
            )

    def match(self, arrival: Arrival) -> bool:
        """Whether `arrival` is one of them."""
        if self.database not in (None, arrival.database) or self.table not in (None, arrival.table):
            return False
        if self.where is None:
            return True
        if arrival.refused:
            return False
        if isinstance(self.where, Mapping):
            return all(n in arrival and v == arrival[n] for n, v in self.where.items())
        return bool(self.where(arrival))


class FaultHandle:
    """A fault at work: until `remove`, the end of its `with` block, or the end of the test."""

    def __init__(
        self,
        fault: Fault,
        limits: Limits,
        collector: Collector,
        removed: Callable[[FaultHandle], None],
    ) -> None:
        """Made by the methods of `tdpostback.faults`."""
        self.fault = fault
        self._limits = limits
        self._collector = collector
        self._removed = removed
        self._spare = limits.after
        self._left = limits.times
        self._coin = random.Random(limits.seed or 0)  # noqa: S311 (to be foreseen is the point)
        self._hits = array("Q")

    @property
    def events(self) -> Sequence[Any]:
        """The events it hit, in order of arrival; `tdpostback.clear()` forgets them too."""
        with self._collector.lock:
            log = self._collector.log
            return Events(log, [seq - log.first for seq in self._hits if seq >= log.first])

    @property
    def limited(self) -> bool:
        """Whether it may hit some events only."""
        return self._limits != Limits()

    @property
    def over(self) -> bool:
        """Whether it will hit no further event."""
        return self._left == 0 or self.fault.over

    def strike(self, arrival: Arrival, now: float) -> Effect | None:
        """What becomes of `arrival`; `None` where this fault does not hit it."""
        if self.over or not self._limits.match(arrival):
            return None
        if self._spare:
            self._spare -= 1
            return None
        if self._limits.probability is not None and self._coin.random() >= self._limits.probability:
            return None
        effect = self.fault.strike(Target(now, arrival.refused))
        if effect is None:
            return None
        self._left = None if self._left is None else self._left - 1
        return replace(effect, recorded=self._hits.append)

    def remove(self) -> None:
        """End the fault, and close the connections that hang by it."""
        self._removed(self)
        self.fault.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.remove()

    def __repr__(self) -> str:
        return f"<fault {self.fault.name}: {len(self._hits)} events hit>"
