"""The catalogue of rules is complete, well formed and easy to look things up in."""

from __future__ import annotations

import re

import pytest

from pytest_tdpostback.protocol.catalogue import Catalogue
from pytest_tdpostback.protocol.rules import Basis, Rule, Source, rules, sources

IDS = """
    R1 R2 R3 R4 R5 R6 R7 R8
    A1 A2 A3 A4 A5 A6 A7 A8 A9 A10
    B1 B2 B3 B4 B5 B6 B7 B8 B9 B10 B11
    V1 V2 V3
    T1 T2 T3 T4 T5 T6 T7
    C1 C2 C3
    W1 W2 W3 W4
    Y1 Y2 Y3 Y4 Y5
    P1 P2 P3 P4 P5 P6 P7 P8 P9 P10
    I1 I2 I3 I4 I5 I6 I7 I8 I9 I10 I11 I12 I13 I14 I15 I16 I17 I18 I19 I20 I21 I22 I23
""".split()  # noqa: SIM905 - one group of the page on each line
PROFILES = ["openapi-1.0.0", "article-2015", "v2-2.0.0"]
SOURCES = ["S0", "S1", "QS", "V2", "DI", "JS", "AND", "IOS", "PX", "NM", "LM", "A21", "REPORT"]

# The rules that do not hold in every profile, and where they do.
LIMITED = {
    **dict.fromkeys(
        ["A2", "A3", "A8", "B9", "P1", "P2", "P3", "P4", "P5", "P6", "P7", "P8"],
        ("openapi-1.0.0", "article-2015"),
    ),
    **dict.fromkeys(["A5", "Y3"], ("openapi-1.0.0", "v2-2.0.0")),
    "A6": ("article-2015",),
    "A9": ("v2-2.0.0",),
    "A10": ("v2-2.0.0",),
    **{f"I{number}": ("ingestion-v1",) for number in range(1, 24)},
}

STATUSES = {
    **dict.fromkeys(["R2", "B1", "B2", "B3", "B4", "B7", "B8"], 400),
    **dict.fromkeys(["A4", "A6"], 403),
    **dict.fromkeys(["A5", "W1", "P4", "P6"], 200),
    "R4": 405,
    "R5": 204,
    "R6": 404,
    "B6": 413,
    "P5": 302,
    **dict.fromkeys(["I5", "I11"], 400),
    **dict.fromkeys(["I7", "I8"], 422),
    **dict.fromkeys(["I12", "I20"], 200),
    "I9": 413,
    "I13": 206,
    "I21": 204,
    "I23": 404,
}

each_rule = pytest.mark.parametrize("rule", rules, ids=lambda rule: rule.id)


def test_every_rule_is_present_once_in_page_order() -> None:
    assert [rule.id for rule in rules] == IDS


def test_profiles_of_rules() -> None:
    expected = {rule_id: LIMITED.get(rule_id, tuple(PROFILES)) for rule_id in IDS}
    assert {rule.id: rule.profiles for rule in rules} == expected


def test_statuses_of_rules() -> None:
    assert {rule.id: rule.status for rule in rules if rule.status is not None} == STATUSES


def test_rules_in_conflict_are_those_with_two_selectable_readings() -> None:
    conflicts = [rule.id for rule in rules if rule.basis is Basis.CONFLICT]
    assert conflicts == ["B10", "V2", "V3", "T3"]


@pytest.mark.parametrize(
    ("rule_id", "setting", "values"),
    [
        ("V2", "value_types", ["json", "string"]),
        ("V3", "value_types", ["json", "string"]),
        ("T3", "stale_time", ["receipt", "drop"]),
        ("B10", "url_parameters", ["ignore", "store"]),
        ("A7", "malformed_key", ["async", "refuse"]),
        ("Y3", "on_auth_failure", ["fail", "ignore"]),
        ("Y5", "validation_delay", []),
        ("B6", "max_body", []),
        ("W4", "explain", []),
        ("I17", "deduplicate", []),
        ("I18", "value_types", []),
    ],
)
def test_setting_is_named_by_its_rule(rule_id: str, setting: str, values: list[str]) -> None:
    literals = re.findall(r"`([^`]*)`", rules[rule_id].statement + rules[rule_id].note)
    assert {setting, *values} <= {*literals}


@each_rule
def test_texts_are_plain_sentences(rule: Rule) -> None:
    for text in filter(None, [rule.statement, rule.note, rule.advice]):
        assert text.isascii()
        assert text.isprintable()
        assert text[0].isupper() or text[0] == "`"
        assert text.endswith(".")
        assert text.count("`") % 2 == 0
        assert "  " not in text
        assert not re.search(r"[,;:.][A-Za-z]", re.sub(r"`[^`]*`", "", text))


@each_rule
def test_statement_is_one_or_two_sentences(rule: Rule) -> None:
    assert 1 <= len(re.findall(r"\.(?= |$)", re.sub(r"`[^`]*`", "", rule.statement))) <= 2


@each_rule
def test_rules_named_in_texts_exist(rule: Rule) -> None:
    literals_removed = re.sub(r"`[^`]*`", "", f"{rule.statement} {rule.note} {rule.advice}")
    named = {*re.findall(r"\b[A-Z]{1,2}\d+\b", literals_removed)}
    assert named <= {*IDS, *SOURCES}


@each_rule
def test_sources_fit_the_basis(rule: Rule) -> None:
    assert all(source in sources for source in rule.sources)
    assert len({*rule.sources}) == len(rule.sources)
    if rule.basis is Basis.INFERRED:
        assert not rule.sources
    elif rule.basis is Basis.OBSERVED:
        assert rule.sources or rule.note
    else:
        assert rule.sources


def test_every_source_is_cited() -> None:
    assert {source for rule in rules for source in rule.sources} == {*SOURCES}


def test_sources() -> None:
    assert [source.id for source in sources] == SOURCES
    for source in sources:
        assert source.title
        assert re.fullmatch(r"https://[a-z.-]+/[\x21-\x7e]+", source.url)


def test_sections_in_page_order() -> None:
    assert list(dict.fromkeys(rule.section for rule in rules)) == [
        "Route",
        "Authentication",
        "Body",
        "Record",
        "Response",
        "After the response",
        "Tracking pixel",
        "Data Ingestion API",
    ]
    assert {rules[name].section for name in ("V1", "T1", "C1")} == {"Record"}


@pytest.mark.parametrize("basis", Basis, ids=str)
def test_basis_is_shown_as_its_bare_value(basis: Basis) -> None:
    assert str(basis) == f"{basis}" == basis.value == basis.name.lower()


def test_rows_cannot_be_changed() -> None:
    with pytest.raises(AttributeError):
        rules["A5"].status = 403  # type: ignore[misc]


def test_every_rule_says_what_to_do() -> None:
    assert [rule.id for rule in rules if not rule.advice] == []


def test_catalogue_gives_rows_in_order_and_by_key() -> None:
    assert [rule.id for rule in rules] == IDS
    assert len(rules) == len(IDS) == 84
    assert [rules[name] for name in IDS] == list(rules)


def test_catalogue_contains_keys() -> None:
    assert "A5" in rules
    assert "a5" not in rules
    assert None not in rules


@pytest.mark.parametrize(
    ("wrong", "nearest"), [("A55", "A5"), ("a10", "A10"), ("b-9", "B9"), ("Y11", "Y1")]
)
def test_unknown_key_asks_for_the_nearest(wrong: str, nearest: str) -> None:
    with pytest.raises(KeyError) as caught:
        rules[wrong]
    assert caught.value.args == (f"{wrong!r} is unknown; did you mean {nearest}?",)


def test_catalogue_refuses_duplicate_keys() -> None:
    twins = [Source("S0", "one", "https://one.test/"), Source("S0", "two", "https://two.test/")]
    with pytest.raises(ValueError, match="two rows have the key 'S0'"):
        Catalogue(twins)


def test_catalogue_shows_its_keys() -> None:
    row = Source("S0", "one", "https://one.test/")
    assert repr(Catalogue([row])) == "<Catalogue: S0>"


def test_unknown_key_that_is_like_none_says_where_all_are_listed() -> None:
    with pytest.raises(KeyError, match="'ZZ' is unknown; `tdpostback rules` lists all"):
        rules["ZZ"]
