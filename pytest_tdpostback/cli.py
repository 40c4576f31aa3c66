"""The command `tdpostback`: prints rules and schemas, judges events in a file, runs the server."""

from __future__ import annotations

import argparse
import io
import itertools
import json
import os
import shutil
import sys
import textwrap
from contextlib import suppress
from dataclasses import fields
from fileinput import FileInput
from functools import partial
from typing import TYPE_CHECKING, Any

from . import __version__
from .errors import ConfigurationError
from .protocol.profiles import DEFAULT, profiles
from .protocol.rules import rules, sources
from .protocol.schemas import NAMES, load_openapi, load_schema
from .protocol.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from .collector.events import Event
    from .protocol.rules import Rule

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
    command, run = arguments.pop("command"), arguments.pop("run")
    try:
        status = run(**arguments)
        sys.stdout.flush()
    except ConfigurationError as error:
        print(f"tdpostback {command}: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:  # the reader of the output has stopped reading
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    return status or 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="tdpostback",
        description="What is known of the Postback API, and a fake server of it for programs in "
        "any language. To check any endpoint against the rules: pytest --pyargs "
        "pytest_tdpostback.conformance --tdpostback-target URL --tdpostback-key KEY",
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def command(name: str, run: Callable[..., int | None], text: str) -> argparse.ArgumentParser:
        made = commands.add_parser(name, help=text, description=f"{text[0].upper()}{text[1:]}.")
        made.set_defaults(run=run)
        return made

    listing = command("rules", _rules, "print the rules, or one rule and what to do about it")
    listing.add_argument("rule", metavar="ID", nargs="?", help="one rule, such as A5")
    listing.add_argument("--json", action="store_true", dest="as_json", help="print them as JSON")
    text = "print a JSON Schema (draft 2020-12)"
    schema = command("schema", lambda name: _print_json(load_schema(name)), text)
    schema.add_argument("name", metavar="NAME", choices=NAMES, help=f"one of {', '.join(NAMES)}")
    text = "print the OpenAPI 3.1 document of a profile"
    document = command("openapi", lambda profile: _print_json(load_openapi(profile)), text)
    text = f"one of {', '.join(PROFILES)} (default: %(default)s)"
    document.add_argument(
        "--profile", metavar="NAME", choices=PROFILES, default=DEFAULT.name, help=text
    )
    text = "judge the events in a file, one JSON body in each line, by the rules"
    validate = command("validate", _validate, text)
    validate.add_argument("file", metavar="FILE.jsonl", help="the file, - for standard input")
    # There is no request whose host could decide.
    text = f"documents to imitate: {', '.join(PROFILES)} (default: {DEFAULT.name})"
    _add_settings(validate, ("profile", "value_types", "stale_time"), profile=text)
    serve = command("serve", _serve, "run the fake server until Ctrl-C, and print what happens")
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
    ruled = [row.name for row in fields(Settings) if row.metadata["rule"]]
    _add_settings(serve, [name for name in ruled if name != "on_auth_failure"])
    return parser


def _port(text: str) -> int:
    if text.isdecimal() and int(text[:9]) <= 65535:
        return int(text[:9])
    raise argparse.ArgumentTypeError(f"{text!r} is not a port; give 0 (a free one) to 65535")


def _add_settings(parser: argparse.ArgumentParser, names: Sequence[str], **help_texts: str) -> None:
    """Add an option for each of the settings; one that is not given is not in the arguments."""
    for row in (row for row in fields(Settings) if row.name in names):
        default = f" (default: {row.default})" if row.default else ""
        how: dict[str, Any] = {"metavar": row.name.rpartition("_")[2].upper()}
        if row.default is False:
            how = {"action": "store_true"}
        elif "choices" in row.metadata:
            how = {"choices": row.metadata["choices"]}
        parser.add_argument(
            f"--{row.name.replace('_', '-')}",
            default=argparse.SUPPRESS,
            help=help_texts.get(row.name, row.metadata["help"]) + default,
            **how,
        )


def _rules(*, rule: str | None, as_json: bool) -> None:
    if rule is not None and rule not in rules:
        raise ConfigurationError(f"{rule!r} is unknown; {rules.hint(rule)}")
    if as_json:
        _print_json(_row(rules[rule]) if rule else [_row(each) for each in rules])
    else:
        print("\n".join(_one_rule(rules[rule]) if rule else _table()))


def _one_rule(rule: Rule) -> Iterator[str]:
    """A rule in paragraphs: what the service does, what to do about it, and how we know."""
    width = max(shutil.get_terminal_size().columns, 40)
    held = "all" if len(rule.profiles) == len(profiles) else ", ".join(rule.profiles)
    yield f"{rule.id} ({rule.section})"
    for text in (
        rule.statement,
        f"What to do: {rule.advice}",
        f"Basis: {rule.basis}. {rule.note}".rstrip(),
        f"Profiles: {held}",
    ):
        yield textwrap.fill(text, width, break_on_hyphens=False)
    for name in rule.sources:
        yield f"Source: {sources[name].title}\n    {sources[name].url}"


def _row(rule: Rule) -> dict[str, Any]:
    row = {**rule._asdict(), "basis": str(rule.basis)}
    row["sources"] = [sources[name]._asdict() for name in rule.sources]
    return row


def _table() -> Iterator[str]:
    """All rules in columns: id, statement and note, basis, sources."""
    widths = (4, max(shutil.get_terminal_size().columns, 80) - 4 - 12 - 12 - 6, 12, 12)

    def row(*cells: str) -> Iterator[str]:
        wrapped = map(partial(textwrap.wrap, break_on_hyphens=False), cells, widths)
        for lines in itertools.zip_longest(*wrapped, fillvalue=""):
            yield "  ".join(map(str.ljust, lines, widths)).rstrip()

    yield from row("id", "statement", "basis", "sources")
    for section, members in itertools.groupby(rules, lambda rule: rule.section):
        yield f"\n{section}"
        for rule in members:
            found_in = ", ".join(rule.sources) or "none"
            yield from row(rule.id, rule.statement, str(rule.basis), found_in)
            yield from row("", rule.note)
    yield "\nSources"
    yield from (f"{source.id}  {source.title}\n    {source.url}" for source in sources)


def _print_json(value: Any) -> None:
    print(json.dumps(value, indent=2))


def _validate(*, file: str, **settings: Any) -> int:
    from .collector.event_log import EventState

    lines = records = accepted = noted = repeated = 0
    for lines, event in _events(_lines(file), Settings().changed(settings)):
        records += 1
        problems = [f"finding, {found}" for found in event.findings]
        if event.record is not None:
            accepted += 1
            noted += bool(problems)
        else:
            repeated += event.state is EventState.DEDUPLICATED
            problems.insert(0, f"{event.state}, {event.rule}: {event.reason}")
        place = "" if event.batch is None else f"record {event.batch.index + 1}: "
        for text in problems:
            print(f"{file}:{lines}: {place}{text}")
    counted = f"{lines} line{'' if lines == 1 else 's'}"
    counted += f" with {records} records" if records > lines else ""
    counted += f": {accepted} accepted ({noted} with findings)"
    counted += f", {repeated} deduplicated" if repeated else ""
    refused = records - accepted - repeated
    print(f"{counted}, {refused} not accepted")
    return 1 if refused else 0


def _events(bodies: Iterable[bytes], settings: Settings) -> Iterator[tuple[int, Event]]:
    """What becomes of each body, from number 1, that is sent to one table with a valid key.

    With the profile `ingestion-v1`, an object with a list `events` is a batch, and any other body a
    record.
    """
    from .collector.collector import Collector
    from .collector.events import Event
    from .protocol.body import InvalidBody, parse
    from .protocol.request import RequestHead

    collector = Collector(settings)
    collector.keys.add("any/key")
    for number, line in enumerate(bodies, 1):
        body = line.removesuffix(b"\n").removesuffix(b"\r")
        path, sent = "/postback/v3/event/database/table", "application/json"
        name, key = "X-TD-Write-Key", "any/key"
        if settings.profile is not None and settings.profile.postback is not None:
            path, sent = "/database/table", "application/vnd.treasuredata.v1.single+json"
            name, key = "Authorization", "TD1 any/key"
            with suppress(InvalidBody):
                if isinstance(parse(body).get("events"), list):
                    sent = sent.replace(".single", "")
        headers = [("Content-Type", sent), (name, key)]
        exchange = collector.receive(RequestHead.of("POST", path, headers), body, "")
        collector.response_sent(exchange)
        for index in exchange.indexes:
            yield number, Event(exchange.log, index)


def _lines(file: str) -> Iterator[bytes]:
    try:
        with FileInput(file, mode="rb") as stream:
            yield from stream
    except OSError as error:
        raise ConfigurationError(
            f"cannot read {file}: {error.strerror}; give a file with one JSON body in each line"
        ) from error


def _serve(**arguments: Any) -> int:
    from .inspector.serve import serve

    return serve(**arguments)


if __name__ == "__main__":
    sys.exit(main())
