"""What is released holds what it has to, and works where nothing else is installed."""

from __future__ import annotations

import email
import re
import tarfile
import zipfile

import pytest

import pytest_tdpostback
from tests.checkout import ROOT, run

pytestmark = pytest.mark.once

PACKAGE = "pytest_tdpostback"
DEPENDENCIES = {"httptools", "jsonschema", "pluggy", "pytest", "pytest-httpserver", "werkzeug"}


@pytest.fixture(scope="module")
def names(wheel):
    return set(zipfile.ZipFile(wheel).namelist())


@pytest.fixture(scope="module")
def metadata(wheel):
    archive = zipfile.ZipFile(wheel)
    (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
    return email.message_from_bytes(archive.read(name))


def test_wheel_holds_the_whole_package_and_nothing_else(names):
    package = {
        path.relative_to(ROOT).as_posix()
        for path in ROOT.joinpath(PACKAGE).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    info = f"{PACKAGE}-{pytest_tdpostback.__version__}.dist-info"
    assert names - package == {
        f"{info}/{name}"
        for name in ("METADATA", "RECORD", "WHEEL", "entry_points.txt", "licenses/LICENSE")
    }
    assert package <= names


def test_wheel_holds_the_types_and_the_schemas(names):
    assert f"{PACKAGE}/py.typed" in names
    for schema in ("body", "event", "record", "request", "response"):
        assert f"{PACKAGE}/schemas/{schema}.json" in names


def test_sdist_holds_what_its_own_tests_need(sdist):
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert names >= {"README.md", "LICENSE", "CHANGELOG.md", "tox.ini", "tests/conftest.py"}
    assert not [name for name in names if "__pycache__" in name or name.startswith(".tox")]


def test_metadata_says_what_it_is(metadata):
    assert metadata["Name"] == "pytest-tdpostback"
    assert metadata["Version"] == pytest_tdpostback.__version__
    assert metadata["License-Expression"] == "MIT"
    assert metadata["Requires-Python"] == ">=3.11"
    assert {"Framework :: Pytest", "Typing :: Typed"} <= set(metadata.get_all("Classifier"))


def test_metadata_asks_for_the_declared_dependencies_without_upper_bounds(metadata):
    required = [line for line in metadata.get_all("Requires-Dist") if "extra ==" not in line]
    assert {re.split("[<>=]", line)[0] for line in required} == DEPENDENCIES
    assert not [line for line in required if "<" in line or "==" in line]


def test_every_module_imports_with_the_declared_dependencies_alone(scripts, tmp_path):
    code = f"""
import importlib, pkgutil, {PACKAGE}
for module in pkgutil.walk_packages({PACKAGE}.__path__, "{PACKAGE}."):
    if not module.name.endswith("__main__"):
        importlib.import_module(module.name)
"""
    run(scripts / "python", "-W", "error", "-c", code, cwd=tmp_path)


def test_pytest_finds_the_plugin_and_its_fixtures(scripts, tmp_path):
    output = run(scripts / "pytest", "--trace-config", "--fixtures", cwd=tmp_path)
    assert re.search(rf"\btdpostback *: .*{PACKAGE}", output)
    for fixture in ("tdpostback", "tdpostback_server", "make_tdpostback"):
        assert re.search(rf"^{fixture}\b", output, re.MULTILINE)


def test_downstream_test_needs_nothing_more(scripts, tmp_path):
    tmp_path.joinpath("test_downstream.py").write_text(
        """
from urllib.request import Request, urlopen

def test_event(tdpostback):
    headers = {"X-TD-Write-Key": tdpostback.write_key, "Content-Type": "application/json"}
    urlopen(Request(tdpostback.event_url("db", "t"), b'{"n": 1}', headers)).close()
    tdpostback.assert_ingested("db", "t", n=1)
"""
    )
    assert "1 passed" in run(scripts / "pytest", cwd=tmp_path)


def test_command_is_there(scripts, tmp_path):
    assert "schema" in run(scripts / "tdpostback", "--help", cwd=tmp_path)
