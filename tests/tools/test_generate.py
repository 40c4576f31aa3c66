"""The files that are shipped: complete, valid, and what the rules imply."""

from __future__ import annotations

import json
import re

import pytest
from jsonschema import Draft202012Validator

from pytest_tdpostback import ConfigurationError, EventState, load_schema, profiles, rules
from pytest_tdpostback.protocol.schemas import NAMES, load_openapi
from tools.generate import FOLDER, texts
from tools.json_schemas import STATES


def test_files_are_what_the_rules_imply():
    shipped = {path.name: path.read_text("utf-8") for path in FOLDER.iterdir()}
    assert shipped == texts(), "run: python -m tools.generate"


@pytest.mark.parametrize("name", NAMES)
def test_schema_is_valid_names_itself_and_cites_rules(name):
    schema = load_schema(name)
    Draft202012Validator.check_schema(schema)
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert schema["$id"].endswith(f"/schemas/{name}.json")
    assert schema["title"]
    cited = re.findall(r"\b([RABVTCWYPI]\d+):", json.dumps(schema))
    assert cited
    assert set(cited) <= {rule.id for rule in rules}


@pytest.mark.parametrize("name", NAMES)
def test_schema_is_complete_in_itself(name):
    schema = json.dumps(load_schema(name))
    known = set(re.findall(r'"\$id": "([^"]+)"', schema))
    wanted = {ref for ref in re.findall(r'"\$ref": "([^"]+)"', schema) if not ref.startswith("#")}
    assert wanted <= known


@pytest.mark.parametrize("profile", [row.name for row in profiles])
def test_openapi_document_belongs_to_its_profile(profile):
    document = load_openapi(profile)
    assert document["openapi"] == "3.1.0"
    assert profile in document["info"]["title"]
    routes = document["paths"]
    methods = {path: {name.upper() for name in item} for path, item in routes.items()}
    route = "/postback/v3/event/{database}/{table}"
    assert methods.pop(route) == set(profiles[profile].methods)
    if profile == "ingestion-v1":
        assert methods == {"/{database}/{table}": {"POST", "OPTIONS"}, "/": {"GET", "OPTIONS"}}
    else:
        assert methods == {}


def test_states_are_those_of_events():
    assert list(STATES) == [str(state) for state in EventState]


def test_unknown_schema_is_an_error_that_lists_the_known():
    with pytest.raises(ConfigurationError, match="'bdy'; schemas: request, body, record, response"):
        load_schema("bdy")  # type: ignore[arg-type]


def test_unknown_profile_is_an_error_that_lists_the_known():
    with pytest.raises(ConfigurationError, match=r"'v3'; profiles: openapi-1\.0\.0, article-2015"):
        load_openapi("v3")
