"""The fake server's own URL over HTTPS, and where the run's authority is kept."""

from __future__ import annotations

import os
import socket
import ssl
import subprocess
import sys
import tempfile
from pathlib import Path

import certifi
import httpx
import pytest
import requests

from pytest_tdpostback import PostbackServer
from pytest_tdpostback.server import tls
from tests.checkout import INSIDE
from tests.server.client_libraries import headers


def send(postback, **options):
    url = postback.event_url("shop", "orders")
    return requests.post(url, headers=headers(postback.write_key), json={}, timeout=20, **options)


def test_serves_its_own_url_over_https(make_tdpostback):
    postback = make_tdpostback(tls=True)
    assert postback.url.startswith("https://127.0.0.1:")
    assert send(postback, verify=postback.ca_file).status_code == 200
    with httpx.Client(verify=postback.ssl_context()) as client:
        url = postback.event_url("shop", "orders").replace("127.0.0.1", "localhost")
        assert client.post(url, headers=headers(postback.write_key), json={}).status_code == 200
    postback.assert_ingested("shop", "orders", count=2)


@pytest.mark.tdpostback(tls=True)
def test_the_marker_serves_https(tdpostback):
    assert tdpostback.url.startswith("https://")
    assert send(tdpostback, verify=tdpostback.ca_file).status_code == 200


def test_a_client_that_does_not_trust_the_authority_refuses(make_tdpostback):
    postback = make_tdpostback(tls=True)
    with pytest.raises(requests.exceptions.SSLError):
        send(postback)
    other = ssl.create_default_context(cafile=certifi.where())
    with (
        httpx.Client(verify=other) as client,
        pytest.raises(httpx.ConnectError, match="CERTIFICATE"),
    ):
        client.get(postback.url)
    assert not postback.events


def test_a_client_checks_the_name(make_tdpostback):
    postback = make_tdpostback(tls=True)
    port = int(postback.url.rpartition(":")[2])
    mismatch = pytest.raises(ssl.SSLCertVerificationError, match="Hostname mismatch")
    with socket.create_connection(("127.0.0.1", port)) as sock, mismatch:
        postback.ssl_context().wrap_socket(sock, server_hostname="in.treasuredata.com")


def test_a_server_of_its_own_takes_the_setting():
    with PostbackServer(tls=True) as server:
        assert server.url.startswith("https://")
        assert send(server.postback, verify=server.postback.ca_file).status_code == 200


def test_the_setting_reaches_the_address_of_the_run(pytester):
    pytester.makepyfile(
        """
        import urllib.request

        def test_it(tdpostback_server):
            postback = tdpostback_server.postback
            assert tdpostback_server.url.startswith("https://")
            headers = {
                "X-TD-Write-Key": str(postback.write_key), "Content-Type": "application/json"
            }
            request = urllib.request.Request(postback.event_url("shop", "orders"), b"{}", headers)
            urllib.request.urlopen(request, context=postback.ssl_context()).close()
            postback.assert_ingested("shop", "orders")
        """
    )
    pytester.makeini("[pytest]\ntdpostback_tls = true\n")
    result = pytester.runpytest_inprocess(*INSIDE)
    result.assert_outcomes(passed=1)


# safety


USE_ALL_LISTENERS = """
import pathlib, sys
from pytest_tdpostback import PostbackServer

with PostbackServer() as server:
    postback = server.postback
    folder = pathlib.Path(postback.ca_file).parent
    written = []
    sys.addaudithook(
        lambda event, arguments: event == "open" and set(arguments[1] or "") & set("wax+")
        and written.append(pathlib.Path(str(arguments[0])))
    )
    with postback.redirect():
        postback.proxy_environ()
    assert written, "the hook saw nothing"
    elsewhere = [path for path in written if folder not in path.parents]
    assert not elsewhere, elsewhere
    assert not any(b"PRIVATE" in path.read_bytes() for path in folder.iterdir())
    print(*sorted(path.name for path in folder.iterdir()))
"""


@pytest.mark.skipif(
    sys.platform != "linux", reason="elsewhere a leaf's key is in a file for a moment"
)
@pytest.mark.once
def test_no_key_is_written_and_nothing_outside_the_folder():
    assert python(USE_ALL_LISTENERS) == "bundle.jks bundle.pem ca.pem tdpostback.ini"


def python(code):
    """What a Python program prints."""
    command = [sys.executable, "-B", "-c", code]  # no bytecode is written either
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.once
def test_without_a_run_the_files_go_with_the_process():
    code = (
        "from pytest_tdpostback import PostbackServer\n"
        "with PostbackServer() as server: print(server.postback.ca_file)\n"
    )
    path = Path(python(code))
    assert path.name == "ca.pem"
    assert not path.parent.exists()


def test_a_key_is_loaded_without_memory_files_too(monkeypatch, tmp_path):
    """As on systems other than Linux: a file of this user alone, deleted at once."""
    monkeypatch.delattr(os, "memfd_create", raising=False)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    seen = []

    class Context(ssl.SSLContext):
        def load_cert_chain(self, path):  # type: ignore[override]
            seen.append(Path(path).stat().st_mode & 0o777)
            super().load_cert_chain(path)

    certificate = tls.server_certificate(("localhost",))
    tls._load_chain(Context(ssl.PROTOCOL_TLS_SERVER), certificate)
    assert seen == [0o600]
    assert not list(tmp_path.iterdir())


WITHOUT_THE_EXTRA = """
import sys
sys.modules["trustme"] = None
from pytest_tdpostback import ConfigurationError, PostbackServer

with PostbackServer() as server:
    for use in (server.postback.ssl_context, server.postback.redirect().__enter__):
        try:
            use()
        except ConfigurationError as error:
            print(error)
"""


def test_names_the_extra_that_is_missing():
    said = "TLS needs trustme: install the extra, pip install 'pytest-tdpostback[tls]'"
    assert python(WITHOUT_THE_EXTRA).splitlines() == [said, said]


@pytest.mark.once
def test_without_the_extra_a_failure_shows_the_users_lines_alone(pytester):
    pytester.makeconftest("import sys\nsys.modules['trustme'] = None\n")
    pytester.makepyfile(
        """
        def test_redirect(tdpostback):
            with tdpostback.redirect():
                pass

        def test_proxy_environ(tdpostback):
            tdpostback.proxy_environ()

        def test_ssl_context(tdpostback):
            tdpostback.ssl_context()
        """
    )
    result = pytester.runpytest_subprocess(timeout=60)
    result.assert_outcomes(failed=3)
    shown = result.stdout.str().partition("FAILURES")[2]
    for method in ("redirect", "proxy_environ", "ssl_context"):
        failure = shown.partition(f"_ test_{method} _")[2].partition("\n____")[0]
        assert "pip install 'pytest-tdpostback[tls]'" in failure
    assert "pytest_tdpostback" + os.sep not in shown
    assert "contextlib" not in shown


@pytest.mark.once
def test_without_the_extra_a_redirect_of_a_marker_is_an_error_of_its_test_alone(pytester):
    pytester.makeconftest("import sys\nsys.modules['trustme'] = None\n")
    pytester.makepyfile(
        """
        import pytest

        @pytest.fixture(scope="session", autouse=True)
        def of_the_session(): pass

        @pytest.fixture
        def of_the_test(): pass

        @pytest.mark.tdpostback(redirect=True)
        class TestMarked:
            def test_first(self, of_the_test): pass
            def test_second(self, of_the_test): pass

        def test_plain(of_the_test): pass
        """
    )
    result = pytester.runpytest_subprocess(timeout=60)
    result.assert_outcomes(passed=1, errors=2)
    errors = result.stdout.str().partition("ERRORS")[2]
    shown = errors.partition("short test summary")[0]
    assert shown.count("pip install 'pytest-tdpostback[tls]'") == 2
    assert "pytest_tdpostback" + os.sep not in shown
    assert "AssertionError" not in shown
