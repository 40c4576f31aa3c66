"""Connections that this process opens to the service's hosts end at a double instead.

A known name resolves to an address of its own in 127.0.0.0/8, where nothing listens: a client that
keeps only the address still says which host it means, and one that connects when the redirect is
over is refused. The socket's `connect` turns that address into the double's. Where a TLS context
wraps a connection to a known host, a context with the same demands does it that trusts the run's
authority and nobody else, so a connection that went elsewhere by a way unknown here fails its
verification before a request is sent.

A proxy of the environment must not see such a connection either. Clients that ask the environment
now are told to go past it; for those that asked earlier its address leads to the double's proxy.
"""

from __future__ import annotations

import inspect
import ipaddress
import os
import socket
import ssl
import threading
from contextlib import suppress
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, NoReturn
from urllib.parse import urlsplit

from ..errors import BlockedConnection
from .tls import authority_pem

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

LOOPBACK = "127.0.0.1"
_MAPPED = "::ffff:"
_LOCAL = ("localhost", LOOPBACK, "::1")
_PROXIES = ("http_proxy", "https_proxy", "all_proxy")
_PROXY_PORTS = {"http": 80, "https": 443}
_SOCKS_PORT = 1080
_NOT_THERE = object()

_VERSIONS = ssl.OP_NO_TLSv1 | ssl.OP_NO_TLSv1_1 | ssl.OP_NO_TLSv1_2 | ssl.OP_NO_TLSv1_3

Address = Any


class Redirect:
    """Where the service's hosts lead while this is in force."""

    def __init__(
        self,
        hosts: Iterable[str],
        ports: Mapping[int, int],
        hang_up: Callable[[], None],
        *,
        proxies: Mapping[tuple[str, int], int],
        block_network: bool = False,
        blocked: Callable[[str], None] = lambda _: None,
    ) -> None:
        """`ports` gives for a port of the service the one that answers for it on loopback.

        `hang_up()` ends the connections that are open there: those which clients keep would lead
        what they send next to a double that is no longer meant. `proxies` gives for the host and
        port of a proxy the port of the one that stands in for it on loopback. `blocked()` is told
        where somebody was not let connect to.
        """
        self.hosts = frozenset(hosts)
        self.ports = ports
        self.hang_up = hang_up
        self.proxies = proxies
        self.block_network = block_network
        self.blocked = blocked


class _Sentinels:
    """An address for each host that was ever redirected; the same one for the whole process.

    A client may keep an address it resolved in an earlier redirect and use it in a later one.
    """

    def __init__(self) -> None:
        self._addresses: dict[str, str] = {}
        self._hosts: dict[str, str] = {}

    def address(self, host: str) -> str:
        if host not in self._addresses:
            number = len(self._addresses)
            address = f"127.84.{68 + number // 250}.{number % 250 + 1}"
            self._addresses[host], self._hosts[address] = address, host
        return self._addresses[host]

    def host(self, address: object) -> str:
        """The host that `address` stands for, else `address` itself as a name."""
        name = _name(address)
        return self._hosts.get(name.removeprefix(_MAPPED), name)


class _Patches:
    """Attributes that were replaced, and what they were."""

    def __init__(self) -> None:
        self._replaced: list[tuple[Any, str, Any]] = []

    def replace(self, owner: Any, name: str, make: Callable[[Any], Any]) -> None:
        """Set `owner.name` to `make(what it was)`."""
        made = make(getattr(owner, name))
        self._replaced.append((owner, name, vars(owner).get(name, _NOT_THERE)))
        setattr(owner, name, made)

    def undo(self) -> None:
        while self._replaced:
            owner, name, value = self._replaced.pop()
            if value is _NOT_THERE:
                delattr(owner, name)
            else:
                setattr(owner, name, value)


_lock = threading.Lock()
_active: tuple[Redirect, ...] = ()
_sentinels = _Sentinels()
_patches = _Patches()
_environment: dict[str, str | None] = {}
_ended: list[Redirect] = []


def proxies_of_environment() -> set[tuple[str, int]]:
    """Host and port of every proxy that the environment names, loopback by each of its names."""
    found: set[tuple[str, int]] = set()
    for name, value in os.environ.items():
        place = _place(value) if name.lower() in _PROXIES else None
        if place is not None:
            host, port = place
            found.update((each, port) for each in (_LOCAL if host in _LOCAL else (host,)))
    return found


def _place(url: str) -> tuple[str, int] | None:
    try:
        parts = urlsplit(url if "://" in url else f"http://{url}")
        port = parts.port or _PROXY_PORTS.get(parts.scheme, _SOCKS_PORT)
    except ValueError:
        return None  # of no use to a client either
    return (_name(parts.hostname), port) if parts.hostname else None


def begin(redirect: Redirect) -> None:
    """Let `redirect` decide from now on; of several, the last that knows a host does."""
    global _active  # noqa: PLW0603 - what is replaced belongs to the process, and so does this
    with _lock:
        if not _active:
            _install()
        outdated = [*_ended, *_active]
        _ended.clear()
        for host in sorted({*redirect.hosts, *(host for host, _ in redirect.proxies)}):
            _sentinels.address(host)
        _active = (*_active, redirect)
        _go_past_proxies()
    for each in outdated:
        each.hang_up()


def end(redirect: Redirect) -> None:
    """Take `redirect` out, in whatever order they began; after the last all is as it was.

    Connections that are still open go on, so that a late thread is heard; they end when the next
    redirect takes over.
    """
    global _active  # noqa: PLW0603 - as in `begin`
    with _lock:
        _active = tuple(each for each in _active if each is not redirect)
        if not _active:
            _patches.undo()
            _ended.append(redirect)
        _go_past_proxies()
    if _active:
        redirect.hang_up()


def _install() -> None:
    try:
        _replace_all()
    except BaseException:
        _patches.undo()
        raise


def _replace_all() -> None:
    _patches.replace(socket, "getaddrinfo", _getaddrinfo)
    _patches.replace(socket, "gethostbyname", _gethostbyname)
    _patches.replace(socket, "gethostbyname_ex", _gethostbyname_ex)
    _patches.replace(socket.socket, "connect", _connect)
    _patches.replace(socket.socket, "connect_ex", _connect)
    _patches.replace(socket.socket, "sendto", _sendto)
    _patches.replace(ssl.SSLContext, "wrap_socket", _wrap)
    _patches.replace(ssl.SSLContext, "wrap_bio", _wrap)
    with suppress(ImportError):  # not installed, or of no use to a client either
        from uvloop import Loop

        _patches.replace(Loop, "getaddrinfo", _uvloop_getaddrinfo)
        _patches.replace(Loop, "create_connection", _uvloop_create_connection)
        _patches.replace(Loop, "create_datagram_endpoint", _uvloop_create_datagram_endpoint)
    with suppress(ImportError):
        if find_spec("aiodns"):
            from aiohttp.resolver import AsyncResolver

            _patches.replace(AsyncResolver, "resolve", _aiohttp_resolve)


def _go_past_proxies() -> None:
    """Have no proxy of the environment between a client and the redirected hosts.

    Where the network is blocked none is of any use: a client that goes there itself is told so.
    """
    for name, value in _environment.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value
    _environment.clear()
    if not any(os.environ.get(name) or os.environ.get(name.upper()) for name in _PROXIES):
        return
    hosts = sorted({host for redirect in _active for host in redirect.hosts})
    if hosts:
        _environment.update((name, os.environ.get(name)) for name in ("no_proxy", "NO_PROXY"))
    blocked = any(redirect.block_network for redirect in _active)
    for name, value in _environment.items():
        os.environ[name] = "*" if blocked else ",".join([*([value] if value else []), *hosts])


# deciding


def _name(host: object) -> str:
    if isinstance(host, (bytes, bytearray)):
        host = bytes(host).decode("latin-1")
    return host.rstrip(".").lower() if isinstance(host, str) else ""


def _redirect_of(host: str) -> Redirect | None:
    return next((each for each in reversed(_active) if host in each.hosts), None)


def _proxy_of(host: str, port: object) -> int | None:
    """The port that stands in for a proxy at `host` and `port`."""
    place = (host.removeprefix(_MAPPED), _number(port))
    return next((each.proxies[place] for each in reversed(_active) if place in each.proxies), None)


def _number(port: object) -> int:
    """The number of `port`, which may be the name of a service; 0 where it is no port."""
    name = port.decode("latin-1") if isinstance(port, bytes) else str(port)
    with suppress(OSError):
        return int(name) if name.isdecimal() else socket.getservbyname(name, "tcp")
    return 0


def _target(address: Address, family: int) -> Address:
    """Where a connection to `address` has to go; raises where it may not go anywhere."""
    host, port = address[0], address[1]
    name = _sentinels.host(host)
    redirect = _redirect_of(name)
    led = _proxy_of(name, port) if redirect is None else redirect.ports.get(_number(port))
    if led is not None:
        prefix = _MAPPED if family == socket.AF_INET6 else ""
        return (prefix + LOOPBACK, led, *address[2:])
    if redirect is not None:
        _block(redirect, f"{name}:{port}", f"only the ports 80 and 443 of {name} are redirected")
    _permit(name)
    return address


def _permit(name: str) -> None:
    blocking = next((each for each in reversed(_active) if each.block_network), None)
    if blocking is not None and not _is_here(name):
        _block(blocking, name, "no connections to other hosts while block_network is in force")


def _permit_datagram(host: object) -> None:
    name = _sentinels.host(host)
    redirect = _redirect_of(name)
    if redirect is not None:
        _block(redirect, name, "datagrams to it are not redirected")
    _permit(name)


def _block(redirect: Redirect, place: str, why: str) -> NoReturn:
    redirect.blocked(place)
    raise BlockedConnection(f"{place}: {why}")


def _is_here(name: str) -> bool:
    if name in ("", "localhost") or name.endswith(".localhost"):
        return True
    try:
        address = ipaddress.ip_address(name.partition("%")[0])
    except ValueError:
        return False
    address = getattr(address, "ipv4_mapped", None) or address
    return address.is_loopback or address.is_unspecified


def _is_numeric(name: str) -> bool:
    try:
        ipaddress.ip_address(name.partition("%")[0])
    except ValueError:
        return False
    return True


def _resolved(name: str, family: int = 0, port: object = None) -> str | None:
    """The address that stands for `name`; `None` where the usual resolution may go on."""
    if _redirect_of(name) is None and (_proxy_of(name, port) is None or _is_numeric(name)):
        if not _is_numeric(name):
            _permit(name)
        return None
    prefix = _MAPPED if family == socket.AF_INET6 else ""
    return prefix + _sentinels.address(name)


# what stands in for the functions of `socket`


def _getaddrinfo(original: Callable[..., Any]) -> Callable[..., Any]:
    signature = inspect.signature(original)

    def getaddrinfo(*arguments: Any, **options: Any) -> Any:
        call = signature.bind(*arguments, **options).arguments
        if not call.get("flags", 0) & (socket.AI_PASSIVE | socket.AI_NUMERICHOST):
            family, port = call.get("family", 0), call["port"]
            call["host"] = _resolved(_name(call["host"]), family, port) or call["host"]
        return original(**call)

    return getaddrinfo


def _gethostbyname(original: Callable[..., Any]) -> Callable[..., Any]:
    def gethostbyname(hostname: Any) -> Any:
        return _resolved(_name(hostname)) or original(hostname)

    return gethostbyname


def _gethostbyname_ex(original: Callable[..., Any]) -> Callable[..., Any]:
    def gethostbyname_ex(hostname: Any) -> Any:
        address = _resolved(_name(hostname))
        return original(hostname) if address is None else (hostname, [], [address])

    return gethostbyname_ex


def _connect(original: Callable[..., Any]) -> Callable[..., Any]:
    def connect(self: socket.socket, address: Address, /) -> Any:
        if self.family in (socket.AF_INET, socket.AF_INET6) and isinstance(address, tuple):
            try:
                address = _target(address, self.family)
            except BlockedConnection:
                self.close()  # callers do so after an `OSError` alone
                raise
        return original(self, address)

    return connect


def _sendto(original: Callable[..., Any]) -> Callable[..., Any]:
    def sendto(self: socket.socket, /, *arguments: Any) -> Any:
        address = arguments[-1] if arguments else None
        if self.family in (socket.AF_INET, socket.AF_INET6) and isinstance(address, tuple):
            _permit_datagram(address[0])
        return original(self, *arguments)

    return sendto


# what stands in for the methods of `ssl.SSLContext`


def _wrap(original: Callable[..., Any]) -> Callable[..., Any]:
    signature = inspect.signature(original)

    def wrap(*arguments: Any, **options: Any) -> Any:
        call = signature.bind(*arguments, **options)
        if _redirect_of(_name(call.arguments.get("server_hostname"))) is not None:
            call.arguments["self"] = _trusting(call.arguments["self"])
            call.arguments["session"] = None  # it would have to come from the same context
        return original(*call.args, **call.kwargs)

    return wrap


def _trusting(context: ssl.SSLContext) -> ssl.SSLContext:
    """A context that checks what `context` checks, and trusts the run's authority alone."""
    twin = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    twin.check_hostname = False  # else the mode could not be set
    twin.verify_mode = context.verify_mode
    twin.check_hostname = context.check_hostname
    twin.verify_flags = context.verify_flags
    twin.sslsocket_class = context.sslsocket_class
    twin.sslobject_class = context.sslobject_class
    # What chooses a version older than TLS 1.2 is deprecated: setting it would warn.
    twin.options = context.options & ~_VERSIONS | twin.options
    if context.minimum_version >= ssl.TLSVersion.TLSv1_2:
        twin.minimum_version = context.minimum_version
    if context.maximum_version >= ssl.TLSVersion.TLSv1_2:
        twin.maximum_version = context.maximum_version
    twin.load_verify_locations(cadata=authority_pem())
    return twin


# what stands in for the ways that do not come by `socket`


def _uvloop_getaddrinfo(original: Callable[..., Any]) -> Callable[..., Any]:
    async def getaddrinfo(self: Any, host: Any, port: Any, **options: int) -> Any:
        address = _resolved(_name(host), options.get("family", 0), port)
        return await original(self, host if address is None else address, port, **options)

    return getaddrinfo


def _uvloop_create_connection(original: Callable[..., Any]) -> Callable[..., Any]:
    async def create_connection(
        self: Any, factory: Any, host: Any = None, port: Any = None, **options: Any
    ) -> Any:
        if host is not None:
            if options.get("ssl") and options.get("server_hostname") is None:
                options["server_hostname"] = host
            host, port = _target((host, port), options.get("family", 0))
        return await original(self, factory, host, port, **options)

    return create_connection


def _uvloop_create_datagram_endpoint(original: Callable[..., Any]) -> Callable[..., Any]:
    async def create_datagram_endpoint(
        self: Any, factory: Any, local_addr: Any = None, remote_addr: Any = None, **options: Any
    ) -> Any:
        if isinstance(remote_addr, tuple):
            _permit_datagram(remote_addr[0])
        return await original(self, factory, local_addr, remote_addr, **options)

    return create_datagram_endpoint


def _aiohttp_resolve(original: Callable[..., Any]) -> Callable[..., Any]:
    async def resolve(
        self: Any, host: str, port: int = 0, family: int = socket.AF_INET
    ) -> list[dict[str, Any]]:
        address = _resolved(_name(host), family, port)
        if address is None:
            found: list[dict[str, Any]] = await original(self, host, port, family)
            return found
        kind = socket.AF_INET6 if ":" in address else socket.AF_INET
        numeric = socket.AI_NUMERICHOST | socket.AI_NUMERICSERV
        shared = {"hostname": host, "port": port, "proto": 0, "flags": numeric}
        return [{**shared, "host": address, "family": kind}]

    return resolve


class Redirection:
    """The context manager that `Postback.redirect` returns."""

    def __init__(self, make_redirect: Callable[[], Redirect]) -> None:
        """`make_redirect()` opens the listeners; it is called on entering."""
        import sys

        self.entered = False
        frame = sys._getframe()
        while frame.f_back and "pytest_tdpostback" in frame.f_code.co_filename:
            frame = frame.f_back
        self.call_site = f"{frame.f_code.co_filename}:{frame.f_lineno}"
        self._make_redirect = make_redirect
        self._begun: list[Redirect] = []

    def __enter__(self) -> None:
        self.entered = True
        self._begun.append(self._make_redirect())
        begin(self._begun[-1])

    def __exit__(self, *_: object) -> None:
        end(self._begun.pop())


def restore_environment() -> None:
    """Nothing yet."""
