"""How pytest runs the contract check: the target, rule ids in the output, the summary."""

from __future__ import annotations

import ipaddress
import uuid
import warnings
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest

import pytest_tdpostback
from pytest_tdpostback.conformance.catalogue import check_of
from pytest_tdpostback.conformance.inspection import InspectionClient
from pytest_tdpostback.conformance.target import MOST_REQUESTS, Endpoint
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
    """Refuse options that do not fit, and deselect the checks that other profiles need."""
    if not any(map(_check, items)):
        return
    _refuse_wrong_options(config)
    profile = _profile(config)
    for item in filter(_check, items):
        # A redirect, which a setting may ask for, would lead the checks to a fake server.
        item.add_marker(pytest.mark.tdpostback(redirect=False, block_network=False))
    foreign = [item for item in items if (c := _check(item)) and not c.runs_for(profile)]
    if foreign:
        config.hook.pytest_deselected(items=foreign)
        items[:] = [item for item in items if item not in foreign]


def pytest_report_collectionfinish(config: pytest.Config, items: list[pytest.Item]) -> list[str]:
    """Print what will be sent, and to which target, before the first request."""
    checks = [check for item in items if (check := _check(item))]
    if not checks:
        return []
    profile = _profile(config)
    where = config.getoption("--tdpostback-target") or "a fake server"
    route = ".".join(config.getoption(f"--tdpostback-{name}") for name in ("database", "table"))
    proved = len({check.rule for check in checks})
    spoken = {profile.name, (profile.postback or profile).name}
    absent = [rule.id for rule in rules if spoken.isdisjoint(rule.profiles)]
    counted = f"{len(checks)} check{'s' * (len(checks) != 1)} of {proved} rule{'s' * (proved != 1)}"
    return [
        f"contract check: {where} as {profile}",
        f"{counted}, with at most {MOST_REQUESTS} requests to {route}",
        f"not in {profile}: {' '.join(absent)}",
    ]


def pytest_report_teststatus(
    report: pytest.TestReport | pytest.CollectReport,
) -> tuple[str, str, str] | None:
    """Show a check that sees nothing as not observable: neither passed nor merely skipped."""
    if isinstance(report, pytest.TestReport) and _unseen(report):
        return NOT_OBSERVABLE, "o", NOT_OBSERVABLE.upper()
    return None


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Name the rules that could not be observed."""
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
    """Put the rule of a check into the junit report, whatever its family.

    `record_property` warns about the newer family, and a project may turn warnings into errors.
    """
    request.node.user_properties.append(("rule", rule))


@pytest.fixture(scope="session")
def target(request: pytest.FixtureRequest) -> Iterator[Endpoint]:
    """The endpoint that is checked; if no option names one, a fake server of this run."""
    option = request.config.getoption
    profile = _profile(request.config)
    place = option("--tdpostback-database"), option("--tdpostback-table")
    run = uuid.uuid4().hex
    url, key = option("--tdpostback-target"), option("--tdpostback-key")
    if url:
        named = Endpoint(url.rstrip("/"), WriteKey(key), *place, profile, run)
        _refuse_unreachable(named)
        yield named
        return
    server = pytest_tdpostback.PostbackServer(
        profile=profile, write_keys=[OWN_KEY], inspection=True, on_auth_failure="ignore"
    )
    with server:
        yield Endpoint(server.url, WriteKey(OWN_KEY), *place, profile, run)
        with warnings.catch_warnings():  # checks provoke findings
            warnings.simplefilter("ignore", pytest_tdpostback.PostbackWarning)
            server.check()


@pytest.fixture(scope="session")
def _offered(target: Endpoint) -> InspectionClient | None:
    if target.known_service or not InspectionClient.offered(target.url):
        return None
    return InspectionClient(target.url)


@pytest.fixture
def inspection(_offered: InspectionClient | None) -> Iterator[InspectionClient]:
    """A client of the target's inspection interface; skips the check if there is none."""
    if _offered is None:
        pytest.skip(f"{NOT_OBSERVABLE}: the target does not offer the inspection interface")
    _offered.begin()
    yield _offered
    _offered.restore()


@pytest.fixture
def own_connection(target: Endpoint) -> None:
    """Skips the check if another server stands in front of the target and owns the connection."""
    proxy_server = target.proxy_server()
    if proxy_server:
        pytest.skip(f"{NOT_OBSERVABLE}: the connection belongs to {proxy_server}")


def _refuse_wrong_options(config: pytest.Config) -> None:
    url, key = config.getoption("--tdpostback-target"), config.getoption("--tdpostback-key")
    if bool(url) != bool(key):
        message = "give --tdpostback-target and --tdpostback-key, or neither to check a fake server"
        raise pytest.UsageError(message)
    if url and not (urlsplit(url).scheme in ("http", "https") and urlsplit(url).hostname):
        raise pytest.UsageError(f"--tdpostback-target {url!r}: give http://host or https://host")
    in_clear = url and urlsplit(url).scheme == "http"
    if in_clear and not (
        _is_loopback(urlsplit(url).hostname or "") or config.getoption("--tdpostback-allow-http")
    ):
        raise pytest.UsageError(
            f"--tdpostback-target {url}: the write key would travel without encryption; give an "
            "https:// URL, or add --tdpostback-allow-http"
        )
    for option in ("--tdpostback-database", "--tdpostback-table"):
        name = config.getoption(option)
        if not NAME.match(name):
            raise pytest.UsageError(f"{option} {name!r}: give ASCII letters, digits and _")


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.rstrip(".").lower() == "localhost"


def _refuse_unreachable(target: Endpoint) -> None:
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
