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
    if name not in NAMES:
        raise ConfigurationError(f"no schema {name!r}; schemas: {', '.join(NAMES)}")
    return _shipped(f"{name}.json")


def load_openapi(profile: str) -> dict[str, Any]:
    """The OpenAPI 3.1 document of the profile called `profile`.

    Raises `ConfigurationError` for another name.
    """
    names = [row.name for row in profiles]
    if profile not in names:
        raise ConfigurationError(f"no profile {profile!r}; profiles: {', '.join(names)}")
    return _shipped(f"openapi-{profile}.json")


def _shipped(name: str) -> dict[str, Any]:
    text = (files("pytest_tdpostback") / "schemas" / name).read_text("utf-8")
    document: dict[str, Any] = json.loads(text)
    return document
