"""Send connections of this process to the service's hosts to the fake server instead.

While a redirect is active, three things happen to a connection:

1. The name of a redirected host resolves to a placeholder address, one for each name. Clients that
   keep only the address therefore still say which host they mean. Placeholders are multicast
   addresses: no system opens a TCP connection to one. So a client that uses one after the redirect
   gets an error at once, whatever listens on this machine. A datagram to one then ends in the local
   network, because its TTL is 1.
2. `socket.connect` replaces the placeholder address with 127.0.0.1 and the port of a host listener.
3. `SSLContext.wrap_socket` uses a context with the same checks that trusts only the authority of
   this run. If a connection reached another machine by some way that is not redirected, its TLS
   handshake fails before a request is sent.

A proxy that the environment names must not see these connections either. `NO_PROXY` names the
redirected hosts. For clients that read the environment earlier, the address of the proxy leads to
a proxy of the fake server.
"""

from __future__ import annotations

import inspect
import ipaddress
import os
import socket
import ssl
import threading
from contextlib import ContextDecorator, suppress
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, NoReturn
from urllib.parse import urlsplit

from ..errors import BlockedConnection
from ..protocol.settings import host_name, is_network
from .tls import authority_pem

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    Original = Callable[..., Any]

__tracebackhide__ = True  # a failure shows the lines of the test, not ours

LOOPBACK = "127.0.0.1"
_LOCAL_NAMES = ("localhost", LOOPBACK, "::1")
_IPV4_IN_IPV6 = "::ffff:"
_FIRST_PLACEHOLDER = ipaddress.IPv4Address("239.255.0.1")  # RFC 2365: IPv4 local scope
_PROXY_VARIABLES = ("http_proxy", "https_proxy", "all_proxy")
_BYPASS_VARIABLES = ("no_proxy", "NO_PROXY")

_TLS_VERSIONS = ssl.OP_NO_TLSv1 | ssl.OP_NO_TLSv1_1 | ssl.OP_NO_TLSv1_2 | ssl.OP_NO_TLSv1_3


@dataclass(frozen=True, eq=False)
class Redirect:
    """Where connections to the service's hosts end while this redirect is active."""

    hosts: frozenset[str]
    ports: Mapping[int, int]
    """For each redirected port of `hosts`, that of the host listener."""
    proxies: Mapping[tuple[str, int], int]
    """For host and port of each proxy of the environment, the port of its replacement."""
    close_connections: Callable[[], None]
    """Ends the connections to these ports. A client that keeps one would otherwise send its next
    request to a fake server that is no longer meant."""
    note_blocked_host: Callable[[str], None]
    """Is told each host that somebody was not allowed to connect to, and why: `host: reason`."""
    block_network: bool = False
    """Whether connections to hosts that are not redirected and not this machine are refused."""
    allow_hosts: tuple[str, ...] = ()
    """Names, IP addresses and networks that `block_network` lets through."""
    allowed_addresses: set[str] = field(default_factory=set)
    """The addresses that names in `allow_hosts` have resolved to."""


_lock = threading.RLock()
_active: tuple[Redirect, ...] = ()
_ended: list[Redirect] = []
_placeholders: dict[str, str] = {}
"""The placeholder address of each host that was ever redirected in this process. A client may keep
an address from an earlier redirect and use it in a later one."""
_hosts: dict[str, str] = {}
"""The host of each placeholder address."""
_replaced: list[tuple[Any, str, Any]] = []
"""Attributes that were replaced: their owner, name and value before, `None` if inherited."""
_changes: dict[tuple[str, str | None], list[str | None]] = {}
"""For each variable of the environment and value that it was given, the values before it, in order.

The oldest is kept: a patch that began in a redirect and ends after it writes the new value again.
"""


class Redirection(ContextDecorator):
    """The context manager that `Postback.redirect` returns.

    If several are active, the last one that knows a host decides. After the last one ended,
    everything is as it was before the first. `entered` is whether it was ever entered: without
    `with`, nothing is redirected.
    """

    def __init__(self, make_redirect: Callable[[], Redirect]) -> None:
        """`make_redirect()` opens the listeners; it is called on entering."""
        self.entered = False
        self._make_redirect = make_redirect
        self._begun: list[Redirect] = []

    def __enter__(self) -> None:
        global _active  # noqa: PLW0603 - what is replaced belongs to the process, and so does this
        self.entered = True
        redirect = self._make_redirect()
        try:
            with _lock:
                outdated = [*_ended, *_active]
                hosts = {*redirect.hosts, *(host for host, _ in redirect.proxies)}
                for host in sorted(hosts - _placeholders.keys()):
                    address = str(_FIRST_PLACEHOLDER + len(_placeholders))
                    _placeholders[host], _hosts[address] = address, host
                _active = (*_active, redirect)
                if not _replaced:
                    _install()
                _update_environment()
                _ended.clear()
            for each in outdated:
                each.close_connections()
            self._begun.append(redirect)
        except BaseException:  # an interrupt too: nothing may stay replaced
            _end(redirect)
            raise

    def __exit__(self, *_: object) -> None:
        try:
            _end(self._begun[-1])
        except BaseException:  # an interrupt too
            _end(self._begun[-1])
            raise
        finally:
            self._begun.pop()


def _end(redirect: Redirect) -> None:
    """Deactivate `redirect`; may be called again if an exception interrupted it.

    Connections that are still open stay open, so that the fake server still receives what a late
    thread sends. They end when the next redirect begins.
    """
    global _active  # noqa: PLW0603 - as in `Redirection`
    with _lock:
        was_active = redirect in _active
        remaining = tuple(each for each in _active if each is not redirect)
        if not remaining:
            while _replaced:
                owner, name, value = _replaced[-1]
                if value is not None:
                    setattr(owner, name, value)
                elif name in vars(owner):
                    delattr(owner, name)
                _replaced.pop()
            if was_active:
                _ended.append(redirect)
        _active = remaining
        _update_environment()
    if _active and was_active:
        redirect.close_connections()


def _renew_lock() -> None:
    """In a forked process: a thread that does not exist here may have the lock."""
    global _lock  # noqa: PLW0603 - as in `Redirection`
    _lock = threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_lock)


def _install() -> None:
    _replace(socket, getaddrinfo=_getaddrinfo, gethostbyname=_gethostbyname)
    _replace(socket, gethostbyname_ex=_gethostbyname_ex)
    _replace(socket.socket, connect=_connect, connect_ex=_connect, sendto=_send_datagram)
    if hasattr(socket.socket, "sendmsg"):  # Windows has none
        _replace(socket.socket, sendmsg=_send_datagram)
    _replace(ssl.SSLContext, wrap_socket=_wrap, wrap_bio=_wrap)
    with suppress(ImportError):  # not installed, or too broken for a client to use it
        from uvloop import Loop

        _replace(Loop, getaddrinfo=_uvloop_getaddrinfo)
        _replace(Loop, create_connection=_uvloop_create_connection)
        _replace(Loop, create_datagram_endpoint=_uvloop_create_datagram_endpoint)
    with suppress(ImportError):
        if find_spec("aiodns"):
            from aiohttp.resolver import AsyncResolver

            _replace(AsyncResolver, resolve=_aiohttp_resolve)


def _replace(owner: Any, **functions: Original) -> None:
    """Have attributes of `owner` call `functions` with their value before as first argument."""
    for name, function in functions.items():
        original = getattr(owner, name)
        _replaced.append((owner, name, vars(owner).get(name)))
        setattr(owner, name, _bound_to(original, function))


def _bound_to(original: Original, function: Original) -> Original:
    """`partial`, but a function, which binds `self` as a method."""
    return lambda *arguments, **options: function(original, *arguments, **options)


# the environment


def proxies_of_environment() -> set[tuple[str, int]]:
    """Host and port of every proxy that the environment names.

    A proxy on this machine is listed under each of its local names.
    """
    found: set[tuple[str, int]] = set()
    for url in _proxy_urls():
        try:
            parts = urlsplit(url if "://" in url else f"http://{url}")
            port = parts.port or {"http": 80, "https": 443}.get(parts.scheme, 1080)  # SOCKS
        except ValueError:
            continue  # no client can use it
        host = _name(parts.hostname)
        if host:
            names = _LOCAL_NAMES if host in _LOCAL_NAMES else (host,)
            found.update((name, port) for name in names)
    return found


def restore_environment() -> None:
    """Set `NO_PROXY` and `no_proxy` back, if a redirect that has ended set their current values.

    A `monkeypatch.setenv` inside a redirect keeps the value that the redirect gave, and writes it
    again when it is undone, which may be after the redirect. So call this after each test.
    """
    with _lock:
        _update_environment()
        if not _active:
            for name in _BYPASS_VARIABLES:  # the next `*` may be that of a test
                _changes.pop((name, "*"), None)


def _proxy_urls() -> list[str]:
    found = os.environ.items()
    return [value for name, value in found if name.lower() in _PROXY_VARIABLES and value]


def _update_environment() -> None:
    """Have clients use no proxy for redirected hosts and for this machine.

    If the network is blocked, they use no proxy at all: an error then names the blocked host. A
    value that somebody else has set since is kept, and extended like any other.
    """
    for name in _BYPASS_VARIABLES:
        while (name, value := os.environ.get(name)) in _changes:
            originals = _changes[name, value]
            _set_variable(name, originals[-1])
            del originals[max(1, len(originals) - 1) :]
    hosts = sorted({host for redirect in _active for host in redirect.hosts})
    if not hosts or not _proxy_urls():
        return
    blocked = any(redirect.block_network for redirect in _active)
    current = [os.environ.get(name) for name in _BYPASS_VARIABLES]
    # A client that reads both variables prefers one of them: the other's value must not get lost.
    for name, original, other in zip(_BYPASS_VARIABLES, current, current[::-1], strict=True):
        value = other if original is None else original
        if blocked:
            value = "*"
        elif value is None or value.strip() != "*":  # it means every host only if it stands alone
            value = ",".join([*([value] if value else []), *_LOCAL_NAMES, *hosts])
        if value != original:
            earlier = _changes.setdefault((name, value), [])
            if original not in earlier[-1:]:
                earlier.append(original)
            _set_variable(name, value)


def _set_variable(name: str, value: str | None) -> None:
    if value is None:
        os.environ.pop(name, None)
    else:
        os.environ[name] = value


# decisions


def _name(host: object) -> str:
    if isinstance(host, (bytes, bytearray)):
        host = bytes(host).decode("latin-1")
    return host_name(host) if isinstance(host, str) else ""


def _host_of(address: object) -> str:
    """The host that `address` stands for, or `address` as a name if it is none."""
    name = _name(address)
    return _hosts.get(name.removeprefix(_IPV4_IN_IPV6), name)


def _redirect_of(host: str) -> Redirect | None:
    return next((each for each in reversed(_active) if host in each.hosts), None)


def _proxy_port(host: str, port: object) -> int | None:
    """The local port that replaces the proxy at `host` and `port`."""
    proxy = (host.removeprefix(_IPV4_IN_IPV6), _port_number(port))
    return next((each.proxies[proxy] for each in reversed(_active) if proxy in each.proxies), None)


def _port_number(port: object) -> int:
    """The number of `port`, which may be the name of a service; 0 if it is no port."""
    name = port.decode("latin-1") if isinstance(port, bytes) else str(port)
    with suppress(OSError):
        return int(name) if name.isdecimal() else socket.getservbyname(name, "tcp")
    return 0


def _target(address: Any, family: int) -> Any:
    """Where a connection to `address` goes; raise `BlockedConnection` if it may not."""
    name, port = _host_of(address[0]), address[1]
    redirect = _redirect_of(name)
    if redirect is None:
        local_port = _proxy_port(name, port)
    else:
        local_port = redirect.ports.get(_port_number(port))
    if local_port is not None:
        prefix = _IPV4_IN_IPV6 if family == socket.AF_INET6 else ""
        return (prefix + LOOPBACK, local_port, *address[2:])
    if redirect is not None:
        _block(redirect, f"{name}:{port}", f"only the ports 80 and 443 of {name} are redirected")
    _check_allowed(name)
    return address


def _check_allowed(name: str) -> None:
    """Raise `BlockedConnection` if `block_network` does not let a connection to `name` through."""
    blocking = next((each for each in reversed(_active) if each.block_network), None)
    if blocking is None or name.endswith(".localhost"):
        return
    if name in ("", "localhost", *blocking.allow_hosts, *blocking.allowed_addresses):
        return
    address = _ip_address(name)
    if address is not None:
        networks = map(ipaddress.ip_network, filter(is_network, blocking.allow_hosts))
        if address.is_loopback or address.is_unspecified or any(address in n for n in networks):
            return
    _block(
        blocking,
        name,
        "no connections to other hosts while block_network is in force; "
        "redirect it with the setting extra_hosts, or let it through with allow_hosts",
    )


def _note_addresses(name: str, addresses: Iterable[str]) -> None:
    """Let clients connect to `addresses`, which an allowed name resolved to."""
    for redirect in _active:
        if name in redirect.allow_hosts:
            redirect.allowed_addresses.update(addresses)


def _check_datagram(host: object) -> None:
    name = _host_of(host)
    redirect = _redirect_of(name)
    if redirect is not None:
        _block(redirect, name, "datagrams to it are not redirected")
    _check_allowed(name)


def _block(redirect: Redirect, destination: str, reason: str) -> NoReturn:
    error = BlockedConnection(f"{destination}: {reason}")
    redirect.note_blocked_host(str(error))
    raise error


def _ip_address(name: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        address = ipaddress.ip_address(name.partition("%")[0])
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


def _placeholder_of(name: str, family: int = 0, port: object = None) -> str | None:
    """The address that stands for `name`, `None` if it resolves as usual."""
    if _redirect_of(name) is None:
        if _ip_address(name) is not None:
            return None
        if _proxy_port(name, port) is None:
            _check_allowed(name)
            return None
    prefix = _IPV4_IN_IPV6 if family == socket.AF_INET6 else ""
    return prefix + _placeholders[name]


# replacements of functions of `socket`


def _getaddrinfo(  # noqa: PLR0917 - the parameters of the standard library
    original: Original,
    host: Any,
    port: Any,
    family: int = 0,
    type: int = 0,  # noqa: A002
    proto: int = 0,
    flags: int = 0,
) -> Any:
    name = _name(host)
    if not flags & (socket.AI_PASSIVE | socket.AI_NUMERICHOST):
        host = _placeholder_of(name, family, port) or host
    found = original(host, port, family, type, proto, flags)
    _note_addresses(name, (each[4][0] for each in found))
    return found


def _gethostbyname(original: Original, hostname: Any) -> Any:
    name = _name(hostname)
    address = original(_placeholder_of(name) or hostname)
    _note_addresses(name, [address])
    return address


def _gethostbyname_ex(original: Original, hostname: Any) -> Any:
    name = _name(hostname)
    canonical, aliases, addresses = original(_placeholder_of(name) or hostname)
    _note_addresses(name, addresses)
    return (hostname if canonical in _hosts else canonical, aliases, addresses)


def _is_internet(sock: socket.socket, address: Any) -> bool:
    is_address = isinstance(address, tuple) and len(address) > 1
    return is_address and sock.family in (socket.AF_INET, socket.AF_INET6)


def _connect(original: Original, self: socket.socket, address: Any, /) -> Any:
    if _is_internet(self, address):
        try:
            if self.type == socket.SOCK_STREAM:
                address = _target(address, self.family)
            else:
                _check_datagram(address[0])
        except BlockedConnection:
            self.close()  # callers close it only after an `OSError`
            raise
    return original(self, address)


def _send_datagram(original: Original, self: socket.socket, /, *arguments: Any) -> Any:
    """`sendto`, and `sendmsg` with an address: it is the last of several arguments."""
    if len(arguments) > 1 and _is_internet(self, arguments[-1]):
        _check_datagram(arguments[-1][0])
    return original(self, *arguments)


# replacements of methods of `ssl.SSLContext`


def _wrap(original: Original, *arguments: Any, **options: Any) -> Any:
    call = inspect.signature(original).bind(*arguments, **options)
    if _redirect_of(_name(call.arguments.get("server_hostname"))) is not None:
        call.arguments["self"] = _trusting_context(call.arguments["self"])
        call.arguments["session"] = None  # a session is valid in its own context only
    return original(*call.args, **call.kwargs)


def _trusting_context(context: ssl.SSLContext) -> ssl.SSLContext:
    """A context that checks what `context` checks and trusts only this run's authority."""
    copy = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    copy.check_hostname = False  # `verify_mode` cannot be CERT_NONE otherwise
    copy.verify_mode = context.verify_mode
    copy.check_hostname = context.check_hostname
    copy.verify_flags = context.verify_flags
    copy.sslsocket_class = context.sslsocket_class
    copy.sslobject_class = context.sslobject_class
    # Options that choose a version older than TLS 1.2 are deprecated: setting them would warn.
    copy.options = context.options & ~_TLS_VERSIONS | copy.options
    if context.minimum_version >= ssl.TLSVersion.TLSv1_2:
        copy.minimum_version = context.minimum_version
    if context.maximum_version >= ssl.TLSVersion.TLSv1_2:
        copy.maximum_version = context.maximum_version
    copy.load_verify_locations(cadata=authority_pem())
    return copy


# replacements in libraries that do not use `socket` to resolve or connect


async def _uvloop_getaddrinfo(
    original: Original, self: Any, host: Any, port: Any, **options: int
) -> Any:
    name = _name(host)
    address = _placeholder_of(name, options.get("family", 0), port)
    found = await original(self, host if address is None else address, port, **options)
    _note_addresses(name, (each[4][0] for each in found))
    return found


async def _uvloop_create_connection(
    original: Original, self: Any, factory: Any, host: Any = None, port: Any = None, **options: Any
) -> Any:
    if host is not None:
        if options.get("ssl") and options.get("server_hostname") is None:
            options["server_hostname"] = host
        host, port = _target((host, port), options.get("family", 0))
    return await original(self, factory, host, port, **options)


async def _uvloop_create_datagram_endpoint(
    original: Original,
    self: Any,
    factory: Any,
    local_addr: Any = None,
    remote_addr: Any = None,
    **options: Any,
) -> Any:
    if isinstance(remote_addr, tuple):
        _check_datagram(remote_addr[0])
    return await original(self, factory, local_addr, remote_addr, **options)


async def _aiohttp_resolve(
    original: Original, self: Any, host: str, port: int = 0, family: int = socket.AF_INET
) -> list[dict[str, Any]]:
    name = _name(host)
    address = _placeholder_of(name, family, port)
    if address is None:
        found: list[dict[str, Any]] = await original(self, host, port, family)
        _note_addresses(name, (each["host"] for each in found))
        return found
    kind = socket.AF_INET6 if ":" in address else socket.AF_INET
    numeric = socket.AI_NUMERICHOST | socket.AI_NUMERICSERV
    shared = {"hostname": host, "port": port, "proto": 0, "flags": numeric}
    return [{**shared, "host": address, "family": kind}]
