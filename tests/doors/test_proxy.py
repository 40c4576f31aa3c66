"""Programs in any language: the environment alone leads them to the double."""

from __future__ import annotations

import http.client
import shutil
import ssl
import subprocess
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.doors.senders import HOST, PATH, URL

RECORDS = f"https://us01.records.in.treasuredata.com{PATH}"

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
}


@pytest.fixture(params=PROGRAMS)
def program(request, tdpostback, tmp_path):
    """Run a program in another language with a URL, in the environment of the proxy."""
    command, name, source = PROGRAMS[request.param]
    for needed in (command.split()[0], *(["curl"] if request.param == "curl" else [])):
        if shutil.which(needed) is None:
            pytest.skip(f"{needed} is not installed")
    tmp_path.joinpath(name).write_text(source)
    key = str(tdpostback.write_key)
    environment = {**tdpostback.proxy_environ(), "TD_WRITE_KEY": key, "GO111MODULE": "off"}

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


@pytest.mark.once
@pytest.mark.parametrize("url", [URL, RECORDS, URL.replace("https:", "http:")])
def test_stores_what_a_program_sends(tdpostback, program, url):
    language, run = program
    done = run(url)
    assert done.stdout.strip() == "200", done.stderr
    record = tdpostback.assert_ingested("shop", "orders", **{"from": language})
    assert record.event.request.headers["host"] == urlsplit(url).hostname


@pytest.mark.once
def test_leads_nowhere_else(tdpostback, program):
    language, run = program
    done = run(f"https://example.org{PATH}")
    assert done.stdout.strip() != "200"
    if language not in ("curl", "java"):  # which show the status alone
        assert "example.org" in done.stderr
    if language == "node":  # or the network has refused it
        assert "tdpostback" in done.stderr
    assert not tdpostback.events


@pytest.mark.once
def test_knows_a_host_in_any_spelling(tdpostback, program):
    _, run = program
    done = run(URL.replace("https:", "http:").replace(HOST, HOST.upper()))
    assert done.stdout.strip() == "200", done.stderr
    tdpostback.assert_ingested("shop", "orders", count=1)


UPPER_CASE = """
const socket = require("net").connect(80, "IN.TREASUREDATA.COM");
socket.on("connect", () => { console.log(socket.remoteAddress); socket.end(); });
socket.on("error", (error) => { console.error(String(error)); process.exit(1); });
"""


@pytest.mark.once
def test_a_node_that_reads_no_proxy_knows_a_host_in_any_spelling(tdpostback):
    node = shutil.which("node") or pytest.skip("node is not installed")
    environment = tdpostback.proxy_environ()
    command = [node, "-e", UPPER_CASE]
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.stdout.strip() == "127.0.0.1", done.stderr


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
def test_connect_elsewhere_is_forbidden(connection, target):
    connection.request("CONNECT", target)
    answer = connection.getresponse()
    assert answer.status == 403
    assert answer.reason.startswith("tdpostback: no way to ")
    text = answer.read().decode()
    assert f"no way to {target}, only to ports 80 and 443 of " in text
    assert HOST in text


@pytest.mark.parametrize("host", ["example.org", "169.254.169.254", "in.treasuredata.com.evil.org"])
def test_an_absolute_target_elsewhere_is_forbidden(tdpostback, connection, host):
    connection.request("POST", f"http://{host}{PATH}", "{}")
    assert connection.getresponse().status == 403
    assert not tdpostback.events


@pytest.mark.parametrize("port", ["8080", "22", "8443", "x"])
def test_an_absolute_target_at_another_port_is_forbidden(tdpostback, connection, port):
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


def test_tls_ends_at_the_double_with_a_certificate_of_the_host(tdpostback, connection):
    context = ssl.create_default_context(cafile=tdpostback.proxy_environ()["SSL_CERT_FILE"])
    connection.request("CONNECT", f"{HOST}:443")
    sock = connection.sock
    assert sock.recv(100).startswith(b"HTTP/1.1 200 ")
    with context.wrap_socket(sock, server_hostname=HOST) as tls:
        certificate: Any = tls.getpeercert()
    assert ("DNS", HOST) in certificate["subjectAltName"]


def test_bundles_hold_the_usual_authorities_and_the_runs(tdpostback):
    environment = tdpostback.proxy_environ()
    contexts = [
        ssl.create_default_context(cafile=file)
        for file in (environment["NODE_EXTRA_CA_CERTS"], environment["REQUESTS_CA_BUNDLE"])
    ]
    alone, all_of_them = (context.get_ca_certs(binary_form=True) for context in contexts)
    assert len(alone) == 1
    assert alone[0] in all_of_them
    assert len(all_of_them) > 20


def test_nothing_goes_past_the_proxy(tdpostback, monkeypatch):
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
