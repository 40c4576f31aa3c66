"""The command `tdpostback`: prints rules and schemas, judges events in a file, runs the server."""

from __future__ import annotations

import argparse
import io
import json
import os
import sys
from typing import TYPE_CHECKING, Any

from . import __version__
from .errors import ConfigurationError
from .protocol.profiles import DEFAULT, profiles
from .protocol.schemas import NAMES, load_openapi, load_schema
from .protocol.settings import SETTINGS

if TYPE_CHECKING:
    from collections.abc import Sequence

PROFILES = [profile.name for profile in profiles]


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command with `argv` (default: that of the process) and return its exit status.

    0 is success, 1 a problem that was found, 2 a wrong argument, explained on stderr. Raises
    `SystemExit` if `argv` asks for help or cannot be understood.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    arguments = vars(_parser().parse_args(argv))
    command, status = arguments.pop("command"), 0
    try:
        if command == "serve":
            from .inspector.serve import serve

            status = serve(**arguments)
        elif command == "validate":
            from .recording.validate import validate

            status = validate(**arguments)
        elif command == "rules":
            from .inspector.rule_listing import print_rules

            print_rules(**arguments)
        else:
            document = load_schema if command == "schema" else load_openapi
            print(json.dumps(document(**arguments), indent=2))
        sys.stdout.flush()
    except ConfigurationError as error:
        print(f"tdpostback {command}: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:  # the reader of the output has stopped reading
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    return status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="tdpostback",
        description="What is known of the Postback API, and a fake server of it for programs in "
        "any language. To check any endpoint against the rules: pytest --pyargs "
        "pytest_tdpostback.conformance --tdpostback-target URL --tdpostback-key KEY",
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def command(name: str, text: str) -> argparse.ArgumentParser:
        return commands.add_parser(name, help=text, description=f"{text[0].upper()}{text[1:]}.")

    listing = command("rules", "print the rules, or one rule and what to do about it")
    listing.add_argument("rule", metavar="ID", nargs="?", help="one rule, such as A5")
    listing.add_argument("--json", action="store_true", dest="as_json", help="print them as JSON")
    schema = command("schema", "print a JSON Schema (draft 2020-12)")
    schema.add_argument("name", metavar="NAME", choices=NAMES, help=f"one of {', '.join(NAMES)}")
    document = command("openapi", "print the OpenAPI 3.1 document of a profile")
    text = f"one of {', '.join(PROFILES)} (default: %(default)s)"
    document.add_argument(
        "--profile", metavar="NAME", choices=PROFILES, default=DEFAULT.name, help=text
    )
    text = "judge the events in a file, one JSON body in each line, by the rules"
    validate = command("validate", text)
    validate.add_argument("file", metavar="FILE.jsonl", help="the file, - for standard input")
    # There is no request whose host could decide.
    text = f"documents to imitate: {', '.join(PROFILES)} (default: {DEFAULT.name})"
    _add_settings(validate, ("profile", "value_types", "stale_time"), profile=text)
    serve = command("serve", "run the fake server until Ctrl-C, and print what happens")
    flag: dict[str, Any] = {"action": "store_true"}
    keys = {"action": "append", "default": [], "dest": "write_keys", "metavar": "ACCOUNT/SECRET"}
    for option, how, text in (
        ("--host", {"default": "127.0.0.1"}, "address (default: %(default)s)"),
        ("--port", {"type": _port, "default": 0}, "port (default: a free one)"),
        ("--expose", flag, "allow a host that can be reached from outside this machine"),
        ("--write-key", keys, "a valid write key; may be repeated (default: a new one is printed)"),
        ("--inspection", flag, "offer the inspection interface below /.tdpostback/"),
    ):
        serve.add_argument(option, help=text, **how)
    # What has no rule is about tests, and so is `on_auth_failure`.
    ruled = [name for name, row in SETTINGS.items() if row.rule]
    _add_settings(serve, [name for name in ruled if name != "on_auth_failure"])
    return parser


def _port(text: str) -> int:
    if text.isdecimal() and int(text[:9]) <= 65535:
        return int(text[:9])
    raise argparse.ArgumentTypeError(f"{text!r} is not a port; give 0 (a free one) to 65535")


def _add_settings(parser: argparse.ArgumentParser, names: Sequence[str], **help_texts: str) -> None:
    """Add an option for each of the settings; one that is not given is not in the arguments."""
    for name in names:
        row = SETTINGS[name]
        default = f" (default: {row.default})" if row.default else ""
        how: dict[str, Any] = {"metavar": name.rpartition("_")[2].upper()}
        if row.default is False:
            how = {"action": "store_true"}
        elif row.choices:
            how = {"choices": row.choices}
        parser.add_argument(
            f"--{name.replace('_', '-')}",
            default=argparse.SUPPRESS,
            help=help_texts.get(name, row.help) + default,
            **how,
        )


if __name__ == "__main__":
    sys.exit(main())
