"""An active fault: which events it may hit, and which ones it hit."""

from __future__ import annotations

import math
import random
import sys
from array import array
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, NoReturn, TypedDict

from ...collector.events import Events
from ...errors import ConfigurationError
from .actions import brief

if TYPE_CHECKING:
    from typing import Self

    from ...collector.collector import Arrival, Collector, Effect
    from .actions import Action

ABOVE_ZERO = math.ulp(0)
MOST = sys.float_info.max


class LimitArgumentsWithoutAfter(TypedDict, total=False):
    """The keyword arguments of `truncate`: which events it may hit."""

    database: str | None
    table: str | None
    where: Mapping[str, Any] | Callable[[Arrival], object] | None
    times: int | None
    probability: float | None
    seed: int | None


class LimitArguments(LimitArgumentsWithoutAfter, total=False):
    """The keyword arguments of every other fault. Of `truncate`, `after` counts bytes."""

    after: int


@dataclass(frozen=True)
class Limits:
    """Which events a fault may hit.

    Args:
        database: Events of this database; `None`: of any.
        table: Events of this table; `None`: of any.
        where: A mapping of columns, compared with `==`, or a predicate on the `Arrival`. A request
            that is refused matches neither.
        times: How many events are hit; `None`: all.
        after: How many matching events are spared before.
        probability: The share of the other events that is hit; `None`: all.
        seed: What the random choice starts from (0), so that it can be repeated.

    Raises:
        ConfigurationError: A value is not valid (from `of`).
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
        for name in ("database", "table"):
            value = getattr(limits, name)
            if not (value is None or (isinstance(value, str) and value)):
                raise invalid(method, name, value, "a name as in the URL, or None for any")
        where = limits.where
        if not (where is None or isinstance(where, Mapping) or callable(where)):
            raise invalid(method, "where", where, "a mapping of columns or a predicate")
        if not (limits.seed is None or type(limits.seed) is int):
            raise invalid(method, "seed", limits.seed, "a whole number")
        if limits.times is not None:
            count(method, "times", limits.times, least=1)
        count(method, "after", limits.after)
        if limits.probability is not None:
            number(method, "probability", limits.probability, "a number from 0 to 1", most=1)
        elif limits.seed is not None:
            raise ConfigurationError(f"faults.{method}(seed=...): it needs a probability= as well")
        return limits

    def match(self, arrival: Arrival) -> bool:
        """Whether `arrival` matches; runs code of the user, so without any lock."""
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
    """A fault: active until `remove`, the end of its `with` block, or the end of the test."""

    def __init__(
        self,
        make_action: Callable[[], Action],
        limits: Mapping[str, Any],
        collector: Collector,
        on_remove: Callable[[FaultHandle], None],
    ) -> None:
        """Made by the methods of `tdpostback.faults`."""
        self.asked = 0
        """How many events it was asked about."""
        self.matched = 0
        """How many of them its limits matched, before `after`, `times` and `probability` count."""
        self.make_action = make_action
        """Makes a new action like `action`, for a sequence."""
        self.action = make_action()
        """What it does to an event."""
        self.name = self.action.name
        """What `event.fault` shows."""
        self.limits = Limits.of(self.name.partition("(")[0], limits)
        """Which events it may hit."""
        self._collector = collector
        self._on_remove = on_remove
        self._spare = self.limits.after
        self._left = self.limits.times
        self._random = random.Random(self.limits.seed or 0)  # noqa: S311 - it is meant to be predictable
        self._hits = array("Q")
        self._removed = False

    @property
    def events(self) -> Events:
        """The events that it hit, in order of arrival. `tdpostback.clear()` forgets them, too."""
        with self._collector.lock:
            log = self._collector.log
            return Events(log, [seq - log.first for seq in self._hits if seq >= log.first])

    @property
    def over(self) -> bool:
        """Whether it will hit no further event."""
        return self._removed or self._left == 0 or self.action.over

    def effect_on(self, arrival: Arrival) -> Effect | None:
        """What it does to `arrival`; `None` if it does not hit it."""
        if self.over:
            return None
        self.asked += 1
        if not self.limits.match(arrival):
            return None
        with self._collector.lock:
            self.matched += 1
            if self.over:  # by an event that another thread receives
                return None
            if self._spare:
                self._spare -= 1
                return None
            share = self.limits.probability
            if share is not None and self._random.random() >= share:
                return None
            effect = self.action.effect_on(arrival)
            if effect is None:
                return None
            if self._left is not None:
                self._left -= 1
        return effect._replace(recorded=self._hits.append)

    def remove(self) -> None:
        """End the fault, and free the senders that it keeps waiting."""
        self._removed = True
        self._on_remove(self)
        self.action.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.remove()

    def __reduce__(self) -> NoReturn:
        raise TypeError("a fault cannot be copied or pickled; call the method of faults again")

    def __repr__(self) -> str:
        return f"<fault {self.name}: {len(self._hits)} hit>"


# checks of the arguments of faults


def count(method: str, name: str, value: Any, *, least: int = 0) -> int:
    """`value` as a whole number of at least `least`."""
    if type(value) is not int or value < least:
        raise invalid(method, name, value, f"a whole number, {least} or more")
    return value


def number(
    method: str, name: str, value: Any, valid: str, *, least: float = 0, most: float = MOST
) -> float:
    """`value` as a number from `least` to `most`; `valid` says that in words."""
    if type(value) not in (int, float) or not least <= value <= most:
        raise invalid(method, name, value, valid)
    return float(value)


def invalid(method: str, name: str, value: Any, valid: str) -> ConfigurationError:
    """The error for `value` as the argument `name` of `faults.<method>`."""
    return ConfigurationError(f"faults.{method}({name}={brief(value)}): give {valid}")
