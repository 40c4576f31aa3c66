"""The JSON Schemas and OpenAPI documents that are shipped as files."""

from __future__ import annotations

import json
from importlib.resources import files
from typing import Any, Literal, get_args

from ..errors import ConfigurationError
from .profiles import profiles

SchemaName = Literal["request", "body", "record", "response", "event"]
NAMES: tuple[SchemaName, ...] = get_args(SchemaName)


def load_schema(name: SchemaName) -> dict[str, Any]:
    """The JSON Schema `name` (draft 2020-12): `request`, `body`, `record`, `response` or `event`.

    Raises `ConfigurationError` for another name.
    """
    return _shipped("schema", name, NAMES, f"{name}.json")


def load_openapi(profile: str) -> dict[str, Any]:
    """The OpenAPI 3.1 document of the profile called `profile`.

    Raises `ConfigurationError` for another name.
    """
    names = tuple(row.name for row in profiles)
    return _shipped("profile", profile, names, f"openapi-{profile}.json")


def _shipped(kind: str, name: str, names: tuple[str, ...], file: str) -> dict[str, Any]:
    if name not in names:
        raise ConfigurationError(f"no {kind} {name!r}; {kind}s: {', '.join(names)}")
    text = (files("pytest_tdpostback") / "schemas" / file).read_text("utf-8")
    document: dict[str, Any] = json.loads(text)
    return document
