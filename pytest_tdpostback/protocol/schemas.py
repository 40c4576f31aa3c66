"""The JSON Schemas that are shipped as files."""

from __future__ import annotations

import json
from importlib.resources import files
from typing import Any

from ..errors import ConfigurationError

NAMES = ("request", "body", "record", "response", "event")


def load_schema(name: str) -> dict[str, Any]:
    """The JSON Schema `name` (draft 2020-12): `request`, `body`, `record`, `response` or `event`.

    Raises `ConfigurationError` for another name.
    """
    if name not in NAMES:
        raise ConfigurationError(f"no schema {name!r}; schemas: {', '.join(NAMES)}")
    text = files("pytest_tdpostback").joinpath("schemas", f"{name}.json").read_text("utf-8")
    schema: dict[str, Any] = json.loads(text)
    return schema
