"""Records against the JSON Schema of a test."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from jsonschema import Draft202012Validator, FormatChecker, SchemaError
from jsonschema.validators import validator_for

from ..errors import ConfigurationError
from . import formatting

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..collector.events import Event, Record


def violations(
    schema: Mapping[str, Any] | bool,  # noqa: FBT001 - `false` is a schema too
    records: Sequence[Record],
) -> list[tuple[Event, str]]:
    """Each place where a record does not satisfy `schema`: its event, and what is wrong.

    The draft is that of `$schema`, else 2020-12. A `format` counts.

    Raises:
        ConfigurationError: `schema` is not a JSON Schema.
    """
    __tracebackhide__ = True
    if not isinstance(schema, (Mapping, bool)):
        raise ConfigurationError(
            f"not a JSON Schema: {formatting.value(schema)}; "
            "give a mapping, like load_schema('record')"
        )
    plain: Any = dict(schema) if isinstance(schema, Mapping) else schema
    validator_class = validator_for(plain, default=Draft202012Validator)
    try:
        validator_class.check_schema(plain)
    except SchemaError as error:
        raise ConfigurationError(f"not a JSON Schema: {error.message}") from None
    validator = validator_class(plain, format_checker=FormatChecker())
    return [
        (record.event, formatting.shortened(f"{error.json_path}: {error.message}", 300))
        for record in records
        for error in validator.iter_errors(dict(record))
    ]
