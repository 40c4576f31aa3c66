"""Records against a user's JSON Schema."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from jsonschema import SchemaError
from jsonschema.validators import validator_for

from ..errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from .event import Record


def violations(schema: Mapping[str, Any] | bool, records: Iterable[Record]) -> list[str]:
    """A line for each place where a record does not satisfy `schema`; empty where all do.

    Raises `ConfigurationError` where `schema` is no JSON Schema.
    """
    from jsonschema import Draft202012Validator, FormatChecker

    kind = validator_for(schema, default=Draft202012Validator)
    try:
        kind.check_schema(schema)
    except SchemaError as error:
        raise ConfigurationError(f"not a JSON Schema: {error.message}") from None
    validator = kind(schema, format_checker=FormatChecker())
    return [
        f"record of event #{record.event.seq} in {record.database}.{record.table}: "
        f"{'/'.join(map(str, error.absolute_path)) or 'the record'}: {error.message}"
        for record in records
        for error in validator.iter_errors(dict(record))
    ]
