"""How pytest runs the contract check: the target, the rules' names in its output, the account."""

from __future__ import annotations

import uuid
import warnings
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest

import pytest_tdpostback
from pytest_tdpostback.conformance.catalogue import check_of
from pytest_tdpostback.conformance.inspection import Inspection
from pytest_tdpostback.conformance.target import MOST_REQUESTS, Target
from pytest_tdpostback.protocol.judge import NAME
from pytest_tdpostback.protocol.profiles import DEFAULT, for_host, profiles
from pytest_tdpostback.protocol.rules import rules
from pytest_tdpostback.protocol.secrets import WriteKey

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_tdpostback.conformance.catalogue import Check
    from pytest_tdpostback.protocol.profiles import Profile

NOT_OBSERVABLE = "not observable"
OWN_KEY = "1/contract-check"


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Put the id of its rule into the id of each check."""
    check = check_of(metafunc.function)
    if check:
        metafunc.parametrize("rule", [check.rule])


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out the checks that say nothing about the profile; refuse options that do not fit."""
    if not any(map(_check, items)):
        return
    _refuse_misfits(config)
    profile = _profile(config)
    foreign = [item for item in items if (c := _check(item)) and not c.runs_for(profile)]
    if foreign:
        config.hook.pytest_deselected(items=foreign)
        items[:] = [item for item in items if item not in foreign]


def pytest_report_collectionfinish(config: pytest.Config, items: list[pytest.Item]) -> list[str]:
    """Say before the first request what will be sent, and where."""
    checks = [check for item in items if (check := _check(item))]
    if not checks:
        return []
    profile = _profile(config)
    where = config.getoption("--tdpostback-target") or "a double of its own"
    route = ".".join(config.getoption(f"--tdpostback-{name}") for name in ("database", "table"))
    proved = len({check.rule for check in checks})
    absent = [rule.id for rule in rules if profile.name not in rule.profiles]
    lines = [
        f"contract check: {where} as {profile}",
        f"{len(checks)} checks of {proved} rules send at most {MOST_REQUESTS} requests to {route}",
    ]
    return [*lines, f"not in {profile}: {' '.join(absent)}"]


def pytest_report_teststatus(
    report: pytest.TestReport | pytest.CollectReport,
) -> tuple[str, str, str] | None:
    """Show what cannot be seen as that: neither passed nor merely skipped."""
    if isinstance(report, pytest.TestReport) and _unseen(report):
        return NOT_OBSERVABLE, "o", NOT_OBSERVABLE.upper()
    return None


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Name the rules of which nothing could be seen."""
    unseen = _rules_of(terminalreporter.getreports(NOT_OBSERVABLE))
    seen = _rules_of(
        [*terminalreporter.getreports("passed"), *terminalreporter.getreports("failed")]
    )
    if unseen:
        terminalreporter.section("contract check")
        nothing = [rule for rule in unseen if rule not in seen]
        part = [rule for rule in unseen if rule in seen]
        terminalreporter.line(f"not observable: {' '.join(nothing) or 'none'}")
        terminalreporter.line(f"observable in part: {' '.join(part) or 'none'}")


@pytest.fixture(autouse=True)
def _named(rule: str, request: pytest.FixtureRequest) -> None:
    """The rule of a check, for the junit report, whatever its family.

    `record_property` warns about the newer of the two, and somebody's warnings may be errors.
    """
    request.node.user_properties.append(("rule", rule))


@pytest.fixture(scope="session")
def target(request: pytest.FixtureRequest) -> Iterator[Target]:
    """The endpoint that is checked; where none is named, a double of this run."""
    option = request.config.getoption
    profile = _profile(request.config)
    place = option("--tdpostback-database"), option("--tdpostback-table")
    run = uuid.uuid4().hex
    url, key = option("--tdpostback-target"), option("--tdpostback-key")
    if url:
        named = Target(url.rstrip("/"), WriteKey(key), *place, profile, run)
        _refuse_unreachable(named)
        yield named
        return
    server = pytest_tdpostback.PostbackServer(
        profile=profile, write_keys=[OWN_KEY], inspection=True, on_auth_failure="ignore"
    )
    with server:
        yield Target(server.url, WriteKey(OWN_KEY), *place, profile, run)
        with warnings.catch_warnings():  # of the findings that checks provoke
            warnings.simplefilter("ignore", pytest_tdpostback.PostbackWarning)
            server.check()


@pytest.fixture(scope="session")
def _offered(target: Target) -> Inspection | None:
    if target.known_service or not Inspection.offered(target.url):
        return None
    return Inspection(target.url)


@pytest.fixture
def inspection(_offered: Inspection | None) -> Iterator[Inspection]:
    """What the target tells about itself, from here on; skips where it does not."""
    if _offered is None:
        pytest.skip(f"{NOT_OBSERVABLE}: the target does not offer the inspection interface")
    _offered.begin()
    yield _offered
    _offered.restore()


@pytest.fixture
def own_connection(target: Target) -> None:
    """Skips where another server stands in front of the target and owns the connection."""
    front = target.front()
    if front:
        pytest.skip(f"{NOT_OBSERVABLE}: the connection belongs to {front}")


def _refuse_misfits(config: pytest.Config) -> None:
    url, key = config.getoption("--tdpostback-target"), config.getoption("--tdpostback-key")
    if bool(url) != bool(key):
        message = "give --tdpostback-target and --tdpostback-key, or neither to check a double"
        raise pytest.UsageError(message)
    if url and not (urlsplit(url).scheme in ("http", "https") and urlsplit(url).hostname):
        raise pytest.UsageError(f"--tdpostback-target {url!r}: give http://host or https://host")
    for option in ("--tdpostback-database", "--tdpostback-table"):
        name = config.getoption(option)
        if not NAME.match(name):
            raise pytest.UsageError(f"{option} {name!r}: give ASCII letters, digits and _")


def _refuse_unreachable(target: Target) -> None:
    try:
        target.connect().close()
    except OSError as error:
        pytest.exit(f"cannot reach {target.url}: {error}", pytest.ExitCode.USAGE_ERROR)


def _profile(config: pytest.Config) -> Profile:
    named = config.getoption("--tdpostback-profile") or config.getini("tdpostback_profile")
    url = config.getoption("--tdpostback-target")
    if named:
        return profiles[str(named)]
    return for_host(urlsplit(url).hostname or "") if url else DEFAULT


def _check(item: pytest.Item) -> Check | None:
    return check_of(item.function) if isinstance(item, pytest.Function) else None


def _unseen(report: pytest.TestReport) -> bool:
    return (
        report.skipped
        and isinstance(report.longrepr, tuple)
        and report.longrepr[2].startswith(f"Skipped: {NOT_OBSERVABLE}")
    )


def _rules_of(reports: list[pytest.TestReport]) -> list[str]:
    named = {value for each in reports for name, value in each.user_properties if name == "rule"}
    return [rule.id for rule in rules if rule.id in named]
