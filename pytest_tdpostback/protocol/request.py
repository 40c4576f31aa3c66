"""One request as it came over the wire: its head, its body and the address of its sender."""

from __future__ import annotations

import string
from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from urllib.parse import parse_qsl, quote, unquote, unquote_plus

from .escaping import escaped
from .secrets import Redacted, WriteKey, shortened, without_keys

_BLANKS = " \t"
"""What HTTP allows around the value of a field; other white space is part of the value."""
_SECRET_HEADERS = frozenset({"x-td-write-key", "authorization"})


class Headers(Mapping[str, str]):
    """The header fields of a request in their order. Names match in any letter case.

    A name gives its first value. `getlist` gives all values, `pairs` the fields as they were sent.
    """

    def __init__(self, pairs: Iterable[tuple[str, str]]) -> None:
        """`pairs` are the names and values in the order of the wire."""
        self.pairs = tuple((name, _guarded(name, value)) for name, value in pairs)
        """Names and values in the order of the wire; write keys are shortened in their `repr`."""

    def __getitem__(self, name: str) -> str:
        values = self.getlist(str(name))
        if not values:
            raise KeyError(name)
        return values[0]

    def __iter__(self) -> Iterator[str]:
        return iter(dict.fromkeys(name for name, _ in self.pairs))

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __repr__(self) -> str:
        return f"Headers({list(self.pairs)!r})"

    def getlist(self, name: str) -> list[str]:
        """Return every value of the header `name`, in order; empty if it was not sent."""
        return [value for sent, value in self.pairs if sent.lower() == name.lower()]


def _guarded(name: str, value: str) -> str:
    if name.lower() not in _SECRET_HEADERS:
        shown = without_keys(f"{name}:{value}").removeprefix(f"{name}:")
        return value if shown == value else Redacted(value, shown)
    scheme, space, key = value.partition(" ")
    return Redacted(value, f"{scheme} {shortened(key)}") if space else WriteKey(value)


class RequestHead:
    """Method, target and header fields of a request. Equal heads have equal verdicts."""

    def __init__(self, raw: bytes) -> None:
        """`raw` is `METHOD target`, then a line for each field, with nothing behind the last."""
        self.raw = raw
        first, *lines = raw.decode("latin-1").split("\r\n")
        self.method, _, self._target = first.partition(" ")
        self.fields: dict[str, list[str]] = {}
        """The values of each field by its name in lower case, as plain strings, for judging."""
        for line in lines:
            name, _, value = line.partition(":")
            self.fields.setdefault(name.lower(), []).append(value.strip(_BLANKS))
        path, _, self.query = self._target.partition("#")[0].partition("?")
        """The query as it was sent, without the question mark; may be empty."""
        self.host = self.field("host")
        """The host that was asked: of an absolute target, else of `Host`; may be empty."""
        scheme, separator, rest = path.partition("://")
        if separator and scheme.lower() in ("http", "https"):
            self.host, slash, path = rest.partition("/")
            path = slash + path
        path = _percent_encoded(path)
        parts = path.split("/")
        self.segments = tuple(map(unquote, parts) if "%" in path else parts)
        """The parts of the path between its slashes, each percent-decoded on its own (R7).

        Bytes that aren't UTF-8 become U+FFFD, which no name may hold.
        """
        self.media_type = self.field("content-type").partition(";")[0].strip().lower()
        """B1: the type in `Content-Type` in lower case without parameters; may be empty."""
        self.parameters = decoded_parameters(self.query)
        """The URL parameters in their order, decoded as form values (A2, P10)."""

    @classmethod
    def of(cls, method: str, target: str, headers: Iterable[tuple[str, str]]) -> RequestHead:
        """Make a head from its parts.

        They are text that stands for bytes (Latin-1) and holds no line breaks.
        """
        lines = [f"{method} {target}", *(f"{name}: {value}" for name, value in headers)]
        return cls("\r\n".join(lines).encode("latin-1"))

    @cached_property
    def target(self) -> str:
        """The request target as it was sent; write keys in it are shortened in its `repr`."""
        shown = _without_keys(self._target)
        return self._target if shown == self._target else Redacted(self._target, shown)

    @property
    def shown_target(self) -> str:
        """The target for a message: escaped, write keys shortened, bytes above 0x7F as UTF-8."""
        text = self._target.encode("latin-1").decode(errors="backslashreplace")
        return escaped(_without_keys(text))

    @cached_property
    def headers(self) -> Headers:
        """The header fields, for showing: secrets are shortened in their `repr`."""
        sent = [line.partition(":") for line in self.raw.decode("latin-1").split("\r\n")[1:]]
        return Headers((name, value.strip(_BLANKS)) for name, _, value in sent)

    def field(self, name: str) -> str:
        """Return the first value of the field `name` (lower case), empty if it was not sent."""
        values = self.fields.get(name)
        return values[0] if values else ""

    @property
    def last_parameters(self) -> dict[str, str]:
        """The URL parameters by name; of a repeated one the last (A2, P9)."""
        return dict(self.parameters)


def decoded_parameters(query: str) -> tuple[tuple[str, str], ...]:
    """Return the names and values in `query`, decoded as form values (A2, P10).

    Bytes above 0x7F count like percent-encoded ones. What isn't UTF-8 becomes U+FFFD. A `%`
    without two hexadecimal digits stays as it is.
    """
    # The limit on the number of fields is not set: B6 and the limit of the head bound it.
    return tuple(parse_qsl(_percent_encoded(query), keep_blank_values=True)) if query else ()


def _percent_encoded(text: str) -> str:
    """Return `text`, which stands for bytes (Latin-1), with all but ASCII percent-encoded."""
    return text if text.isascii() else quote(text, safe=string.printable, encoding="latin-1")


def _without_keys(target: str) -> str:
    path, question, query = target.partition("?")
    pieces = []
    for piece in query.split("&"):
        name, equals, value = piece.partition("=")
        is_key = equals and unquote_plus(name).lower() == "td_write_key"
        shown = f"{name}={shortened(unquote_plus(value))}" if is_key else without_keys(piece)
        pieces.append(shown)
    return without_keys(path) + question + "&".join(pieces)


class PostbackRequest:
    """One request as it was received: `method`, `target`, `headers`, `body`, `peer`."""

    __slots__ = ("body", "head", "peer")

    def __init__(self, head: RequestHead, body: bytes, peer: str) -> None:
        """`body` is without transfer coding; `peer` is the address of the sender."""
        self.head = head
        self.body = body
        self.peer = peer

    @property
    def method(self) -> str:
        """The method, as it was sent."""
        return self.head.method

    @property
    def target(self) -> str:
        """The request target: path and query as they were sent."""
        return self.head.target

    @property
    def headers(self) -> Headers:
        """The header fields; names match in any letter case."""
        return self.head.headers

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, PostbackRequest):
            return NotImplemented
        one, two = (self.head.raw, self.body, self.peer), (other.head.raw, other.body, other.peer)
        return one == two

    def __hash__(self) -> int:
        return hash((self.head.raw, self.body, self.peer))

    def __repr__(self) -> str:
        return f"<PostbackRequest {self.method} {self.head.shown_target} {len(self.body)} bytes>"
