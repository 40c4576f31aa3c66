"""Programs in any language: the environment alone sends them to the fake server."""

from __future__ import annotations

import http.client
import shutil
import socket
import ssl
import subprocess
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.server.client_libraries import HOST, PATH, URL
from tests.server.client_programs import ENVIRONMENT

RECORDS = "us01.records.in.treasuredata.com"

RUBY = """
require "net/http"
headers = { "Content-Type" => "application/json", "X-TD-Write-Key" => ENV["TD_WRITE_KEY"] }
puts Net::HTTP.post(URI(ARGV[0]), '{"from": "ruby"}', headers).code
"""

NODE = """
const { request } = require(process.argv[2].startsWith("https:") ? "https" : "http");
const headers = { "Content-Type": "application/json", "X-TD-Write-Key": process.env.TD_WRITE_KEY };
const sent = request(process.argv[2], { method: "POST", headers }, (answer) => {
  console.log(answer.statusCode);
  answer.resume();
});
sent.on("error", (error) => { console.error(String(error)); process.exit(1); });
sent.end('{"from": "node"}');
"""

FETCH = """
const headers = { "Content-Type": "application/json", "X-TD-Write-Key": process.env.TD_WRITE_KEY };
fetch(process.argv[2], { method: "POST", headers, body: '{"from": "fetch"}' }).then(
  (answer) => console.log(answer.status),
  (error) => { console.error(String(error.cause)); process.exit(1); },
);
"""

GO = """
package main

import (
	"fmt"
	"net/http"
	"os"
	"strings"
)

func main() {
	sent, _ := http.NewRequest("POST", os.Args[1], strings.NewReader(`{"from": "go"}`))
	sent.Header.Set("Content-Type", "application/json")
	sent.Header.Set("X-TD-Write-Key", os.Getenv("TD_WRITE_KEY"))
	answer, err := http.DefaultClient.Do(sent)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Println(answer.StatusCode)
}
"""

JAVA = """
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpRequest.BodyPublishers;
import java.net.http.HttpResponse.BodyHandlers;

public class Sender {
    public static void main(String[] arguments) throws Exception {
        HttpRequest sent = HttpRequest.newBuilder(URI.create(arguments[0]))
            .version(HttpClient.Version.HTTP_1_1)
            .header("Content-Type", "application/json")
            .header("X-TD-Write-Key", System.getenv("TD_WRITE_KEY"))
            .POST(BodyPublishers.ofString("{\\"from\\": \\"java\\"}")).build();
        System.out.println(
            HttpClient.newHttpClient().send(sent, BodyHandlers.discarding()).statusCode());
    }
}
"""

PHP = """<?php
$sent = curl_init($argv[1]);
curl_setopt_array($sent, [
    CURLOPT_RETURNTRANSFER => true,
    CURLOPT_POSTFIELDS => '{"from": "php"}',
    CURLOPT_HTTPHEADER => [
        "Content-Type: application/json", "X-TD-Write-Key: " . getenv("TD_WRITE_KEY"),
    ],
]);
if (curl_exec($sent) === false) {
    fwrite(STDERR, curl_error($sent));
    exit(1);
}
echo curl_getinfo($sent, CURLINFO_RESPONSE_CODE);
"""

CURL = """
curl -sS -o answer -w '%{http_code}' -H 'Content-Type: application/json' \\
  -H "X-TD-Write-Key: $TD_WRITE_KEY" -d '{"from": "curl"}' "$1"
"""

PROGRAMS = {
    "curl": ("sh", "sender.sh", CURL),
    "ruby": ("ruby", "sender.rb", RUBY),
    "node": ("node", "sender.js", NODE),
    "fetch": ("node", "sender.js", FETCH),
    "go": ("go run", "sender.go", GO),
    "java": ("java", "Sender.java", JAVA),
    "php": ("php", "sender.php", PHP),
}


@pytest.fixture(params=PROGRAMS)
def program(request, tdpostback, tmp_path):
    """Run a program in another language with a URL, in the environment of the proxy."""
    command, name, source = PROGRAMS[request.param]
    if request.param == "php" and not _php_has_curl():
        pytest.skip("PHP or its extension curl is not installed")
    for needed in (command.split()[0], *(["curl"] if request.param == "curl" else [])):
        if shutil.which(needed) is None:
            pytest.skip(f"{needed} is not installed")
    tmp_path.joinpath(name).write_text(source)
    key = str(tdpostback.write_key)
    environment = {**ENVIRONMENT, **tdpostback.proxy_environ(), "TD_WRITE_KEY": key}

    def run(url: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*command.split(), name, url],
            env=environment,
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    return request.param, run


def _php_has_curl():
    php = shutil.which("php")
    return php and b"curl" in subprocess.run([php, "-m"], capture_output=True, check=True).stdout


@pytest.mark.once
def test_stores_what_a_program_sends(tdpostback, program):
    language, run = program
    done = run(URL)
    assert done.stdout.strip() == "200", done.stderr
    record = tdpostback.assert_ingested("shop", "orders", **{"from": language})
    assert record.event.request.headers["host"] == HOST


@pytest.mark.once
@pytest.mark.parametrize("program", ["curl"], indirect=True)
def test_stores_what_a_program_sends_to_a_regional_host(tdpostback, program):
    _, run = program
    done = run(f"https://{RECORDS}{PATH}")
    assert done.stdout.strip() == "200", done.stderr
    assert tdpostback.assert_ingested("shop", "orders").event.request.headers["host"] == RECORDS


@pytest.mark.once
def test_connects_to_no_other_host(tdpostback, program):
    language, run = program
    done = run(f"https://example.org{PATH}")
    assert done.stdout.strip() != "200"
    if language not in ("curl", "java", "php"):  # which show the status alone
        assert "example.org" in done.stderr
    with pytest.raises(AssertionError, match=r"does not connect to example\.org:443"):
        tdpostback.assert_ingested("shop", "orders", timeout=0)
    if language == "node":  # or the network has refused it
        assert "tdpostback" in done.stderr
    assert not tdpostback.events


@pytest.mark.once
def test_knows_a_host_in_any_spelling_without_tls_too(tdpostback, program):
    _, run = program
    done = run(URL.replace("https:", "http:").replace(HOST, HOST.upper()))
    assert done.stdout.strip() == "200", done.stderr
    tdpostback.assert_ingested("shop", "orders", count=1)


CONNECT = """
const socket = require("net").connect(80, process.argv[1]);
socket.on("connect", () => { console.log(socket.remoteAddress); socket.end(); });
socket.on("error", (error) => { console.error(String(error)); process.exit(1); });
"""


@pytest.mark.once
def test_a_node_that_reads_no_proxy_knows_a_host_in_any_spelling(tdpostback):
    done = run_node(tdpostback, CONNECT, HOST.upper())
    assert done.stdout.strip() == "127.0.0.1", done.stderr


@pytest.mark.once
@pytest.mark.parametrize(
    "host", ["127.0.0.1.evil.example", "localhost.evil.example", "127.evil.example"]
)
def test_a_node_that_reads_no_proxy_takes_no_other_host_for_this_machine(tdpostback, host):
    done = run_node(tdpostback, CONNECT, host)
    assert f"tdpostback: {host}:80 is not port 80 or 443 of " in done.stderr
    assert named(tdpostback, host)


@pytest.mark.once
@pytest.mark.parametrize(
    ("host", "shown"),
    [("2001:db8::1", "[2001:db8::1]"), ("192.0.2.7", "192.0.2.7"), ("a b", "a?b")],
)
def test_a_host_that_a_node_without_a_proxy_is_refused_is_named(tdpostback, host, shown):
    assert run_node(tdpostback, CONNECT, host).returncode == 1
    assert named(tdpostback, shown)


def named(tdpostback, host):
    text = f"this proxy does not connect to {host}:80"
    return any(text in noted.reason for noted in tdpostback._collector.refused_connections)


@pytest.mark.once
@pytest.mark.parametrize("host", ["\uff49\uff4e.treasuredata.com", "in\u3002treasuredata.com"])
def test_a_node_that_reads_no_proxy_knows_a_host_in_full_width_letters(tdpostback, host):
    assert run_node(tdpostback, CONNECT, host).stdout.strip() == "127.0.0.1"


@pytest.mark.once
@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "::ffff:127.0.0.1"])
def test_a_node_that_reads_no_proxy_reaches_this_machine(tdpostback, host):
    port = urlsplit(tdpostback.url).port
    done = run_node(tdpostback, CONNECT.replace("80", str(port)), host)
    assert done.stdout.strip().endswith("127.0.0.1"), done.stderr


def run_node(tdpostback, code, *arguments):
    node = shutil.which("node") or pytest.skip("node is not installed")
    return subprocess.run(
        [node, "-e", code, *arguments],
        env=tdpostback.proxy_environ(),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.once
def test_php_still_reads_the_ini_files_it_read_before(tdpostback, monkeypatch):
    php = shutil.which("php") or pytest.skip("php is not installed")
    show = [php, "-r", "echo php_ini_scanned_files();"]
    before = subprocess.run(show, capture_output=True, text=True, check=True).stdout.split(",")
    environment = tdpostback.proxy_environ()
    after = subprocess.run(show, env=environment, capture_output=True, text=True, check=True)
    assert {name.strip() for name in before} <= {name.strip() for name in after.stdout.split(",")}
    monkeypatch.setenv("PHP_INI_SCAN_DIR", "/etc/php-of-the-user")
    assert tdpostback.proxy_environ()["PHP_INI_SCAN_DIR"].startswith("/etc/php-of-the-user:")


# the proxy itself


@pytest.fixture
def connection(tdpostback):
    place = urlsplit(tdpostback.proxy_environ()["HTTPS_PROXY"])
    opened = http.client.HTTPConnection(place.hostname, place.port, timeout=20)
    yield opened
    opened.close()


@pytest.mark.parametrize(
    "target", ["example.org:443", f"{HOST}:22", f"{HOST}:8443", "127.0.0.1:80", "[::1]:443", HOST]
)
def test_connect_to_another_host_is_refused(connection, target):
    connection.request("CONNECT", target)
    answer = connection.getresponse()
    assert answer.status == 403
    assert answer.reason.startswith("tdpostback: no way to ")
    text = answer.read().decode()
    assert f"no way to {target}, only to ports 80 and 443 of " in text
    assert HOST in text


@pytest.mark.parametrize("host", ["example.org", "169.254.169.254", "in.treasuredata.com.evil.org"])
def test_an_absolute_target_at_another_host_is_refused(tdpostback, connection, host):
    connection.request("POST", f"http://{host}{PATH}", "{}")
    assert connection.getresponse().status == 403
    assert not tdpostback.events


@pytest.mark.parametrize("port", ["8080", "22", "8443", "x", "9" * 5000], ids=lambda port: port[:9])
def test_an_absolute_target_at_another_port_is_refused(tdpostback, connection, port):
    connection.request("POST", f"http://{HOST}:{port}{PATH}", "{}")
    answer = connection.getresponse()
    assert answer.status == 403
    assert f"no way to {HOST}:{port}, only to ports 80 and 443 of " in answer.read().decode()
    assert not tdpostback.events


@pytest.mark.parametrize("port", [80, 443])
def test_an_absolute_target_may_name_its_port(tdpostback, connection, port):
    connection.request("POST", f"http://{HOST}:{port}{PATH}", "{}")
    assert connection.getresponse().reason == "Forbidden"  # for it has no write key
    assert tdpostback.refused[0].rule == "A4"


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_an_absolute_target_of_the_service_is_served(tdpostback, connection, scheme):
    """Some clients send `https` targets to a proxy without `CONNECT`."""
    headers = {"X-TD-Write-Key": tdpostback.write_key, "Content-Type": "application/json"}
    for n in range(2):
        connection.request("POST", f"{scheme}://{HOST}{PATH}", f'{{"n": {n}}}', headers)
        answer = connection.getresponse()
        assert (answer.status, answer.read()) == (200, b"{}")
    tdpostback.assert_ingested("shop", "orders", count=2)


def test_a_tunnel_to_port_80_is_plain(tdpostback, connection):
    connection.set_tunnel(HOST, 80)
    connection.request("POST", PATH, "{}", {"X-TD-Write-Key": tdpostback.write_key})
    assert connection.getresponse().status == 400
    assert tdpostback.refused[0].rule == "B1"


@pytest.mark.parametrize("rest", [b"\x16\x03\x01", b"POST / HTTP/1.1\r\n\r\n"])
def test_what_comes_before_the_tunnel_is_there_is_refused(connection, rest):
    """It is for whom the tunnel leads to; so nobody waits for what was lost."""
    connection.connect()
    head = f"CONNECT {HOST}:443 HTTP/1.1\r\nHost: {HOST}:443\r\n\r\n"
    connection.sock.sendall(head.encode() + rest)
    assert connection.sock.recv(100).startswith(b"HTTP/1.1 400 ")


def test_a_tunnel_opens_for_a_head_that_comes_byte_by_byte(connection):
    connection.connect()
    connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for byte in f"CONNECT {HOST}:443 HTTP/1.1\r\nHost: {HOST}:443\r\n\r\n".encode():
        connection.sock.sendall(bytes([byte]))
    assert connection.sock.recv(100).startswith(b"HTTP/1.1 200 ")


def test_a_tunnel_serves_tls_with_a_certificate_of_the_host(tdpostback, connection):
    context = ssl.create_default_context(cafile=tdpostback.proxy_environ()["SSL_CERT_FILE"])
    connection.request("CONNECT", f"{HOST}:443")
    sock = connection.sock
    assert sock.recv(100).startswith(b"HTTP/1.1 200 ")
    with context.wrap_socket(sock, server_hostname=HOST) as tls:
        certificate: Any = tls.getpeercert()
    assert ("DNS", HOST) in certificate["subjectAltName"]


def test_bundles_hold_the_usual_authorities_and_that_of_the_run(tdpostback):
    environment = tdpostback.proxy_environ()
    contexts = [
        ssl.create_default_context(cafile=file)
        for file in (environment["NODE_EXTRA_CA_CERTS"], environment["REQUESTS_CA_BUNDLE"])
    ]
    alone, all_of_them = (context.get_ca_certs(binary_form=True) for context in contexts)
    assert len(alone) == 1
    assert alone[0] in all_of_them
    assert len(all_of_them) > 20


def test_programs_get_nothing_but_the_proxy(tdpostback, monkeypatch):
    monkeypatch.setenv("NO_PROXY", "in.treasuredata.com")
    monkeypatch.setenv("https_proxy", "http://proxy.example:3128")
    monkeypatch.setenv("NODE_OPTIONS", "--no-warnings")
    monkeypatch.setenv("UNRELATED", "stays")
    environment = tdpostback.proxy_environ()
    proxies = {environment[f"{kind}_proxy"] for kind in ("http", "https", "all")}
    proxies |= {environment[f"{kind}_PROXY"] for kind in ("HTTP", "HTTPS", "ALL")}
    assert len(proxies) == 1
    assert (environment["NO_PROXY"], environment["no_proxy"]) == ("", "")
    assert environment["NODE_OPTIONS"].startswith("--no-warnings --require ")
    assert "\\" not in environment["NODE_OPTIONS"]  # which Node reads as an escape
    assert environment["NODE_USE_ENV_PROXY"] == "1"
    assert environment["UNRELATED"] == "stays"


@pytest.mark.once
def test_java_reads_the_key_store(tdpostback):
    keytool = shutil.which("keytool") or pytest.skip("keytool is not installed")
    environment = tdpostback.proxy_environ()
    store = environment["SSL_CERT_FILE"].replace("bundle.pem", "bundle.jks")
    listed = subprocess.run(
        [keytool, "-list", "-keystore", store, "-storepass", "changeit"],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    ).stdout
    assert listed.count("trustedCertEntry") > 20


def test_a_host_that_the_proxy_refuses_is_named_in_a_failure(tdpostback, connection):
    connection.request("CONNECT", "example.org:443")
    assert connection.getresponse().status == 403
    with pytest.raises(
        AssertionError,
        match=r"to example\.org:443",
    ):
        tdpostback.assert_ingested("shop", "orders", timeout=0)
