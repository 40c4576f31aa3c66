"""`tdpostback rules`: the rules as text and as JSON."""

from __future__ import annotations

import json

import pytest

from pytest_tdpostback import rules
from pytest_tdpostback.cli import main


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


@pytest.mark.parametrize(
    ("rule", "held"),
    [
        ("W1", "all of the Postback API"),
        ("P1", "openapi-1.0.0, article-2015"),
        ("I1", "ingestion-v1"),
    ],
)
def test_a_rule_of_every_postback_profile_does_not_list_them(capsys, rule, held):
    assert main(["rules", rule]) == 0
    assert f"\nProfiles: {held}\n" in capsys.readouterr().out


def test_rules_with_an_id_as_json_prints_one_object(capsys):
    assert main(["rules", "A6", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["advice"] == rules["A6"].advice
