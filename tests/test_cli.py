"""The command in this process: what it prints, what it returns, and what it says of a mistake."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

import pytest_tdpostback
from pytest_tdpostback import load_schema, profiles
from pytest_tdpostback.cli import main
from pytest_tdpostback.protocol.schemas import NAMES, load_openapi


def test_version_prints_the_version_of_the_package(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["--version"])
    assert ended.value.code == 0
    assert capsys.readouterr().out == f"tdpostback {pytest_tdpostback.__version__}\n"


@pytest.mark.parametrize("name", NAMES)
def test_schema_prints_the_shipped_schema(name, capsys):
    assert main(["schema", name]) == 0
    assert json.loads(capsys.readouterr().out) == load_schema(name)


@pytest.mark.parametrize("profile", [row.name for row in profiles])
def test_openapi_prints_the_document_of_a_profile(profile, capsys):
    assert main(["openapi", "--profile", profile]) == 0
    assert json.loads(capsys.readouterr().out) == load_openapi(profile)


def test_openapi_without_a_profile_prints_the_default(capsys):
    assert main(["openapi"]) == 0
    assert json.loads(capsys.readouterr().out) == load_openapi("openapi-1.0.0")


def test_validate_help_speaks_of_no_request(capsys):
    with pytest.raises(SystemExit):
        main(["validate", "--help"])
    text = " ".join(capsys.readouterr().out.split())
    assert "(default: openapi-1.0.0)" in text
    assert "host" not in text


MISTAKES = [
    (["rules", "a5"], "'a5' is unknown; did you mean A5?"),
    (["rules", "ZZ"], "'ZZ' is unknown; `tdpostback rules` lists all"),
    (["validate", "nowhere.jsonl"], "cannot read nowhere.jsonl: No such file or directory; give "),
    (["validate", "-", "--profile=x"], "profile='x' is not valid; give one of openapi-1.0.0, art"),
    (["serve", "--write-key=abc"], "give account/secret"),
    (["serve", "--write-key=1/\udcffabc", "--inspection"], "give account/secret"),
    (["serve", "--validation-delay=soon"], "validation_delay='soon' is not valid; give a number"),
    (["serve", "--host=0.0.0.0"], "can be reached from other machines; if that is what you want"),
]


@pytest.mark.parametrize(("argv", "text"), MISTAKES)
def test_mistake_is_told_with_what_to_do_next(argv, text, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(argv) == 2
    out, err = capsys.readouterr()
    assert err.startswith(f"tdpostback {argv[0]}: ")
    assert text in err
    assert not out


UNKNOWN = [
    ([], "required: COMMAND"),
    (["schema", "bdy"], "request"),
    (["openapi", "--profile=v3"], "v2-2.0.0"),
    (["serve", "--port=99999"], "'99999' is not a port; give 0 (a free one) to 65535"),
    (["serve", "--on-auth-failure=fail"], "unrecognized arguments"),
    (["serve", "--value-types=text"], "string"),
]


@pytest.mark.parametrize(("argv", "text"), UNKNOWN)
def test_what_cannot_be_understood_exits_with_2(argv, text, capsys):
    with pytest.raises(SystemExit) as left:
        main(argv)
    assert left.value.code == 2
    assert text in capsys.readouterr().err


def test_help_names_every_command(capsys):
    with pytest.raises(SystemExit) as left:
        main(["--help"])
    assert left.value.code == 0
    text = capsys.readouterr().out
    for command in ("rules", "schema", "openapi", "validate", "serve", "pytest_tdpostback.conform"):
        assert command in text


@pytest.mark.once
def test_reader_that_has_seen_enough_is_no_error():
    reader, writer = os.pipe()
    os.close(reader)
    program = [sys.executable, "-m", "pytest_tdpostback.cli", "rules"]
    done = subprocess.run(program, stdout=writer, stderr=subprocess.PIPE, check=False, timeout=60)
    os.close(writer)
    assert (done.returncode, done.stderr) == (1, b"")


@pytest.mark.once
def test_light_commands_load_no_server():
    code = (
        "import sys; from pytest_tdpostback.cli import main; main(['schema', 'body']); "
        "print(sorted({'asyncio', 'httptools', 'pytest', 'werkzeug'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, check=True, timeout=60
    )
    assert done.stdout.splitlines()[-1] == "[]"
