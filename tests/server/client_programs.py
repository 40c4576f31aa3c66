"""Real programs that send one event: the source of each, and the command that runs it.

Each gets the URL of the event route and the write key as its arguments.
"""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass

import pytest

ENVIRONMENT = {
    **os.environ,
    "GO111MODULE": "off",
    # A short program is not worth an optimising compiler: it takes half the time without.
    "JDK_JAVA_OPTIONS": "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC",
}
"""The environment in which a compiler starts."""


@dataclass(frozen=True)
class Program:
    """A sender: what has to be installed, the name and text of its file, and its command."""

    name: str
    needs: tuple[str, ...]
    command: tuple[str, ...]
    file: str = "unused"
    source: str = ""

    def command_for(self, url: str, key: str) -> list[str]:
        """The command; skips the test where the program is not installed."""
        for program in self.needs:
            if shutil.which(program) is None:
                pytest.skip(f"{program} is not installed")
        values = {"url": url, "key": key, "file": self.file}
        return [part.format(**values) for part in self.command]


GO = """
package main

import ("fmt"; "net/http"; "os"; "strings")

func main() {
    body := strings.NewReader(`{"event":"signup","n":1}`)
    request, err := http.NewRequest("POST", os.Args[1], body)
    if err != nil { panic(err) }
    request.Header.Set("Content-Type", "application/json")
    request.Header.Set("X-TD-Write-Key", os.Args[2])
    answer, err := http.DefaultClient.Do(request)
    if err != nil { panic(err) }
    fmt.Println(answer.StatusCode)
}
"""

PHP_CURL = r"""<?php
$curl = curl_init($argv[1]);
curl_setopt_array($curl, [
    CURLOPT_POSTFIELDS => json_encode(["event" => "signup", "n" => 1]),
    CURLOPT_HTTPHEADER => ["Content-Type: application/json", "X-TD-Write-Key: $argv[2]"],
    CURLOPT_RETURNTRANSFER => true,
]);
curl_exec($curl);
echo curl_getinfo($curl, CURLINFO_RESPONSE_CODE), "\n";
"""

PHP_STREAM = r"""<?php
$context = stream_context_create(["http" => [
    "method" => "POST",
    "header" => "Content-Type: application/json\r\nX-TD-Write-Key: $argv[2]\r\n",
    "content" => json_encode(["event" => "signup", "n" => 1]),
]]);
file_get_contents($argv[1], false, $context);
echo explode(" ", $http_response_header[0])[1], "\n";
"""

RUBY = """
require "json"
require "net/http"

uri = URI(ARGV[0])
headers = {"Content-Type" => "application/json", "X-TD-Write-Key" => ARGV[1]}
puts Net::HTTP.post(uri, JSON.generate(event: "signup", n: 1), headers).code
"""

JAVA_CLIENT = """
import java.net.URI;
import java.net.http.*;

public class Client {
    public static void main(String[] args) throws Exception {
        var body = HttpRequest.BodyPublishers.ofString("{\\"event\\":\\"signup\\",\\"n\\":1}");
        var request = HttpRequest.newBuilder(URI.create(args[0])).POST(body)
            .header("Content-Type", "application/json").header("X-TD-Write-Key", args[1]).build();
        var answer = HttpClient.newHttpClient().send(request, HttpResponse.BodyHandlers.ofString());
        System.out.println(answer.statusCode());
    }
}
"""

JAVA_CONNECTION = """
import java.net.*;

public class Connection {
    public static void main(String[] args) throws Exception {
        var connection = (HttpURLConnection) new URL(args[0]).openConnection();
        connection.setDoOutput(true);
        connection.setRequestProperty("Content-Type", "application/json");
        connection.setRequestProperty("X-TD-Write-Key", args[1]);
        connection.getOutputStream().write("{\\"event\\":\\"signup\\",\\"n\\":1}".getBytes());
        System.out.println(connection.getResponseCode());
    }
}
"""

NODE_HTTP = """
const [url, key] = process.argv.slice(2);
const headers = {"Content-Type": "application/json", "X-TD-Write-Key": key};
const request = require("http").request(url, {method: "POST", headers}, (answer) => {
    console.log(answer.statusCode);
    answer.resume();
});
request.write('{"event":"signup"');
request.end(',"n":1}');
"""

NODE_FETCH = """
const [url, key] = process.argv.slice(2);
const headers = {"Content-Type": "application/json", "X-TD-Write-Key": key};
const body = JSON.stringify({event: "signup", n: 1});
fetch(url, {method: "POST", headers, body}).then((answer) => console.log(answer.status));
"""

_CURL = ("curl", "-sS", "-o", "/dev/null", "-w", "%{{http_code}}", "{url}")
_CURL_FIELDS = ("-H", "Content-Type: application/json", "-H", "X-TD-Write-Key: {key}")
_CURL_BODY = ("--data-binary", '{{"event":"signup","n":1}}')

PROGRAMS = [
    Program("curl", ("curl",), (*_CURL, *_CURL_FIELDS, *_CURL_BODY)),
    Program(
        "curl-expect", ("curl",), (*_CURL, *_CURL_FIELDS, *_CURL_BODY, "-H", "Expect: 100-continue")
    ),
    Program(
        "curl-chunked",
        ("curl",),
        (*_CURL, *_CURL_FIELDS, *_CURL_BODY, "-H", "Transfer-Encoding: chunked"),
    ),
    Program("curl-1.0", ("curl",), (*_CURL, *_CURL_FIELDS, *_CURL_BODY, "--http1.0")),
    Program("curl-http2-offer", ("curl",), (*_CURL, *_CURL_FIELDS, *_CURL_BODY, "--http2")),
    Program("go", ("go",), ("go", "run", "{file}", "{url}", "{key}"), "main.go", GO),
    Program("php-curl", ("php",), ("php", "{file}", "{url}", "{key}"), "curl.php", PHP_CURL),
    Program("php-stream", ("php",), ("php", "{file}", "{url}", "{key}"), "stream.php", PHP_STREAM),
    Program("ruby", ("ruby",), ("ruby", "{file}", "{url}", "{key}"), "send.rb", RUBY),
    Program(
        "java-http-client",
        ("java", "javac"),
        ("java", "{file}", "{url}", "{key}"),
        "Client.java",
        JAVA_CLIENT,
    ),
    Program(
        "java-http-url-connection",
        ("java", "javac"),
        ("java", "{file}", "{url}", "{key}"),
        "Connection.java",
        JAVA_CONNECTION,
    ),
    Program("node-http", ("node",), ("node", "{file}", "{url}", "{key}"), "http.cjs", NODE_HTTP),
    Program("node-fetch", ("node",), ("node", "{file}", "{url}", "{key}"), "fetch.cjs", NODE_FETCH),
]
