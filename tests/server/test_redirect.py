"""Hard-coded hosts: senders whose source does not change, over verified TLS."""

from __future__ import annotations

import _socket
import asyncio
import http.client
import os
import socket
import ssl
import sys
import threading
from contextlib import ExitStack, nullcontext, suppress
from textwrap import dedent
from types import SimpleNamespace
from typing import Any
from unittest import mock
from urllib.error import HTTPError

import aiohttp
import httpx
import pytest
import requests
import trustme
import urllib3

from pytest_tdpostback import BlockedConnection, ConfigurationError, PostbackServer
from pytest_tdpostback.protocol.profiles import V2_BODY_LIMIT, for_host
from pytest_tdpostback.server import redirect as redirect_module
from pytest_tdpostback.server.redirect import restore_environment
from tests.checkout import INSIDE
from tests.server import client_libraries as libraries
from tests.server.client_libraries import CLIENT_LIBRARIES, HOST, PATH, URL

RECORDS = "eu01.records.in.treasuredata.com"


@pytest.fixture(scope="module", autouse=True)
def _one_public_authority(tmp_path_factory):
    """Clients trust one authority by default: reading the usual hundred takes each 30 ms."""
    bundle = tmp_path_factory.mktemp("authorities") / "public.pem"
    trustme.CA().cert_pem.write_to_path(str(bundle))
    with pytest.MonkeyPatch.context() as patch:
        for name in ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE"):
            patch.setenv(name, str(bundle))
        yield


@pytest.fixture(params=CLIENT_LIBRARIES, ids=str)
def send(request):
    if request.param.endswith("uvloop"):
        pytest.importorskip("uvloop")
    return CLIENT_LIBRARIES[request.param]


def replaceable():
    """Every attribute of what a redirect touches, and the environment."""
    owners = [socket, socket.socket, ssl, ssl.SSLContext, ssl.SSLSocket]
    for module, name in (("uvloop", "Loop"), ("aiohttp.resolver", "AsyncResolver")):
        if module in sys.modules:
            owners.append(getattr(sys.modules[module], name))
    environment = {name: os.environ[name] for name in os.environ if name != "PYTEST_CURRENT_TEST"}
    return [dict(vars(owner)) for owner in owners], environment


@pytest.fixture(autouse=True)
def all_is_as_it_was():
    pytest.importorskip("uvloop")
    before = replaceable()
    yield
    assert replaceable() == before


@pytest.fixture
def connected(tdpostback):
    """A socket that was connected to the service, and a redirect in force."""
    with tdpostback.redirect(), socket.create_connection((HOST, 443)) as sock:
        yield sock


# every client


def test_stores_what_an_unchanged_sender_sends(tdpostback, send):
    with tdpostback.redirect():
        assert send(tdpostback.write_key, n=1) == 200
    record = tdpostback.assert_ingested("shop", "orders", n=1)
    assert record.event.request.headers["host"] == HOST


def test_lets_the_host_choose_the_profile(tdpostback, send):
    """Only v2 has a limit that the documents name: of one byte more than this."""
    large = "x" * (V2_BODY_LIMIT - len('{"n":""}') + 1)
    with tdpostback.redirect():
        assert status_of(send, tdpostback.write_key, f"https://{RECORDS}{PATH}", n=large) == 413
        assert send(tdpostback.write_key, URL, n=large) == 200
    v2, v1 = tdpostback.events
    assert (v2.request.headers["host"], v1.request.headers["host"]) == (RECORDS, HOST)


def test_shows_a_key_failure(tdpostback, send):
    with tdpostback.redirect(), tdpostback.expect_auth_failure(count=1):
        assert send("1/wrong", n=1) == 200
    tdpostback.assert_nothing_ingested()


def test_redirects_port_80_too(tdpostback, send):
    with tdpostback.redirect():
        assert send(tdpostback.write_key, f"http://{HOST}{PATH}", n=1) == 200
    tdpostback.assert_ingested("shop", "orders", n=1)


def test_refuses_other_hosts_when_the_network_is_blocked(tdpostback, send):
    with tdpostback.redirect(block_network=True):
        for url in ("https://example.org/x", "http://example.org/x", "https://192.0.2.7/x"):
            host = url.split("/")[2]
            with pytest.raises(Exception) as caught:  # noqa: PT011 - see below
                send(tdpostback.write_key, url)
            blocked = alone(caught.value)
            assert isinstance(blocked, BlockedConnection)
            assert str(blocked).startswith(f"{host}: no connections to other hosts")
        assert send(tdpostback.write_key, n=1) == 200
    tdpostback.assert_ingested("shop", "orders", n=1)


def test_refuses_other_ports_of_a_known_host(tdpostback):
    with tdpostback.redirect(), pytest.raises(BlockedConnection, match=f"{HOST}:8443"):
        socket.create_connection((HOST, 8443))


def alone(error):
    """An error out of the groups that anyio and trio raise where a host is an address."""
    while hasattr(error, "exceptions"):
        (error,) = error.exceptions
    return error


def peer_of(address):
    """Where a connection to an address really goes."""
    with socket.create_connection(address, timeout=20) as sock:
        return sock.getpeername()[0]


def status_of(send, *args, **event):
    try:
        return send(*args, **event)
    except HTTPError as error:
        with error:
            return error.code


def test_remembers_what_it_blocked(tdpostback):
    """For the failure of a test whose sender swallows errors."""
    with tdpostback.redirect(block_network=True):
        for place in (("example.org", 443), (HOST, 8443)):
            with pytest.raises(BlockedConnection):
                socket.create_connection(place)
    with pytest.raises(
        AssertionError,
        match=r"^no request arrived: connections to example\.org, in\.treasure.* were blocked",
    ):
        tdpostback.assert_ingested("shop", "orders", timeout=0)


def test_this_machine_stays_open_by_its_mapped_address(tdpostback):
    with socket.create_server(("127.0.0.1", 0)) as here, tdpostback.redirect(block_network=True):
        _connected(socket.AF_INET6, ("::ffff:127.0.0.1", here.getsockname()[1])).close()


@pytest.mark.parametrize("run", [asyncio.run, lambda send: _uvloop().run(send)])
def test_the_name_of_a_service_is_a_port_on_every_loop(tdpostback, run):
    async def connect():
        reader, writer = await asyncio.open_connection(HOST, "https", ssl=libraries.context)
        writer.write(b"GET / HTTP/1.1\r\nHost: %b\r\nConnection: close\r\n\r\n" % HOST.encode())
        answer = await reader.read()
        writer.close()
        return answer

    with tdpostback.redirect():
        assert run(connect()).startswith(b"HTTP/1.1 404 ")


@pytest.mark.parametrize("run", [asyncio.run, lambda send: _uvloop().run(send)])
@pytest.mark.parametrize("host", ["192.0.2.7", HOST])
def test_endpoints_of_datagrams_are_blocked_on_every_loop(tdpostback, run, host):
    async def send():
        loop = asyncio.get_running_loop()
        kind, to = asyncio.DatagramProtocol, (host, 53)
        transport, _ = await loop.create_datagram_endpoint(kind, remote_addr=to)
        transport.close()  # uvloop would not end with an open one, if it were not blocked

    with tdpostback.redirect(block_network=True), pytest.raises(BlockedConnection, match=host):
        run(send())


def _uvloop():
    return pytest.importorskip("uvloop")


# hosts


def test_knows_the_hosts_a_test_adds(tdpostback):
    with tdpostback.redirect(hosts=["Collect.Example.org"]):
        assert requests.post(f"https://collect.example.org{PATH}", timeout=20).status_code == 403
    assert tdpostback.refused[0].rule == "A4"


def test_says_what_is_no_host(tdpostback):
    wrong = tdpostback.redirect(hosts=["https://collect.example.org"])
    with pytest.raises(ConfigurationError, match="without scheme"):
        wrong.__enter__()


@pytest.mark.parametrize("host", [HOST.upper(), f"{HOST}."])
def test_knows_a_host_in_any_spelling(tdpostback, host):
    with tdpostback.redirect():
        address: Any = socket.getaddrinfo(host, 443)[0][4]
        assert peer_of(address) == "127.0.0.1"


def test_leaves_other_hosts_alone(tdpostback, make_tdpostback):
    other = make_tdpostback()
    port = int(other.url.rpartition(":")[2])
    with tdpostback.redirect(block_network=True):
        status = requests.post(f"http://localhost:{port}{PATH}", timeout=20).status_code
    assert status == 403
    assert len(other.events) == 1
    assert not tdpostback.events


@pytest.mark.parametrize(
    "connect",
    [
        lambda: socket.create_connection((HOST, 443)),
        lambda: _connected(socket.AF_INET, (HOST, 443)),
        lambda: _connected(socket.AF_INET, (socket.gethostbyname(HOST), 443)),
        lambda: _connected(socket.AF_INET, (socket.gethostbyname_ex(HOST)[2][0], 443)),
        lambda: _connected(socket.AF_INET6, socket.getaddrinfo(HOST, 443, socket.AF_INET6)[0][4]),
        lambda: _connected(socket.AF_INET, (HOST, 443), "connect_ex"),
    ],
)
def test_every_way_to_connect_is_redirected(tdpostback, connect):
    with tdpostback.redirect(), connect() as sock:
        assert sock.getpeername()[0].removeprefix("::ffff:") == "127.0.0.1"


def _connected(family, address, method="connect"):
    sock = socket.socket(family)
    assert not getattr(sock, method)(address)
    return sock


def test_knows_the_records_host_without_a_region(tdpostback, send):
    with tdpostback.redirect():
        url = f"https://records.in.treasuredata.com{PATH}"
        assert send(tdpostback.write_key, url, n=1) == 200
    tdpostback.assert_ingested("shop", "orders", n=1)
    assert for_host("records.in.treasuredata.com").name == "ingestion-v1"


def test_names_no_setting_that_is_off_where_a_port_or_a_datagram_was_refused(tdpostback):
    datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with datagrams as sock, tdpostback.redirect():
        with pytest.raises(BlockedConnection):
            sock.sendto(b"x", (RECORDS, 443))
        with pytest.raises(BlockedConnection):
            socket.create_connection((HOST, 8443))
    with pytest.raises(AssertionError) as caught:
        tdpostback.assert_ingested("shop", "orders", timeout=0)
    text = str(caught.value)
    assert f"connections to {RECORDS}, {HOST}:8443 were blocked" in text
    assert f"{RECORDS}: datagrams to it are not redirected" in text
    assert f"{HOST}:8443: only the ports 80 and 443 of {HOST} are redirected" in text
    assert "block_network" not in text


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize("host", ["my_service", "_a.example.org", "127.84.0.9", "x" * 63])
def test_takes_hosts_that_no_authority_would_certify(tdpostback, host, scheme):
    with tdpostback.redirect(hosts=[host]):
        for send in (libraries.with_http_client, libraries.with_requests, libraries.with_httpx):
            assert send(tdpostback.write_key, f"{scheme}://{host}{PATH}", n=1) == 200
    tdpostback.assert_ingested("shop", "orders", count=3)


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize(
    "host", ["\uff49\uff4e.treasuredata.com", "in\u3002treasuredata.com", "BÜCHER.example"]
)
def test_knows_a_host_in_letters_that_clients_convert(tdpostback, host, scheme):
    with tdpostback.redirect(hosts=["bücher.example"], block_network=True):
        for send in (libraries.with_http_client, libraries.on_asyncio(libraries.aiohttp_async)):
            assert send(tdpostback.write_key, f"{scheme}://{host}{PATH}", n=1) == 200
    tdpostback.assert_ingested("shop", "orders", count=2)


@pytest.mark.parametrize("host", ["stra\xdfe.example", "xn--strae-oqa.example", "strasse.example"])
def test_knows_both_forms_of_a_host_that_idna_2008_keeps(tdpostback, host):
    with tdpostback.redirect(hosts=["Stra\xdfe.example"], block_network=True):
        socket.create_connection((host, 80)).close()


# verified


def test_a_client_checks_the_name(tdpostback, make_tdpostback):
    """Of another redirected host: the authority is right, and the certificate is another's."""
    other = "collect.example.org"
    mismatch = pytest.raises(ssl.SSLCertVerificationError, match="Hostname mismatch")
    with ExitStack() as stack:
        stack.enter_context(make_tdpostback().redirect(hosts=[other]))
        stack.enter_context(tdpostback.redirect())
        sock = stack.enter_context(socket.create_connection((HOST, 443)))
        stack.enter_context(mismatch)
        ssl.create_default_context().wrap_socket(sock, server_hostname=other)


def test_the_certificate_names_the_service_alone(connected):
    context = ssl.create_default_context()
    with context.wrap_socket(connected, server_hostname=HOST) as stream:
        certificate: Any = stream.getpeercert()
    names = {name for _, name in certificate["subjectAltName"]}
    assert HOST in names
    assert all(name.endswith("in.treasuredata.com") for name in names)


def test_the_clients_context_learns_nothing(connected):
    context = ssl.create_default_context()
    known = context.cert_store_stats()
    context.wrap_socket(connected, server_hostname=HOST).close()
    assert context.cert_store_stats() == known


class _Stream(ssl.SSLSocket):
    """What a client wants its streams to be."""


class _Object(ssl.SSLObject):
    """What a client wants its TLS without a socket to be."""


def test_what_the_client_demands_is_demanded(connected):
    context = ssl.create_default_context()
    context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_3
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    context.options ^= ssl.OP_NO_TICKET
    context.sslsocket_class, context.sslobject_class = _Stream, _Object
    with context.wrap_socket(connected, server_hostname=HOST) as stream:
        assert isinstance(stream, _Stream)
        for demand in ("minimum_version", "maximum_version", "verify_flags", "verify_mode"):
            assert getattr(stream.context, demand) == getattr(context, demand)
        assert stream.context.options & ssl.OP_NO_TICKET == context.options & ssl.OP_NO_TICKET
    bio = context.wrap_bio(ssl.MemoryBIO(), ssl.MemoryBIO(), server_hostname=HOST)
    assert isinstance(bio, _Object)


def test_a_client_may_bring_a_session(tdpostback):
    context = ssl.create_default_context()
    with (
        PostbackServer(tls=True) as other,
        socket.create_connection(("127.0.0.1", other.port)) as sock,
    ):
        context.load_verify_locations(other.postback.ca_file)
        with context.wrap_socket(sock, server_hostname="localhost") as stream:
            stream.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert stream.recv(100)  # a ticket has come by then
            session = stream.session
    assert session is not None
    with tdpostback.redirect(), socket.create_connection((HOST, 443)) as sock:
        context.wrap_socket(sock, server_hostname=HOST, session=session).close()


def test_a_client_that_does_not_check_still_does_not(tdpostback):
    with tdpostback.redirect(), pytest.warns(Warning, match="Unverified"):
        assert requests.post(URL, verify=False, timeout=20).status_code == 403


def test_another_server_is_not_trusted(tdpostback):
    """By a way unknown to the redirect: here a connection that was there before."""
    public = trustme.CA()
    serving, context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.create_default_context()
    public.issue_cert(HOST).configure_cert(serving)
    public.configure_trust(context)
    with PostbackServer(ssl_context=serving) as elsewhere:
        for redirect in (nullcontext(), tdpostback.redirect()):
            trusted = isinstance(redirect, nullcontext)
            reached = ("127.0.0.1", elsewhere.port)
            with socket.create_connection(reached) as sock, redirect, refused_unless(trusted):
                context.wrap_socket(sock, server_hostname=HOST).close()


def refused_unless(trusted):
    return nullcontext() if trusted else pytest.raises(ssl.SSLCertVerificationError)


# proxies


def test_uses_no_proxy_of_the_environment(tdpostback, monkeypatch):
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("NO_PROXY", "intranet.example")
    before = dict(os.environ)
    with tdpostback.redirect():
        assert requests.post(URL, timeout=20).status_code == 403
        assert os.environ["NO_PROXY"].startswith("intranet.example,")
    assert dict(os.environ) == before


@pytest.fixture(params=["127.0.0.1", "localhost"])
def proxy(request, monkeypatch):
    """The proxy of the environment: it keeps what it is sent and answers 502."""
    with socket.create_server(("127.0.0.1", 0)) as listening, ExitStack() as stack:
        received: list[bytes] = []

        def serve():
            with suppress(OSError):
                while True:
                    sock, _ = listening.accept()
                    stack.enter_context(sock)
                    received.append(sock.recv(65536))
                    sock.sendall(b"HTTP/1.1 502 Real\r\nContent-Length: 0\r\n\r\n")

        thread = threading.Thread(target=serve)
        thread.start()
        url = f"http://{request.param}:{listening.getsockname()[1]}"
        for name in ("HTTP_PROXY", "https_proxy"):
            monkeypatch.setenv(name, url)
        yield SimpleNamespace(received=received, url=url)
        listening.shutdown(socket.SHUT_RDWR)
        thread.join(20)


EARLY = {
    "httpx": lambda _: httpx.Client(timeout=20),
    "urllib3": lambda url: urllib3.ProxyManager(url, timeout=20, retries=False),
    "requests": lambda url: with_proxies(requests.Session(), url),
}


def with_proxies(session, url):
    session.proxies = {"http": url, "https": url}
    session.trust_env = False
    return session


@pytest.mark.parametrize("block_network", [False, True])
@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize("made", EARLY)
def test_a_client_that_took_its_proxy_earlier_does_not_reach_it(
    tdpostback, proxy, made, scheme, block_network
):
    with EARLY[made](proxy.url) as sender:
        with tdpostback.redirect(block_network=block_network):
            headers = libraries.headers(tdpostback.write_key)
            sender.request("POST", f"{scheme}://{HOST}{PATH}", headers=headers, json={"n": 1})
            elsewhere = sender.request("GET", "http://example.org/")
        assert not proxy.received
        tdpostback.assert_ingested("shop", "orders", n=1)
        assert shown(elsewhere) == 403
        assert shown(sender.request("GET", "http://example.org/")) == 502


def shown(answer):
    return getattr(answer, "status_code", None) or answer.status


@pytest.mark.parametrize("run", [libraries.on_asyncio, libraries.on_uvloop])
def test_a_proxy_with_a_name_is_replaced_on_every_loop(tdpostback, monkeypatch, run):
    """It is not resolved either: no such host exists."""
    if run is libraries.on_uvloop:
        pytest.importorskip("uvloop")
    monkeypatch.setenv("ALL_PROXY", "http://proxy.invalid:3128")

    async def send():
        async with httpx.AsyncClient(timeout=20) as early, aiohttp.ClientSession() as session:
            with tdpostback.redirect(block_network=True):
                headers = libraries.headers(tdpostback.write_key)
                await early.post(URL, headers=headers, json={"n": 1})
                options: Any = {"headers": headers, "proxy": "http://proxy.invalid:3128"}
                async with session.post(URL, json={"n": 2}, **options) as answer:
                    assert answer.status == 200

    run(send)()
    tdpostback.assert_ingested("shop", "orders", count=2)


@pytest.mark.parametrize("value", ["http://[::1", "http://proxy.example:port", "", "http://"])
def test_a_proxy_that_is_no_address_is_ignored(tdpostback, monkeypatch, value):
    monkeypatch.setenv("all_proxy", value)
    with tdpostback.redirect():
        assert libraries.with_urllib3(tdpostback.write_key, n=1) == 200


def test_a_blocked_host_is_named_in_place_of_the_proxy(tdpostback, proxy):
    with tdpostback.redirect(block_network=True):
        for send in (requests.get, httpx.get):
            with pytest.raises(BlockedConnection, match=r"example\.com: no connections"):
                send("http://example.com/")
    assert not proxy.received


def test_datagrams_are_blocked_too(tdpostback):
    datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with datagrams as sock, tdpostback.redirect(block_network=True):
        sock.sendto(b"x", ("127.0.0.1", 9))
        for to in (("192.0.2.7", 9), ("example.com", 9), (HOST, 443)):
            with pytest.raises(BlockedConnection, match=to[0]):
                sock.sendto(b"x", 0, to)


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6])
@pytest.mark.parametrize("method", ["connect", "connect_ex"])
def test_datagrams_to_the_service_are_blocked_when_connected(tdpostback, family, method):
    with tdpostback.redirect(), socket.socket(family, socket.SOCK_DGRAM) as sock:
        address: Any = socket.getaddrinfo(HOST, 443, family)[0][4]
        for to in ((HOST, 443), address):
            with pytest.raises(BlockedConnection, match=f"{HOST}: datagrams"):
                getattr(sock, method)(to)


def test_datagrams_are_blocked_when_sent_in_pieces(tdpostback):
    datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with datagrams as sock, tdpostback.redirect(block_network=True):
        sock.sendmsg([b"x"], [], 0, ("127.0.0.1", 9))
        for host in ("192.0.2.7", HOST):
            with pytest.raises(BlockedConnection, match=host):
                sock.sendmsg([b"x"], [], 0, (host, 9))


# the environment


@pytest.mark.parametrize("names", [("NO_PROXY",), ("no_proxy",), ("no_proxy", "NO_PROXY"), ()])
def test_this_machine_is_reached_without_the_proxy_of_the_environment(
    tdpostback, proxy, monkeypatch, names
):
    for name in names:
        monkeypatch.setenv(name, f"{name.lower()}.example")
    with tdpostback.redirect():
        for host in ("127.0.0.1", "localhost"):
            url = f"{tdpostback.url.replace('127.0.0.1', host)}{PATH}"
            for send in (requests.post, httpx.post):
                status = send(url, json={"n": 1}, headers=libraries.headers(tdpostback.write_key))
                assert status.status_code == 200
            assert libraries.with_urllib(tdpostback.write_key, url, n=1) == 200
        for name in names:
            assert os.environ[name].startswith(f"{name.lower()}.example,")
    assert not proxy.received
    tdpostback.assert_ingested("shop", "orders", count=6)


@pytest.mark.usefixtures("proxy")
@pytest.mark.parametrize("kept", ["no_proxy", "NO_PROXY"])
def test_the_value_of_one_spelling_is_not_hidden_by_the_other(tdpostback, monkeypatch, kept):
    monkeypatch.setenv(kept, "intranet.example")
    with tdpostback.redirect():
        for name in ("no_proxy", "NO_PROXY"):
            assert os.environ[name].startswith("intranet.example,")
        assert not proxy_bypass_of("elsewhere.example")
        assert proxy_bypass_of("intranet.example")


def proxy_bypass_of(host):
    return bool(requests.utils.should_bypass_proxies(f"http://{host}", None))


@pytest.mark.usefixtures("proxy")
def test_a_bypass_of_all_hosts_stays_one(tdpostback, monkeypatch):
    monkeypatch.setenv("NO_PROXY", "*")
    with tdpostback.redirect():
        assert proxy_bypass_of("elsewhere.example")


@pytest.mark.usefixtures("proxy")
@pytest.mark.parametrize("block_network", [False, True])
@pytest.mark.parametrize("name", ["no_proxy", "NO_PROXY"])
def test_a_variable_that_is_set_inside_stays_set(tdpostback, monkeypatch, name, block_network):
    before = dict(os.environ)
    with monkeypatch.context() as patch:
        with tdpostback.redirect(block_network=block_network):
            patch.setenv(name, "mine.example")
        assert os.environ == {**before, name: "mine.example"}
        with tdpostback.redirect(block_network=block_network):
            pass
        assert os.environ == {**before, name: "mine.example"}
    restore_environment()  # as at the end of a test
    assert os.environ == before


@pytest.mark.usefixtures("proxy")
@pytest.mark.parametrize("block_network", [False, True])
def test_a_patch_that_ends_after_the_redirect_leaves_nothing(tdpostback, block_network):
    before = dict(os.environ)
    patch = mock.patch.dict(os.environ, {"A_B": "1"})
    with tdpostback.redirect(block_network=block_network):
        patch.start()
    patch.stop()
    restore_environment()  # as at the end of a test
    assert os.environ == before


@pytest.mark.usefixtures("proxy")
def test_a_variable_that_is_set_inside_is_extended_by_the_next_redirect(
    tdpostback, make_tdpostback, monkeypatch
):
    before = dict(os.environ)
    with tdpostback.redirect():
        with monkeypatch.context() as patch:
            patch.setenv("NO_PROXY", "mine.example")
            with make_tdpostback().redirect(hosts=["collect.example.org"]):
                assert os.environ["NO_PROXY"].startswith("mine.example,")
                assert proxy_bypass_of("collect.example.org")
        assert proxy_bypass_of(HOST)
    assert os.environ == before


def test_a_variable_that_a_test_patches_inside_is_restored_after_the_test(pytester):
    pytester.makepyfile(
        """
        import os
        import pytest

        @pytest.mark.parametrize("n", [1, 2])
        def test_it(monkeypatch, tdpostback, n):
            monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
            assert "NO_PROXY" not in os.environ
            with tdpostback.redirect():
                monkeypatch.setenv("NO_PROXY", "mine.example")
            assert os.environ["NO_PROXY"] == "mine.example"

        @pytest.fixture(scope="class")
        def class_patch():
            with pytest.MonkeyPatch.context() as patch:
                yield patch

        class TestClass:
            def test_in_a_class(self, class_patch, monkeypatch, tdpostback):
                monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
                with tdpostback.redirect():
                    class_patch.setenv("NO_PROXY", "mine.example")

        def test_after():
            assert "NO_PROXY" not in os.environ
        """
    )
    result = pytester.runpytest_inprocess(*INSIDE)
    result.assert_outcomes(passed=4)


# hosts that are let through


@pytest.fixture
def machine():
    """Another machine, as far as redirects know: names and addresses that lead to a listener."""
    with socket.create_server(("127.0.0.1", 0)) as listening, pytest.MonkeyPatch.context() as patch:
        known = {"db.example.org": "192.0.2.7", "other.example.org": "192.0.2.8"}
        resolve, connect = socket.getaddrinfo, socket.socket.connect

        def getaddrinfo(host, *arguments, **options):
            return resolve(known.get(host, host), *arguments, **options)

        def connect_to_listener(sock, address):
            if address[0].startswith("192.0.2."):
                address = ("127.0.0.1", listening.getsockname()[1])
            return connect(sock, address)

        patch.setattr(socket, "getaddrinfo", getaddrinfo)
        patch.setattr(socket.socket, "connect", connect_to_listener)
        yield


@pytest.mark.parametrize(
    ("allowed", "reached", "refused"),
    [
        ("db.example.org", "db.example.org", "other.example.org"),
        ("DB.example.org.", "db.example.org", "192.0.2.8"),
        ("192.0.2.7", "192.0.2.7", "192.0.2.8"),
        ("192.0.2.0/29", "192.0.2.7", "192.0.2.8"),
        ("2001:db8::/32 192.0.2.7", "192.0.2.7", "192.0.2.8"),
    ],
)
@pytest.mark.usefixtures("machine")
def test_a_blocked_network_lets_allowed_hosts_through(make_tdpostback, allowed, reached, refused):
    server = make_tdpostback(allow_hosts=allowed)
    with server.redirect(block_network=True):
        socket.create_connection((reached, 5432), timeout=20).close()
        with pytest.raises(BlockedConnection, match=rf"{refused}: .*allow_hosts"):
            socket.create_connection((refused, 5432), timeout=20)
    with pytest.raises(
        AssertionError, match=f"^no request arrived: connections to {refused} were blocked"
    ):
        server.assert_ingested("shop", "orders", timeout=0)


@pytest.mark.parametrize("value", ["https://x.example", "10.0.0.1/8", [7], 7, "a:80"])
def test_says_what_is_neither_host_nor_network(make_tdpostback, value):
    with pytest.raises(ConfigurationError, match=r"allow_hosts=.*networks such as 10\.0\.0\.0/8"):
        make_tdpostback(allow_hosts=value)


# more than one, and the end


def test_the_last_redirect_decides_and_the_first_comes_back(tdpostback, make_tdpostback):
    inner = make_tdpostback()
    inner.keys.add(tdpostback.write_key)
    with tdpostback.redirect():
        for postback in (inner, tdpostback):
            with ExitStack() as stack:
                if postback is inner:
                    stack.enter_context(inner.redirect())
                for send in (libraries.with_requests, libraries.with_httpx, libraries.with_urllib3):
                    assert send(tdpostback.write_key, n=1) == 200
            assert len(postback.events) == 3


def test_redirects_may_end_in_any_order(tdpostback, make_tdpostback):
    later = make_tdpostback()
    first, second = tdpostback.redirect(), later.redirect()
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    assert libraries.with_requests(later.write_key, n=1) == 200
    second.__exit__(None, None, None)
    assert not tdpostback.events
    later.assert_ingested("shop", "orders", n=1)


def test_a_kept_connection_does_not_reach_the_fake_server_before(make_tdpostback):
    for n in range(3):
        postback = make_tdpostback()
        with postback.redirect():
            for send in (libraries.with_requests, libraries.with_httpx, libraries.with_urllib3):
                assert send(postback.write_key, n=n) == 200
        postback.assert_ingested("shop", "orders", count=3, n=n)


@pytest.fixture
def often_switching():
    """Threads change a hundred times as often as usual: few rounds show what many would."""
    usual = sys.getswitchinterval()
    sys.setswitchinterval(usual / 100)
    yield
    sys.setswitchinterval(usual)


@pytest.mark.usefixtures("often_switching")
def test_may_begin_and_end_while_connections_do(tdpostback):
    over = threading.Event()

    def come_and_go():
        while not over.is_set():
            with suppress(OSError), socket.create_connection((HOST, 443), timeout=5) as sock:
                ssl.create_default_context().wrap_socket(sock, server_hostname=HOST).close()

    with tdpostback.redirect():
        threads = [threading.Thread(target=come_and_go) for _ in range(4)]
        for thread in threads:
            thread.start()
        for _ in range(100):
            with tdpostback.redirect():
                pass
        over.set()
        for thread in threads:
            thread.join()


def test_ends_with_an_exception(tdpostback):
    before = replaceable()
    with pytest.raises(ZeroDivisionError), tdpostback.redirect(block_network=True):
        1 / bool(replaceable() == before)
    assert replaceable() == before


def test_a_kept_connection_of_a_late_thread_still_stores(tdpostback):
    connection = http.client.HTTPSConnection(HOST, context=libraries.context, timeout=20)
    ready, over = threading.Event(), threading.Event()
    seen = []

    def work():
        connection.connect()
        ready.set()
        assert over.wait(20)
        connection.request("POST", PATH, "{}", libraries.headers(tdpostback.write_key))
        seen.append(connection.getresponse().status)

    thread = threading.Thread(target=work)
    with tdpostback.redirect():
        thread.start()
        assert ready.wait(20)
    over.set()
    thread.join(20)
    connection.close()
    assert seen == [200]
    tdpostback.assert_ingested("shop", "orders")


@pytest.mark.parametrize("connect", [http.client.HTTPConnection, http.client.HTTPSConnection])
@pytest.mark.parametrize("busy", ["with its head", "with its body", "with its answer"])
@pytest.mark.parametrize("change", ["begins", "ends"])
def test_a_request_on_its_way_is_answered_while_redirects_change(
    tdpostback, make_tdpostback, connect, busy, change
):
    """And its connection, which would lead to the wrong fake server next time, is not kept."""
    other = make_tdpostback()
    fields = {**libraries.headers(tdpostback.write_key), "Content-Length": 2}
    with ExitStack() as stack:
        inner = stack.enter_context(ExitStack())
        (stack if change == "begins" else inner).enter_context(tdpostback.redirect())
        if change == "ends":
            stack.enter_context(other.redirect())
            inner.enter_context(tdpostback.redirect())
        sender = connect(HOST, timeout=20)
        stack.callback(sender.close)
        if busy == "with its answer":
            tdpostback.faults.delay(0.1)
        if busy == "with its head":
            sender.connect()
        else:
            sender.request("POST", PATH, "{" if busy == "with its body" else "{}", fields)
        if busy == "with its answer":
            tdpostback.assert_ingested("shop", "orders")
        inner.close() if change == "ends" else stack.enter_context(other.redirect())
        if busy == "with its head":
            sender.request("POST", PATH, "{}", fields)
        elif busy == "with its body":
            sender.sock.sendall(b"}")
        answer = sender.getresponse()
        assert (answer.status, answer.read()) == (200, b"{}")
        assert not sender.sock or sender.sock.recv(1) == b""
    tdpostback.assert_ingested("shop", "orders", count=1)
    assert not other.events


def test_what_cannot_be_replaced_leaves_all_as_it_was(tdpostback, monkeypatch):
    before = replaceable()
    with monkeypatch.context() as patch:
        patch.delattr(ssl.SSLContext, "wrap_bio")
        with pytest.raises(AttributeError), tdpostback.redirect():
            pass
    assert replaceable() == before
    with tdpostback.redirect():
        assert libraries.with_requests(tdpostback.write_key, n=1) == 200
    assert replaceable() == before


@pytest.mark.parametrize("broken", ["uvloop", "aiohttp.resolver"])
def test_what_is_installed_and_broken_is_left_out(tdpostback, monkeypatch, broken):
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, broken, None)
        with tdpostback.redirect():
            assert libraries.with_requests(tdpostback.write_key, n=1) == 200


def test_an_address_that_is_kept_leads_nowhere_afterwards(tdpostback):
    with tdpostback.redirect():
        address: Any = socket.getaddrinfo(HOST, 443, type=socket.SOCK_STREAM)[0][4]
    with pytest.raises(OSError, match="unreachable"):
        socket.create_connection(address, timeout=20)
    with tdpostback.redirect():
        assert peer_of(address) == "127.0.0.1"


def test_an_address_that_is_kept_does_not_reach_who_listens_on_all_addresses(tdpostback):
    with socket.create_server(("0.0.0.0", 0)) as listening:
        with tdpostback.redirect():
            addresses = {socket.gethostbyname(HOST), socket.gethostbyname(RECORDS)}
        assert len(addresses) == 2
        for address in addresses:
            # The second one connects as code in C does: no redirect sees it.
            for connect in (socket.socket.connect, _socket.socket.connect):
                with socket.socket() as sock, pytest.raises(OSError, match="unreachable"):
                    connect(sock, (address, listening.getsockname()[1]))


@pytest.mark.parametrize("failure", [KeyboardInterrupt, MemoryError])
def test_an_interrupt_at_any_line_of_the_setup_leaves_all_as_it_was(
    tdpostback, monkeypatch, failure
):
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    with tdpostback.redirect():
        pass  # opens the listeners
    before = replaceable()
    lines: set[int] = set()
    entered = tdpostback.redirect()
    traced(entered.__enter__, lines.add)
    entered.__exit__(None, None, None)
    assert len(lines) > 50
    for line in sorted(lines):

        def interrupt(current, line=line):
            if current == line:
                sys.settrace(None)
                raise failure

        manager = tdpostback.redirect()
        with pytest.raises(failure):
            traced(manager.__enter__, interrupt)
        manager.entered = True  # the interrupt may come before it is
        assert replaceable() == before


def test_an_interrupt_at_any_line_of_the_end_leaves_all_as_it_was(tdpostback, monkeypatch):
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    before = replaceable()
    lines: set[int] = set()
    with tdpostback.redirect():
        pass  # opens the listeners

    def interrupt(current):
        if current == line:
            sys.settrace(None)
            raise KeyboardInterrupt

    manager = tdpostback.redirect()
    manager.__enter__()
    traced(lambda: manager.__exit__(None, None, None), lines.add)
    first = manager.__exit__.__code__.co_firstlineno
    for line in sorted(lines - {first + 1}):  # there it has not begun
        manager = tdpostback.redirect()
        manager.__enter__()
        with pytest.raises(KeyboardInterrupt):
            traced(lambda manager=manager: manager.__exit__(None, None, None), interrupt)
        assert replaceable() == before, line


def traced(function, visit):
    """Call `function`, and `visit(number)` before each line of the redirect's code that runs."""

    def trace(frame, event, _):
        if frame.f_code.co_filename != redirect_module.__file__:
            return None
        if event == "line":
            visit(frame.f_lineno)
        return trace

    previous = sys.gettrace()
    sys.settrace(trace)
    try:
        function()
    finally:
        sys.settrace(previous)


def test_a_redirect_and_a_proxy_outlive_a_restart_of_the_server():
    with PostbackServer() as server, server.postback.redirect():
        proxies = {"http": server.postback.proxy_environ()["HTTP_PROXY"]}
        for n in range(2):
            assert libraries.with_requests(server.write_key, n=n) == 200
            assert requests.get("http://in.treasuredata.com/", proxies=proxies).status_code == 404
            server.stop()
            with pytest.raises(ConnectionRefusedError):
                socket.create_connection((HOST, 443))
            server.start()
        server.postback.assert_ingested("shop", "orders", count=2)


def test_a_redirect_decorates_a_function(tdpostback):
    @tdpostback.redirect()
    def send():
        return libraries.with_requests(tdpostback.write_key, n=1)

    assert [send(), send()] == [200, 200]
    tdpostback.assert_ingested("shop", "orders", count=2)


# the setting


def test_the_marker_redirects_the_test(pytester):
    pytester.makepyfile(
        sender=f"""
        import requests
        session = requests.Session()

        def send(key, **event):
            return session.post("{URL}", headers={{"X-TD-Write-Key": str(key)}}, json=event)
        """,
        test_it="""
        import socket
        import pytest, sender
        from pytest_tdpostback import BlockedConnection

        GETADDRINFO = socket.getaddrinfo

        @pytest.mark.tdpostback(redirect=True)
        @pytest.mark.parametrize("n", [1, 2])
        def test_redirected(tdpostback, n):
            assert sender.send(tdpostback.write_key, n=n).status_code == 200
            tdpostback.assert_ingested("shop", "orders", n=n)

        @pytest.mark.tdpostback(block_network=True, extra_hosts=["collect.example.org"])
        def test_blocked(tdpostback):
            assert sender.send(tdpostback.write_key, n=1).status_code == 200
            assert socket.create_connection(("collect.example.org", 80))
            with pytest.raises(BlockedConnection, match="example.com: no connections"):
                socket.create_connection(("example.com", 80))

        @pytest.fixture
        def flushes_late(tdpostback):
            yield
            sender.send("1/late")

        @pytest.mark.tdpostback(redirect=True, on_auth_failure="ignore")
        def test_covers_the_teardown_of_other_fixtures(tdpostback, flushes_late):
            pass

        def test_restored(tdpostback):
            assert socket.getaddrinfo is GETADDRINFO
            assert not tdpostback.events
        """,
    )
    result = pytester.runpytest_inprocess("-W", "ignore", *INSIDE)
    result.assert_outcomes(passed=5)


def test_the_run_can_be_redirected(pytester):
    pytester.makepyfile(
        f"""
        import urllib.request

        def send(key):
            headers = {{"X-TD-Write-Key": str(key), "Content-Type": "application/json"}}
            urllib.request.urlopen(urllib.request.Request("{URL}", b"{{}}", headers)).close()

        def test_it(tdpostback):
            send(tdpostback.write_key)
            tdpostback.assert_ingested("shop", "orders")

        def test_another_fake_server(make_tdpostback):
            postback = make_tdpostback()
            send(postback.write_key)
            postback.assert_ingested("shop", "orders")

        def test_a_fake_server_that_is_not_redirected(make_tdpostback):
            postback = make_tdpostback()
            make_tdpostback(redirect=False)
            send(postback.write_key)
            postback.assert_ingested("shop", "orders")
        """
    )
    result = pytester.runpytest_inprocess("--tdpostback-redirect=true", *INSIDE)
    result.assert_outcomes(passed=3)


ALL_KINDS = {
    "test_it.py": f"""
        import socket, unittest
        import pytest

        def is_redirected(port=80):
            with socket.create_connection(("{HOST}", port), timeout=20) as sock:
                return sock.getpeername()[0] == "127.0.0.1"

        @pytest.fixture(scope="session", autouse=True)
        def covers_the_setup_of_others():
            assert is_redirected()
            yield
            assert is_redirected()

        @pytest.fixture
        def covers_the_teardown_of_others():
            yield
            assert is_redirected()

        def test_without_a_fixture():
            assert is_redirected()

        def test_with_the_server(tdpostback_server, covers_the_teardown_of_others):
            assert is_redirected()

        class TestCase(unittest.TestCase):
            def test_of_unittest(self):
                assert is_redirected()

        class TestClass:
            def test_method(self):
                '''
                >>> is_redirected()
                True
                '''
                assert is_redirected()
        """,
    "text.txt": f"""
        >>> import socket
        >>> with socket.create_connection(("{HOST}", 80), timeout=20) as sock:
        ...     sock.getpeername()[0]
        '127.0.0.1'
        """,
}


@pytest.mark.parametrize("setting", ["redirect", "block_network"])
def test_the_run_is_redirected_whatever_its_tests_ask_for(pytester, setting):
    for name, text in ALL_KINDS.items():
        pytester.path.joinpath(name).write_text(dedent(text))
    with_doctests = pytest.version_tuple >= (8,)  # before, they have no list of fixtures
    options = ("--doctest-modules", "--doctest-glob=*.txt") if with_doctests else ()
    setting = f"tdpostback_{setting}=true"
    result = pytester.runpytest_inprocess("-o", setting, *options, *INSIDE)
    result.assert_outcomes(passed=6 if with_doctests else 4)


def test_the_marker_covers_its_test_alone(pytester):
    pytester.makepyfile(
        f"""
        import http.client, socket
        import pytest

        GETADDRINFO = socket.getaddrinfo
        MARKED = pytest.param(True, marks=pytest.mark.tdpostback(redirect=True))

        @pytest.mark.parametrize("marked", [False, MARKED, False])
        def test_marked(marked):
            assert (socket.getaddrinfo is not GETADDRINFO) == marked

        @pytest.mark.tdpostback(redirect=True)
        def test_a_key_failure_fails_it(tdpostback_server):
            sender = http.client.HTTPConnection("{HOST}")
            headers = {{"X-TD-Write-Key": "1/wrong", "Content-Type": "application/json"}}
            sender.request("POST", "{PATH}", "{{}}", headers)
            with sender.getresponse() as response:
                assert response.status == 200
            sender.close()
            assert len(tdpostback_server.postback.events) == 1
        """
    )
    result = pytester.runpytest_inprocess(*INSIDE)
    result.assert_outcomes(passed=3, failed=1)
    result.stdout.fnmatch_lines(["*rejected after 200, A5: write key 1/wr* is unknown*"])


WHOLE_RUN = f"""
    import os, threading
    import pytest, requests

    requests.packages.urllib3.disable_warnings()
    SESSION = requests.Session()
    SESSION.trust_env = False

    def send(key, n, environ=None):
        if environ is not None:
            SESSION.proxies = {{"https": environ["HTTPS_PROXY"]}}
            SESSION.verify = environ["SSL_CERT_FILE"]
        headers = {{"X-TD-Write-Key": str(key)}}
        assert SESSION.post("{URL}", json={{"n": n}}, headers=headers).status_code == 200

    @pytest.fixture(scope="session")
    def environ(tdpostback_server):
        return tdpostback_server.postback.proxy_environ()

    @pytest.fixture(scope="session")
    def redirected(tdpostback_server):
        with tdpostback_server.postback.redirect():
            yield

    @pytest.mark.parametrize("n", range(3))
    def test_by_the_proxy(environ, tdpostback_server, tdpostback, n):
        send(tdpostback_server.write_key, n, environ)
        tdpostback.assert_ingested("shop", "orders", count=1, n=n)

    @pytest.mark.parametrize("n", range(3))
    def test_by_the_redirect(redirected, tdpostback_server, n):
        send(tdpostback_server.write_key, n)
        tdpostback_server.postback.assert_ingested("shop", "orders", count=1, n=n)

    def test_a_key_failure_fails_the_test_running_then(environ):
        send("1/wrong", 0, environ)

    def test_nothing_is_left_over(environ, tdpostback):
        tdpostback.assert_nothing_ingested()
    """


@pytest.mark.parametrize("setting", ["false", "true"])
def test_what_a_session_has_leads_to_the_test_running_then(pytester, setting):
    """Beside a redirect of each test too."""
    pytester.makepyfile(WHOLE_RUN)
    options = ["-o", f"tdpostback_redirect={setting}"]
    result = pytester.runpytest_inprocess(*options, *INSIDE)
    result.assert_outcomes(passed=7, failed=1)
    result.stdout.fnmatch_lines(["FAILED *test_a_key_failure_fails_the_test_running_then*"])
