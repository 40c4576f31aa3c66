"""Records against a user's JSON Schema."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from jsonschema import Draft202012Validator, FormatChecker, SchemaError
from jsonschema.validators import validator_for

from ..errors import ConfigurationError
from ..protocol.secrets import without_keys

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..collector.events import Record

NOTHING = (
    "no record to hold against the schema: nothing was ingested there; "
    "assert_nothing_ingested() is for a test that wants that"
)


def violations(
    schema: Mapping[str, Any] | bool,  # noqa: FBT001 - `false` is a schema too
    records: Sequence[Record],
) -> list[str]:
    """A line for each place where a record does not satisfy `schema`; empty where all do.

    Without a record the only line says so: a schema that nothing was held against shows nothing.
    The draft is that of `$schema`, else 2020-12; a `format` counts. Raises `ConfigurationError`
    where `schema` is no JSON Schema.
    """
    if not isinstance(schema, (Mapping, bool)):
        raise ConfigurationError(
            f"not a JSON Schema: {schema!r}; give a mapping, like load_schema('record')"
        )
    plain: Any = dict(schema) if isinstance(schema, Mapping) else schema
    kind = validator_for(plain, default=Draft202012Validator)
    try:
        kind.check_schema(plain)
    except SchemaError as error:
        raise ConfigurationError(f"not a JSON Schema: {error.message}") from None
    validator = kind(plain, format_checker=FormatChecker())
    wrong = [
        f"record of event #{record.event.seq} in {record.database}.{record.table}: "
        + without_keys(f"{error.json_path}: {error.message}")
        for record in records
        for error in validator.iter_errors(dict(record))
    ]
    return wrong if records else [NOTHING]
