"""`tdpostback validate`: what it prints about the events in a file, and what it returns."""

from __future__ import annotations

import io
import json
import sys
import time

import pytest

from pytest_tdpostback.cli import main


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
