"""Servers and listening sockets: they begin, they end, and nothing of them is left."""

from __future__ import annotations

import concurrent.futures
import contextlib
import errno
import gc
import multiprocessing
import os
import resource
import selectors
import signal
import socket
import subprocess
import sys
import threading
import tracemalloc
import urllib.request
from pathlib import Path

import httpx
import pytest
from pytest_httpserver.httpserver import HTTPServerError

from pytest_tdpostback import ConfigurationError, PostbackServer
from pytest_tdpostback.collector.collector import Collector
from pytest_tdpostback.collector.event_log import EventState
from pytest_tdpostback.protocol.settings import Settings
from pytest_tdpostback.server import redirect as redirect_module
from pytest_tdpostback.server import server as server_module
from pytest_tdpostback.server.tls import client_context, server_context
from tests.http_client import HttpClient, talk
from tests.server.conftest import Server, served
from tests.server.raw_connections import BODY, KEY, request

DESCRIPTORS = Path("/proc/self/fd")
linux = pytest.mark.skipif(not DESCRIPTORS.exists(), reason="counts descriptors by /proc")


def threads():
    return [thread for thread in threading.enumerate() if thread.name.startswith("tdpostback")]


def descriptors():
    gc.collect()
    return len(list(DESCRIPTORS.iterdir()))


def refused(port):
    with socket.socket() as sock:
        return sock.connect_ex(("127.0.0.1", port)) != 0


def in_loop(server, function):
    """What `function()` returns in the server's loop."""
    future: concurrent.futures.Future[object] = concurrent.futures.Future()
    server.loop.call(lambda: future.set_result(function()))
    return future.result(20)


def test_stop_leaves_nothing_though_connections_are_open():
    before = threads()
    server = Server()
    server.start()
    port = server.port
    idle, half, slow = (HttpClient("127.0.0.1", port) for _ in range(3))
    half.send(request()[:30])
    slow.send(request() * 2000)  # and it never reads
    assert served(server)
    server.stop()
    assert threads() == before
    assert not server.is_running()
    assert refused(port)
    for sender in (idle, half, slow):
        sender.read_to_end()
        assert sender.ended
        sender.socket.close()


def test_outcomes_come_although_the_server_stopped():
    with Server(validation_delay=0.2) as server:
        assert served(server)
        assert server.collector.log.count(EventState.PENDING)
    assert server.ingested() == 1


def test_start_when_running_and_stop_when_stopped_are_errors(server):
    with pytest.raises(HTTPServerError, match="already running"):
        server.start()
    server.stop()
    with pytest.raises(HTTPServerError, match="not running"):
        server.stop()
    with pytest.raises(HTTPServerError, match="not running"):
        server.open_listener(lambda: server.collector)
    server.start()


def test_a_server_starts_again_where_it_was(server):
    url = server.url_for("/")
    for _ in range(3):
        with HttpClient("127.0.0.1", server.port) as sender:
            sender.send(request())
            sender.read_responses(1)
            server.stop()
        server.start()
        assert server.url_for("/") == url
        assert served(server)
    assert len(server.events) == 6


def test_a_server_starts_and_stops_again_and_again():
    server = Server()
    for _ in range(20):
        server.start()
        with HttpClient("127.0.0.1", server.port) as sender:
            sender.send(request())
            assert sender.statuses(1) == [200]
            server.stop()


def test_a_taken_port_is_named_and_nothing_is_left(server):
    before = threads()
    other = Server(port=server.port)
    with pytest.raises(ConfigurationError, match=f"127.0.0.1:{server.port}.*port 0"):
        other.start()
    assert not other.is_running()
    assert threads() == before


@pytest.mark.parametrize("host", ["127.255.255.254.1", "x" * 300, "a\0b", "a..b"])
def test_an_address_that_cannot_be_had(host):
    server = Server(host, expose=True)
    with pytest.raises(ConfigurationError, match="cannot listen on"):
        server.start()


@pytest.mark.parametrize("port", [-1, 70_000, "8080", "abc", None, True, 1.5])
def test_a_port_that_is_no_port_is_an_error(port):
    with pytest.raises(ConfigurationError, match=f"port {port!r}: a port is an int from 0 to 655"):
        Server(port=port)


@pytest.mark.parametrize(
    ("owner", "name"), [(selectors, "DefaultSelector"), (threading.Thread, "start")]
)
def test_a_loop_that_cannot_start_is_an_error_and_leaves_nothing(monkeypatch, owner, name):
    def broken(*_):
        raise RuntimeError("no loop today")

    threads_before, descriptors_before = threads(), descriptors()
    server = Server()
    with monkeypatch.context() as patch:
        patch.setattr(owner, name, broken)
        with pytest.raises(RuntimeError, match="no loop today"):
            server.start()
    assert not server.is_running()
    assert threads() == threads_before
    assert descriptors() == descriptors_before


@pytest.mark.parametrize(
    "host",
    [
        *("0.0.0.0", "::", "", "192.0.2.1", "::ffff:192.0.2.1"),
        *("127.example.com", "example.com", "localhost.example.com", "notlocalhost", "a\0b"),
    ],
)
def test_an_address_beyond_loopback_needs_expose(host):
    with pytest.raises(ConfigurationError, match="expose=True"):
        Server(host)


@pytest.mark.parametrize(
    "host",
    [
        *("127.0.0.1", "127.1.2.3", "127.1", "::1", "[::1]", "::ffff:127.0.0.1"),
        *("localhost", "LOCALHOST", "localhost.", "sub.localhost"),
    ],
)
def test_a_loopback_address_needs_no_expose(host):
    assert not Server(host).is_running()


@pytest.mark.parametrize("host", [None, b"localhost", 127])
def test_a_host_that_is_no_string_is_an_error(host):
    with pytest.raises(ConfigurationError, match="give an address or a name as a string"):
        Server(host)


def test_a_thread_that_cannot_start_leaves_nothing(monkeypatch):
    def no_thread(_):
        raise RuntimeError("can't start new thread")

    server = Server()
    monkeypatch.setattr(threading.Thread, "start", no_thread)
    with pytest.raises(RuntimeError, match="thread"):
        server.start()
    monkeypatch.undo()
    with server:
        assert server.is_running()


def test_what_a_test_server_inherits_makes_sense(server):
    assert server.url_for("/a") == f"http://127.0.0.1:{server.port}/a"
    assert server.is_running()
    assert server.log == []
    assert talk(server.port, request(target=b"/unknown")) == [404]


def test_a_closed_listener_is_gone_and_the_others_stay(server):
    collector = Collector(Settings())
    listener = server.open_listener(lambda: collector)
    with HttpClient("127.0.0.1", listener.port) as sender:
        sender.send(request())
        assert sender.statuses(1) == [200]
        server.close_listeners([listener])
        sender.read_to_end()
        assert sender.ended
    assert refused(listener.port)
    assert served(server)
    assert len(collector.log) == 1
    server.close_listeners([listener])


def test_six_hundred_open_connections_beside_one_that_works(server):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 2 * 600 + 200
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(wanted, hard), hard))
    count = min(600, (resource.getrlimit(resource.RLIMIT_NOFILE)[0] - 200) // 2)
    senders = [HttpClient("127.0.0.1", server.port) for _ in range(count)]
    try:
        for number, sender in enumerate(senders):
            if number % 2:
                sender.send(request()[:-2])
        for _ in range(50):
            assert served(server)
        for number, sender in enumerate(senders):
            sender.send(request()[-2:] if number % 2 else request())
        for sender in senders:
            assert sender.statuses(1) == [200]
    finally:
        for sender in senders:
            sender.socket.close()
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert server.ingested() == count + 50


@linux
def test_two_thousand_listeners_leave_nothing(server):
    collector = server.collector
    in_loop(server, list)
    for _ in range(200):  # what is made once is made now
        server.close_listeners([server.open_listener(lambda: collector)])
    in_loop(server, list)
    descriptors_before, threads_before = descriptors(), threads()
    tracemalloc.start()
    try:
        for number in range(2_000):
            listener = server.open_listener(lambda: collector)
            if number % 100 == 0:
                assert talk(listener.port, request()) == [200]
            server.close_listeners([listener])
        in_loop(server, list)
        gc.collect()
        grown = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert descriptors() == descriptors_before
    assert threads() == threads_before
    assert grown < 100_000  # twenty events among it


@linux
def test_servers_leave_no_descriptor():
    with Server() as server:
        assert served(server)
    before = descriptors()
    for _ in range(50):
        with Server() as server:
            assert served(server)
    assert descriptors() == before


@linux
def test_without_descriptors_the_server_recovers(server, monkeypatch):
    monkeypatch.setattr(server_module, "EXHAUSTED_SECONDS", 0.01)
    sender = HttpClient("127.0.0.1", server.port)
    sender.send(request())
    sender.read_responses(1)
    waiting = socket.socket()
    with few_descriptors(), full_table():
        waiting.connect(("127.0.0.1", server.port))
        assert server.collector.wait_until(lambda: server.collector.errors, 20)
        sender.send(request())
        assert sender.statuses(1) == [200]
    assert served(server)
    waiting.close()
    sender.socket.close()
    with pytest.raises(ConfigurationError, match=r"cannot accept .*ulimit -n"):
        server.check()
    server.check()


@linux
def test_without_descriptors_start_and_open_say_so(server):
    other = Server()
    with few_descriptors(), full_table():
        with pytest.raises(ConfigurationError, match=r"ulimit -n"):
            other.start()
        with pytest.raises(ConfigurationError, match=r"ulimit -n"):
            server.open_listener(server.current_collector)
    enough_for_a_socket, why = 2, pytest.raises(ConfigurationError, match=r"ulimit -n")
    with few_descriptors(), full_table(spare=enough_for_a_socket), why:
        other.start()
    assert not other.is_running()


@contextlib.contextmanager
def few_descriptors():
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    highest = max(int(each.name) for each in DESCRIPTORS.iterdir())
    resource.setrlimit(resource.RLIMIT_NOFILE, (highest + 10, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@contextlib.contextmanager
def full_table(spare=0):
    """No descriptor is left but `spare`."""
    taken = []
    try:
        with contextlib.suppress(OSError):
            while True:
                taken.append(os.dup(0))
        for _ in range(spare):
            os.close(taken.pop())
        yield
    finally:
        for descriptor in taken:
            os.close(descriptor)


def test_a_connection_that_is_just_accepted_ends_after_its_response(server):
    """It has sent nothing yet when the connections of its listener are closed."""
    (listener,) = server._listeners
    mine, theirs = socket.socketpair()
    theirs.setblocking(False)

    def accept_and_close():
        listener.serve(theirs, "127.0.0.1:1")
        listener.close_connections()

    with mine:
        mine.settimeout(20)
        server.loop.call(accept_and_close)
        mine.sendall(request())
        data = b"".join(iter(lambda: mine.recv(1000), b""))
    assert b"HTTP/1.1 200 OK" in data
    assert b"\r\nConnection: close\r\n" in data


def test_a_connection_that_cannot_be_served_is_closed(server, monkeypatch):
    def broken(*_):
        raise ZeroDivisionError

    with monkeypatch.context() as patch:
        patch.setattr(server._listeners[0], "_make_connection", broken)
        assert talk(server.port, request()) == []
    assert talk(server.port, request()) == [200]
    with pytest.raises(ZeroDivisionError):
        server.check()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
def test_a_forked_process_takes_no_connection_along(make_server, tls):
    server = make_server(ssl_context=server_context(("127.0.0.1",)) if tls else None)
    client = HttpClient("127.0.0.1", server.port, tls=client_context() if tls else None)
    client.send(request())
    assert client.statuses(1) == [200]
    ready, go_on = os.pipe(), os.pipe()
    child = os.fork()
    if not child:
        os.write(ready[1], b"1" if server.is_running() else b"0")
        os.read(go_on[0], 1)
        os._exit(0)
    try:
        assert os.read(ready[0], 1) == b"0"
        client.send(request())
        assert client.statuses(1) == [200]
        server.stop()
        assert refused(server.port)
        with contextlib.suppress(OSError):  # TLS may end without a goodbye
            assert not client.read_to_end()
    finally:
        os.write(go_on[1], b"1")
        os.waitpid(child, 0)
        client.socket.close()
        for descriptor in (*ready, *go_on):
            os.close(descriptor)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
@pytest.mark.parametrize("running", [True, False], ids=["running", "stopped"])
def test_a_forked_process_does_not_wait_for_a_thread_that_it_does_not_have(running):
    with PostbackServer() as server:
        postback, transport = server.postback, server.postback.httpx_transport()
        url, key = postback.event_url("shop", "orders"), postback.write_key
        fields = {"Content-Type": "application/json", "X-TD-Write-Key": key}
        postback.faults.status(503)
        with postback.redirect():
            pass
        if not running:
            server.stop()

        def send():
            with httpx.Client(transport=transport) as client, postback.redirect():
                return client.post(url, content=b"{}", headers=fields).status_code

        with locked(postback._collector.lock), locked(redirect_module._lock):
            assert in_fork(send) == "503"


@contextlib.contextmanager
def locked(lock):
    """Another thread has `lock`."""
    held, over = threading.Event(), threading.Event()

    def hold():
        with lock:
            held.set()
            assert over.wait(20)

    thread = threading.Thread(target=hold)
    thread.start()
    assert held.wait(20)
    try:
        yield
    finally:
        over.set()
        thread.join(20)


def in_fork(function):
    """What `function()` returns or raises in a forked process, as text; empty if it never ends."""
    read, write = os.pipe()
    child = os.fork()
    if not child:
        signal.alarm(5)
        try:
            text = str(function())
        except BaseException as error:  # noqa: BLE001 - the parent looks at it
            text = f"{type(error).__name__}: {error}"
        os.write(write, text.encode())
        os._exit(0)
    os.close(write)
    os.waitpid(child, 0)
    with os.fdopen(read, "rb") as pipe:
        return pipe.read().decode()


def redirected(postback):
    with postback.redirect(), socket.create_connection(("in.treasuredata.com", 80)) as sock:
        return sock.getpeername()[0]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
@pytest.mark.parametrize(
    "use",
    [
        lambda postback: postback.url,
        lambda postback: postback.write_key,
        redirected,
        lambda postback: postback.proxy_environ()["HTTP_PROXY"],
    ],
    ids=["url", "write_key", "redirect", "proxy_environ"],
)
def test_what_a_forked_process_uses_first_is_an_error_that_says_so(make_tdpostback, use):
    postback = make_tdpostback()
    text = in_fork(lambda: use(postback))
    assert text.startswith("ConfigurationError: ")
    assert "enter `redirect()`, call `proxy_environ()`, and read `url` and `write_key` be" in text
    here = use(postback)
    assert in_fork(lambda: use(postback)) == here


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
def test_a_process_that_is_forked_while_a_thread_opens_a_port_does_not_wait_for_that_thread(
    make_tdpostback, monkeypatch
):
    postback, other = make_tdpostback(), make_tdpostback()
    url, create_server = postback.url, socket.create_server
    opening, over = threading.Event(), threading.Event()

    def create_server_late(*args, **kwargs):
        opening.set()
        assert over.wait(20)
        return create_server(*args, **kwargs)

    monkeypatch.setattr(socket, "create_server", create_server_late)
    thread = threading.Thread(target=lambda: other.url)
    thread.start()
    assert opening.wait(20)
    try:
        assert in_fork(lambda: other.url).startswith("ConfigurationError: the fake server runs in")
        assert in_fork(lambda: postback.url) == url
    finally:
        over.set()
        thread.join(20)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
def test_a_forked_process_sends_to_the_server_of_its_parent(make_tdpostback):
    postback = make_tdpostback()
    url, key = postback.event_url("shop", "orders"), postback.write_key

    def send():
        sent = urllib.request.Request(url, BODY, {"Content-Type": "application/json"})
        sent.add_header("X-TD-Write-Key", key)
        with urllib.request.urlopen(sent, timeout=20) as response:
            return response.status

    process = multiprocessing.get_context("fork").Process(target=send)
    process.start()
    process.join(20)
    assert process.exitcode == 0
    assert in_fork(send) == "200"
    postback.assert_ingested("shop", "orders", count=2, id=1)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
def test_a_forked_process_does_not_remove_the_certificate_at_its_end():
    script = """if True:
        import os, pathlib, sys
        from pytest_tdpostback.server.tls import TrustFiles
        files = TrustFiles()
        path = pathlib.Path(files.ca)
        if not os.fork():
            sys.exit()
        os.wait()
        print(path, path.exists())
    """
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    path, existed = done.stdout.split()
    assert existed == "True"
    assert not Path(path).exists()


def test_a_server_on_ipv6():
    if not has_ipv6():
        pytest.skip("no IPv6 loopback")
    with Server("[::1]") as server:
        with HttpClient("::1", server.port) as client:
            client.send(request())
            assert client.statuses(1) == [200]
        assert server.url_for("").startswith("http://[::1]:")
        assert server.events[0].request.peer.startswith("[::1]:")


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST", "localhost."])
def test_localhost_listens_in_every_family_that_there_is(host, monkeypatch):
    both = [
        (socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("::1", 0, 0, 0)),
        (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", 0)),
    ]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: both)
    server = Server(host)
    server.start()
    monkeypatch.undo()
    with server:
        for address in ["127.0.0.1", "::1"] if has_ipv6() else ["127.0.0.1"]:
            with HttpClient(address, server.port) as client:
                client.send(request())
                assert client.statuses(1) == [200]


def test_a_port_that_is_taken_in_one_family_is_not_chosen(monkeypatch):
    if not has_ipv6():
        pytest.skip("no IPv6 loopback")
    real, bound = server_module._bound, []

    def taken_at_first(addresses, port):
        bound.append(addresses)
        if len(bound) == 1:
            raise OSError(errno.EADDRINUSE, "Address already in use")
        return real(addresses, port)

    monkeypatch.setattr(server_module, "_bound", taken_at_first)
    monkeypatch.setattr(
        socket,
        "getaddrinfo",
        lambda *_, **__: [
            (socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("::1", 0, 0, 0)),
            (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", 0)),
        ],
    )
    server = Server("localhost")
    server.start()
    server.stop()
    assert len(bound) >= 2  # more, if the port of one family is taken in the other


def has_ipv6():
    try:
        with socket.socket(socket.AF_INET6) as sock:
            sock.bind(("::1", 0))
    except OSError:
        return False
    return True


def test_the_collector_keeps_nothing_the_collector_of_garbage_walks(server):
    assert talk(server.port, request() * 100) == [200] * 100
    assert server.collector.settle(20)
    log = server.collector.log
    before = _walked(log)
    assert talk(server.port, request() * 1000) == [200] * 1000
    assert server.collector.settle(20)
    assert _walked(log) < before + 20  # 1,000 more events; a cached response may come and go
    assert log.bodies[0] == log.bodies[1099] == BODY


def _walked(log):
    """How many objects the collector of garbage looks at because of `log`."""
    found, todo = {}, [log]
    while todo:
        new = todo.pop()
        if id(new) not in found and not isinstance(new, type):
            found[id(new)] = new
            todo += gc.get_referents(new) if gc.is_tracked(new) else []
    return len(found)


SELECTORS = ["SelectSelector", "PollSelector", "EpollSelector", "KqueueSelector"]


@pytest.mark.parametrize("name", [name for name in SELECTORS if hasattr(selectors, name)])
def test_the_server_works_on_every_selector(monkeypatch, name):
    monkeypatch.setattr(selectors, "DefaultSelector", getattr(selectors, name))
    with PostbackServer(write_keys=[KEY]) as server:
        assert talk(server.port, request() * 2) == [200, 200]
        with server.postback.redirect():
            (listener, *_) = server._listeners[1:]
            assert talk(listener.port, request()) == [200]
    assert refused(listener.port)


def test_a_listener_that_closed_is_not_opened_by_a_timer(server):
    (listener,) = server._listeners

    def close_and_open():
        listener.close()
        listener.open()

    in_loop(server, close_and_open)
    server.stop()
    server.start()
    assert served(server)
