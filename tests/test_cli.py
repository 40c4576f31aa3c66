"""The command in this process: what it prints, what it returns, and what it says of a mistake."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import time

import pytest

import pytest_tdpostback
from pytest_tdpostback import load_schema, profiles, rules
from pytest_tdpostback.cli import main
from pytest_tdpostback.protocol.schemas import NAMES, load_openapi


def test_version_prints_the_version_of_the_package(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["--version"])
    assert ended.value.code == 0
    assert capsys.readouterr().out == f"tdpostback {pytest_tdpostback.__version__}\n"


def test_rules_prints_every_rule_with_its_basis_and_source(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "100")
    assert main(["rules"]) == 0
    lines = capsys.readouterr().out.splitlines()
    firsts = {line.split()[0]: line for line in lines if line.split() and not line.startswith(" ")}
    assert {rule.id for rule in rules} <= set(firsts)
    assert firsts["R7"].split()[-2:] == ["inferred", "none"]
    assert firsts["B10"].split()[-2:] == ["conflict", "S0"]
    assert "Tracking pixel" in lines
    assert max(map(len, lines[: lines.index("Sources")])) <= 100
    assert "    https://docs.treasure.ai/apis/postback-v2" in lines


def test_rules_as_json_holds_all_that_is_known(capsys):
    assert main(["rules", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [row["id"] for row in rows] == [rule.id for rule in rules]
    a6 = next(row for row in rows if row["id"] == "A6")
    assert a6["basis"] == "documented"
    assert a6["profiles"] == ["article-2015"]
    assert a6["status"] == 403
    assert a6["section"] == "Authentication"
    assert a6["note"] == rules["A6"].note
    assert a6["statement"] == rules["A6"].statement
    assert [source["id"] for source in a6["sources"]] == ["S0", "A21"]
    assert all(source["url"].startswith("https://") for source in a6["sources"])


def test_rules_with_an_id_prints_one_rule_and_what_to_do(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "70")
    assert main(["rules", "A6"]) == 0
    out = capsys.readouterr().out
    text = " ".join(out.split())
    a6 = rules["A6"]
    for part in (a6.statement, f"What to do: {a6.advice}", f"Basis: documented. {a6.note}"):
        assert part in text
    assert "Profiles: article-2015" in text
    assert "https://api-docs.treasuredata.com/pages/postback_api/overview" in out
    assert all(len(line) <= 70 or "http" in line or "Source" in line for line in out.splitlines())


def test_rules_with_an_id_as_json_prints_one_object(capsys):
    assert main(["rules", "A6", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["advice"] == rules["A6"].advice


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


@pytest.fixture
def file(tmp_path):
    def write(*lines):
        path = tmp_path / "events.jsonl"
        path.write_bytes(b"\n".join(lines))
        return str(path)

    return write


def test_validate_tells_every_problem_by_line_and_rule(file, capsys):
    name = file(b'{"a": 1}', b"[]", b"", b'{"Foo": 1, "time": 2}\r', b'{"a": NaN}')
    alias = (
        "finding, C1: column 'Foo' gets an alias: column names are lower-case letters, digits "
        "and _, and don't start with a digit"
    )
    assert main(["validate", name]) == 1
    assert capsys.readouterr().out.splitlines() == [
        f"{name}:2: refused, B3: the top level is an array, not an object",
        f"{name}:3: refused, B4: the body is empty",
        f"{name}:4: finding, T6: the column time is replaced by the time of the record",
        f"{name}:4: {alias}",
        f"{name}:5: refused, B2: NaN is not JSON",
        "5 lines: 2 accepted (1 with findings), 3 not accepted",
    ]


def test_validate_reads_records_and_batches_of_the_data_ingestion_api(file, capsys):
    name = file(b'{"time": "x"}', b'{"events": [{"a": 1}, 5]}', b'{"events": []}', b"[]")
    assert main(["validate", name, "--profile=ingestion-v1"]) == 1
    assert capsys.readouterr().out.splitlines() == [
        f'{name}:1: finding, I15: time is ignored: "x" is not an integer of UNIX seconds',
        f"{name}:2: record 2: refused, I13: the record is a number, not an object",
        f"{name}:3: refused, I8: the batch has 0 records; 1 to 500 are accepted",
        f"{name}:4: refused, I13: the record is an array, not an object",
        "4 lines with 5 records: 2 accepted (1 with findings), 3 not accepted",
    ]


def test_validate_of_a_repeated_uuid_is_no_problem(file, capsys):
    uuid = "0b9c5a4e-3d43-4b67-9d8f-6d0e5f1a2b3c"
    line = json.dumps({"events": [{"uuid": uuid}]}).encode()
    name = file(line, line)
    assert main(["validate", name, "--profile=ingestion-v1"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        f"{name}:2: record 1: deduplicated, I17: the uuid {uuid} was stored in the last hour",
        "2 lines: 1 accepted (0 with findings), 1 deduplicated, 0 not accepted",
    ]


def test_validate_of_good_lines_returns_0(file, capsys):
    assert main(["validate", file(b'{"a": 1}', b'{"b": 2}', b"")]) == 0
    assert capsys.readouterr().out == "2 lines: 2 accepted (0 with findings), 0 not accepted\n"


def test_validate_of_one_line_says_line(file, capsys):
    assert main(["validate", file(b'{"a": 1}')]) == 0
    assert capsys.readouterr().out == "1 line: 1 accepted (0 with findings), 0 not accepted\n"


def test_validate_help_speaks_of_no_request(capsys):
    with pytest.raises(SystemExit):
        main(["validate", "--help"])
    text = " ".join(capsys.readouterr().out.split())
    assert "(default: openapi-1.0.0)" in text
    assert "host" not in text


def test_validate_prints_one_line_for_each_problem_whatever_a_name_holds(file, capsys):
    assert main(["validate", file(rb'{"\n\u001b[2Jforged\u202e": 1}')]) == 0
    out = capsys.readouterr().out
    assert len(out.splitlines()) == 2
    assert "\x1b" not in out
    assert "\u202e" not in out


def test_validate_of_nothing_says_so(file, capsys):
    assert main(["validate", file()]) == 0
    assert capsys.readouterr().out == "0 lines: 0 accepted (0 with findings), 0 not accepted\n"


def test_validate_reads_standard_input(monkeypatch, capsys):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b'{"a": 1}\n1\n')))
    assert main(["validate", "-"]) == 1
    assert capsys.readouterr().out.startswith("-:2: refused, B3: the top level is a number")


def test_validate_judges_as_its_options_say(file, capsys):
    stale = b'{"td_record_time": %d}' % (time.time() - 30 * 86_400)
    assert main(["validate", file(stale)]) == 0
    assert main(["validate", file(stale), "--stale-time=drop"]) == 1
    assert "rejected, T3: td_record_time" in capsys.readouterr().out


def test_validate_holds_a_profile_to_its_limit(file, capsys):
    large = file(b'{"a": "' + b"x" * 1_048_064 + b'"}')
    assert main(["validate", large]) == 0
    assert main(["validate", large, "--profile=v2-2.0.0"]) == 1
    assert "refused, B6: the body has 1048073 bytes" in capsys.readouterr().out


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
