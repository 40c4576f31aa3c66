"""Writes the shipped schemas, the OpenAPI documents and the fidelity page.

Run `python -m tools.generate` after a change of a rule, profile or check. A test fails until then.
"""

from __future__ import annotations

import json
from pathlib import Path

from pytest_tdpostback.protocol.profiles import profiles
from tools import fidelity_page
from tools.json_schemas import schemas
from tools.openapi_documents import openapi

FOLDER = Path(__file__).parents[1] / "pytest_tdpostback" / "schemas"


def texts() -> dict[str, str]:
    """Return the text of each file in `FOLDER` by its name."""
    documents = {f"{name}.json": schema for name, schema in schemas().items()}
    documents |= {f"openapi-{row.name}.json": openapi(row) for row in profiles}
    return {name: json.dumps(each, indent=2) + "\n" for name, each in documents.items()}


def write() -> None:
    """Write every generated file."""
    for name, text in texts().items():
        FOLDER.joinpath(name).write_text(text, "utf-8")
    fidelity_page.write()


if __name__ == "__main__":
    write()
