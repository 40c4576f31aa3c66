"""Write the shipped schemas and OpenAPI documents again: `python -m tests.schemas.regenerate`."""

from __future__ import annotations

import json

from pytest_tdpostback.protocol.openapi import openapi
from pytest_tdpostback.protocol.profiles import profiles
from pytest_tdpostback.protocol.schema_rows import schemas
from tests.checkout import ROOT

FOLDER = ROOT / "pytest_tdpostback" / "schemas"


def texts():
    """Give the text of each file by its name, as the rules imply it."""
    made = {f"{name}.json": schema for name, schema in schemas().items()}
    made |= {f"openapi-{row.name}.json": openapi(row) for row in profiles}
    return {name: json.dumps(each, indent=2) + "\n" for name, each in made.items()}


if __name__ == "__main__":
    for name, text in texts().items():
        FOLDER.joinpath(name).write_text(text, "utf-8")
