"""Which check proves which rule.

A check is a test function of this package with the decorator `@checks("A5")`: it proves one rule.
It uses the fixture `target`, which it sends to. It also uses `inspection` if only the target itself
can tell, because nobody outside sees what happens after a 200.
"""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, TypeVar

from ..protocol.profiles import profiles as all_profiles
from ..protocol.rules import rules

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from ..protocol.profiles import Profile

    Function = TypeVar("Function", bound=Callable[..., None])

MODULES = (
    "test_route",
    "test_authentication",
    "test_body",
    "test_record",
    "test_response",
    "test_after_the_response",
    "test_pixel",
    "test_ingestion",
)
CHECKED = "checked"
INSPECTED = "checked with inspection"
UNCHECKED = "unchecked"


@dataclass(frozen=True)
class Check:
    """One test function that proves a rule."""

    rule: str
    """The id of the rule."""
    module: str
    """The module of this package that holds it, such as `"test_route"`."""
    name: str
    """The name of the function."""
    profiles: tuple[str, ...]
    """Names of the profiles in which it runs."""
    inspects: bool
    """Whether it needs a target that offers the inspection interface."""

    def runs_for(self, profile: Profile) -> bool:
        """Return whether it applies to a target that speaks `profile`.

        A target that speaks the Data Ingestion API also speaks the Postback API at its path (I1).
        """
        spoken = [profile] if profile.postback is None else [profile, profile.postback]
        return any(each.name in self.profiles for each in spoken)


def checks(rule: str, *, profiles: tuple[str, ...] = ()) -> Callable[[Function], Function]:
    """Return a decorator that marks a test function as a check of `rule` in `profiles`.

    Without `profiles`, the check runs in each profile in which the rule holds. Raises `KeyError`
    for an id or a profile that does not exist.
    """
    names = tuple(all_profiles[name].name for name in profiles) or rules[rule].profiles

    def mark(function: Function) -> Function:
        module = function.__module__.rpartition(".")[2]
        inspects = "inspection" in inspect.signature(function).parameters
        check = Check(rules[rule].id, module, function.__name__, names, inspects)
        function.__dict__["tdpostback_check"] = check
        return function

    return mark


def check_of(function: Any) -> Check | None:
    """Return the check that `function` is, `None` if it isn't one."""
    return getattr(function, "tdpostback_check", None)


def checks_of(rule: str) -> tuple[Check, ...]:
    """Return the checks of `rule` in their order; raises `KeyError` for an unknown id."""
    wanted = rules[rule].id
    members = [
        check_of(member)
        for name in MODULES
        for member in vars(import_module(f"{__package__}.{name}")).values()
    ]
    return tuple(check for check in members if check and check.rule == wanted)


def status_of(rule: str) -> str:
    """Return how `rule` can be checked: `"checked"` from outside, or `"checked with inspection"`.

    `"unchecked"` means that it has no check, which is an error of this package.
    """
    found = checks_of(rule)
    if not found:
        return UNCHECKED
    return INSPECTED if all(check.inspects for check in found) else CHECKED
