"""Requests as known HTTP clients send them, line by line, and the outcome of each."""

from __future__ import annotations

from unittest.mock import ANY

from tests.server.behaviour import (
    NO_DUPLICATES,
    case,
    no_event,
    post,
    refused,
    rejected,
    shape,
    stored,
)

EVENT = '{"event":"signup","n":1}'
ROW = {"event": "signup", "n": 1}
URL_KEY = "{path}?td_write_key={key}"
CHUNKED = b"e\r\n" + EVENT[:14].encode() + b"\r\na\r\n" + EVENT[14:].encode() + b"\r\n0\r\n\r\n"

_A4, _B1, _R4 = refused(403, "A4"), refused(400, "B1"), refused(405, "R4")
_STORED = stored(ROW)


def _sends(name, head, *outcomes, body=EVENT, **more):
    return case(name, shape(head, body), *(outcomes or (_STORED,)), **more)


_PROGRAMS = [
    _sends(
        "curl",
        """
        POST {path} HTTP/1.1
        Host: in.treasuredata.com
        User-Agent: curl/8.5.0
        Accept: */*
        Content-Type: application/json
        X-TD-Write-Key: {key}
        Content-Length: {length}
        """,
    ),
    _sends(
        "B1-curl-without-type",
        """
        POST {path} HTTP/1.1
        Host: in.treasuredata.com
        User-Agent: curl/8.5.0
        Accept: */*
        X-TD-Write-Key: {key}
        Content-Length: {length}
        Content-Type: application/x-www-form-urlencoded
        """,
        _B1,
    ),
    _sends(
        "A2-curl-url-key",
        """
        POST {path}?td_write_key={key} HTTP/1.1
        Host: in.treasuredata.com
        User-Agent: curl/7.88.1
        Accept: */*
        Content-Type: application/json
        Content-Length: {length}
        """,
        v2=_A4,
    ),
    _sends(
        "B11-curl-chunked",
        """
        POST {path} HTTP/1.1
        Host: in.treasuredata.com
        User-Agent: curl/8.5.0
        Accept: */*
        Content-Type: application/json
        X-TD-Write-Key: {key}
        Transfer-Encoding: chunked
        """,
        body=CHUNKED,
    ),
    _sends(
        "R4-curl-upload",
        """
        PUT {path} HTTP/1.1
        Host: in.treasuredata.com
        User-Agent: curl/8.5.0
        Accept: */*
        Content-Type: application/json
        X-TD-Write-Key: {key}
        Content-Length: {length}
        """,
        _R4,
    ),
    _sends(
        "B11-libcurl-expect",
        """
        POST {path} HTTP/1.1
        Host: in.treasuredata.com
        Accept: */*
        Content-Type: application/json
        X-TD-Write-Key: {key}
        Content-Length: {length}
        Expect: 100-continue
        """,
    ),
    _sends(
        "B1-wget-post-data",
        """
        POST {path} HTTP/1.1
        Host: in.treasuredata.com
        User-Agent: Wget/1.21.4
        Accept: */*
        Accept-Encoding: identity
        Connection: Keep-Alive
        X-TD-Write-Key: {key}
        Content-Type: application/x-www-form-urlencoded
        Content-Length: {length}
        """,
        _B1,
    ),
    _sends(
        "httpie",
        """
        POST {path} HTTP/1.1
        Host: in.treasuredata.com
        User-Agent: HTTPie/3.2.2
        Accept-Encoding: gzip, deflate
        Accept: application/json, */*;q=0.5
        Connection: keep-alive
        Content-Type: application/json
        X-TD-Write-Key: {key}
        Content-Length: {length}
        """,
    ),
    _sends(
        "postman",
        """
        POST {path} HTTP/1.1
        X-TD-Write-Key: {key}
        Content-Type: application/json
        User-Agent: PostmanRuntime/7.37.3
        Accept: */*
        Postman-Token: 4a1c9f0e-8b1f-4ee9-a8b8-6b0f2e1d1f11
        Host: in.treasuredata.com
        Accept-Encoding: gzip, deflate, br
        Connection: keep-alive
        Content-Length: {length}
        """,
    ),
]

_SERVERS = [
    _sends(
        "go-net-http",
        """
        POST {path} HTTP/1.1
        Host: in.treasuredata.com
        User-Agent: Go-http-client/1.1
        Content-Length: {length}
        Content-Type: application/json
        X-Td-Write-Key: {key}
        Accept-Encoding: gzip
        """,
    ),
    _sends(
        "B11-go-streamed-body",
        """
        POST {path} HTTP/1.1
        Host: in.treasuredata.com
        User-Agent: Go-http-client/1.1
        Transfer-Encoding: chunked
        Content-Type: application/json
        X-Td-Write-Key: {key}
        Accept-Encoding: gzip
        """,
        body=b"18\r\n" + EVENT.encode() + b"\r\n0\r\n\r\n",
    ),
    _sends(
        "go-resty",
        """
        POST {path} HTTP/1.1
        Host: in.treasuredata.com
        User-Agent: go-resty/2.12.0 (https://github.com/go-resty/resty)
        Content-Length: {length}
        Content-Type: application/json
        X-Td-Write-Key: {key}
        Accept-Encoding: gzip
        """,
    ),
    _sends(
        "php-curl",
        """
        POST {path} HTTP/1.1
        Host: in.treasuredata.com
        Accept: */*
        Content-Type: application/json
        X-TD-Write-Key: {key}
        Content-Length: {length}
        """,
    ),
    _sends(
        "php-guzzle",
        """
        POST {path} HTTP/1.1
        Host: in.treasuredata.com
        Content-Length: {length}
        User-Agent: GuzzleHttp/7
        Content-Type: application/json
        X-TD-Write-Key: {key}
        """,
    ),
    _sends(
        "W3-php-stream",
        """
        POST {path} HTTP/1.1
        Host: in.treasuredata.com
        Connection: close
        Content-Type: application/json
        X-TD-Write-Key: {key}
        Content-Length: {length}
        """,
        answer={"Connection": "close"},
    ),
    _sends(
        "W3-php-stream-1.0",
        """
        POST {path} HTTP/1.0
        Content-Type: application/json
        X-TD-Write-Key: {key}
        Host: in.treasuredata.com
        Connection: close
        Content-Length: {length}
        """,
        answer={"Connection": "close"},
    ),
    _sends(
        "ruby-net-http",
        """
        POST {path} HTTP/1.1
        Content-Type: application/json
        X-Td-Write-Key: {key}
        Accept-Encoding: gzip;q=1.0,deflate;q=0.6,identity;q=0.3
        Accept: */*
        User-Agent: Ruby
        Connection: close
        Host: in.treasuredata.com
        Content-Length: {length}
        """,
        answer={"Connection": "close"},
    ),
    _sends(
        "B1-ruby-net-http-without-type",
        """
        POST {path} HTTP/1.1
        X-Td-Write-Key: {key}
        Accept-Encoding: gzip;q=1.0,deflate;q=0.6,identity;q=0.3
        Accept: */*
        User-Agent: Ruby
        Host: in.treasuredata.com
        Content-Type: application/x-www-form-urlencoded
        Content-Length: {length}
        """,
        _B1,
    ),
    _sends(
        "ruby-faraday",
        """
        POST {path} HTTP/1.1
        User-Agent: Faraday v2.9.0
        Content-Type: application/json
        X-Td-Write-Key: {key}
        Accept-Encoding: gzip;q=1.0,deflate;q=0.6,identity;q=0.3
        Accept: */*
        Connection: keep-alive
        Keep-Alive: 30
        Host: in.treasuredata.com
        Content-Length: {length}
        """,
    ),
    _sends(
        "java-http-client-h2c",
        """
        POST {path} HTTP/1.1
        Connection: Upgrade, HTTP2-Settings
        Content-Length: {length}
        Host: in.treasuredata.com
        HTTP2-Settings: AAEAAEAAAAIAAAABAAMAAABkAAQBAAAAAAUAAEAA
        Upgrade: h2c
        User-Agent: Java-http-client/17.0.11
        Content-Type: application/json
        X-TD-Write-Key: {key}
        """,
    ),
    _sends(
        "java-http-url-connection",
        """
        POST {path} HTTP/1.1
        Content-Type: application/json
        X-TD-Write-Key: {key}
        User-Agent: Java/1.8.0_402
        Host: in.treasuredata.com
        Accept: text/html, image/gif, image/jpeg, *; q=.2, */*; q=.2
        Connection: keep-alive
        Content-Length: {length}
        """,
    ),
    _sends(
        "java-apache-http-client",
        """
        POST {path} HTTP/1.1
        X-TD-Write-Key: {key}
        Content-Length: {length}
        Content-Type: application/json; charset=UTF-8
        Host: in.treasuredata.com
        Connection: Keep-Alive
        User-Agent: Apache-HttpClient/4.5.14 (Java/17.0.11)
        Accept-Encoding: gzip,deflate
        """,
    ),
    _sends(
        "java-okhttp",
        """
        POST {path} HTTP/1.1
        X-TD-Write-Key: {key}
        Content-Type: application/json; charset=utf-8
        Content-Length: {length}
        Host: in.treasuredata.com
        Connection: Keep-Alive
        Accept-Encoding: gzip
        User-Agent: okhttp/4.12.0
        """,
    ),
    _sends(
        "android-dalvik",
        """
        POST {path} HTTP/1.1
        Content-Type: application/json; charset=utf-8
        X-TD-Write-Key: {key}
        User-Agent: Dalvik/2.1.0 (Linux; U; Android 14; Pixel 8 Build/UQ1A.240105.004)
        Host: in.treasuredata.com
        Connection: Keep-Alive
        Accept-Encoding: gzip
        Content-Length: {length}
        """,
    ),
    _sends(
        "swift-url-session",
        """
        POST {path} HTTP/1.1
        Host: in.treasuredata.com
        Content-Type: application/json
        Connection: keep-alive
        Accept: */*
        User-Agent: Shop/42 CFNetwork/1490.0.4 Darwin/23.2.0
        X-TD-Write-Key: {key}
        Content-Length: {length}
        Accept-Language: en-GB,en;q=0.9
        Accept-Encoding: gzip, deflate
        """,
    ),
    _sends(
        "dart-io",
        """
        POST {path} HTTP/1.1
        user-agent: Dart/3.3 (dart:io)
        content-type: application/json; charset=utf-8
        accept-encoding: gzip
        content-length: {length}
        host: in.treasuredata.com
        x-td-write-key: {key}
        """,
    ),
    _sends(
        "dotnet-http-client",
        """
        POST {path} HTTP/1.1
        Host: in.treasuredata.com
        X-TD-Write-Key: {key}
        Content-Type: application/json; charset=utf-8
        Content-Length: {length}
        """,
    ),
    _sends(
        "B11-dotnet-post-as-json",
        """
        POST {path} HTTP/1.1
        Host: in.treasuredata.com
        X-TD-Write-Key: {key}
        Transfer-Encoding: chunked
        Content-Type: application/json; charset=utf-8
        """,
        body=b"18\r\n" + EVENT.encode() + b"\r\n0\r\n\r\n",
    ),
    _sends(
        "B11-dotnet-framework-expect",
        """
        POST {path} HTTP/1.1
        X-TD-Write-Key: {key}
        Content-Type: application/json; charset=utf-8
        Host: in.treasuredata.com
        Content-Length: {length}
        Expect: 100-continue
        Connection: Keep-Alive
        """,
    ),
    _sends(
        "powershell-invoke-rest-method",
        """
        POST {path} HTTP/1.1
        Host: in.treasuredata.com
        X-TD-Write-Key: {key}
        User-Agent: Mozilla/5.0 (Windows NT 10.0; en-US) PowerShell/7.4.1
        Accept-Encoding: gzip, deflate, br
        Content-Type: application/json
        Content-Length: {length}
        """,
    ),
    _sends(
        "rust-reqwest",
        """
        POST {path} HTTP/1.1
        content-type: application/json
        x-td-write-key: {key}
        accept: */*
        host: in.treasuredata.com
        content-length: {length}
        """,
    ),
    _sends(
        "W3-perl-lwp",
        """
        POST {path} HTTP/1.1
        TE: deflate,gzip;q=0.3
        Connection: TE, close
        Host: in.treasuredata.com
        User-Agent: libwww-perl/6.72
        Content-Length: {length}
        Content-Type: application/json
        X-TD-Write-Key: {key}
        """,
        answer={"Connection": "close"},
    ),
    _sends(
        "perl-http-tiny",
        """
        POST {path} HTTP/1.1
        Host: in.treasuredata.com
        Connection: close
        User-Agent: HTTP-Tiny/0.088
        Content-Length: {length}
        Content-Type: application/json
        X-TD-Write-Key: {key}
        """,
    ),
    _sends(
        "elixir-hackney",
        """
        POST {path} HTTP/1.1
        Host: in.treasuredata.com
        User-Agent: hackney/1.20.1
        Content-Type: application/json
        x-td-write-key: {key}
        Content-Length: {length}
        """,
    ),
    _sends(
        "python-requests-json",
        """
        POST {path} HTTP/1.1
        Host: in.treasuredata.com
        User-Agent: python-requests/2.31.0
        Accept-Encoding: gzip, deflate
        Accept: */*
        Connection: keep-alive
        X-TD-Write-Key: {key}
        Content-Length: {length}
        Content-Type: application/json
        """,
    ),
    _sends(
        "B1-python-requests-data-text",
        """
        POST {path} HTTP/1.1
        Host: in.treasuredata.com
        User-Agent: python-requests/2.31.0
        Accept-Encoding: gzip, deflate
        Accept: */*
        Connection: keep-alive
        X-TD-Write-Key: {key}
        Content-Length: {length}
        """,
        _B1,
    ),
    _sends(
        "python-urllib",
        """
        POST {path} HTTP/1.1
        Accept-Encoding: identity
        Content-Length: {length}
        Host: in.treasuredata.com
        User-Agent: Python-urllib/3.11
        Content-type: application/json
        X-td-write-key: {key}
        Connection: close
        """,
        answer={"Connection": "close"},
    ),
    _sends(
        "python-http-client",
        """
        POST {path} HTTP/1.1
        Host: in.treasuredata.com
        Accept-Encoding: identity
        Content-Length: {length}
        Content-Type: application/json
        X-TD-Write-Key: {key}
        """,
    ),
    _sends(
        "python-httpx",
        """
        POST {path} HTTP/1.1
        Host: in.treasuredata.com
        Accept: */*
        Accept-Encoding: gzip, deflate
        Connection: keep-alive
        User-Agent: python-httpx/0.27.0
        X-TD-Write-Key: {key}
        Content-Length: {length}
        Content-Type: application/json
        """,
    ),
    _sends(
        "python-aiohttp",
        """
        POST {path} HTTP/1.1
        Host: in.treasuredata.com
        X-TD-Write-Key: {key}
        Accept: */*
        Accept-Encoding: gzip, deflate
        User-Agent: Python/3.11 aiohttp/3.9.5
        Content-Length: {length}
        Content-Type: application/json
        """,
    ),
]

_JAVASCRIPT = [
    _sends(
        "node-http-chunked",
        """
        POST {path} HTTP/1.1
        Content-Type: application/json
        X-TD-Write-Key: {key}
        Host: in.treasuredata.com
        Connection: close
        Transfer-Encoding: chunked
        """,
        body=CHUNKED,
        answer={"Connection": "close"},
    ),
    _sends(
        "node-axios",
        """
        POST {path} HTTP/1.1
        Accept: application/json, text/plain, */*
        Content-Type: application/json
        X-TD-Write-Key: {key}
        User-Agent: axios/1.6.8
        Content-Length: {length}
        Accept-Encoding: gzip, compress, deflate, br
        Host: in.treasuredata.com
        Connection: keep-alive
        """,
    ),
    _sends(
        "node-undici-fetch",
        """
        POST {path} HTTP/1.1
        host: in.treasuredata.com
        connection: keep-alive
        content-type: application/json
        x-td-write-key: {key}
        accept: */*
        accept-language: *
        sec-fetch-mode: cors
        user-agent: node
        accept-encoding: gzip, deflate
        content-length: {length}
        """,
    ),
    _sends(
        "B1-node-undici-fetch-without-type",
        """
        POST {path} HTTP/1.1
        host: in.treasuredata.com
        connection: keep-alive
        content-type: text/plain;charset=UTF-8
        x-td-write-key: {key}
        accept: */*
        accept-language: *
        sec-fetch-mode: cors
        user-agent: undici
        accept-encoding: gzip, deflate
        content-length: {length}
        """,
        _B1,
    ),
    _sends(
        "node-got",
        """
        POST {path} HTTP/1.1
        user-agent: got (https://github.com/sindresorhus/got)
        x-td-write-key: {key}
        content-type: application/json
        content-length: {length}
        accept-encoding: gzip, deflate, br
        Host: in.treasuredata.com
        Connection: close
        """,
        answer={"Connection": "close"},
    ),
    _sends(
        "R5-chrome-fetch",
        """
        POST {path} HTTP/1.1
        Host: in.treasuredata.com
        Connection: keep-alive
        Content-Length: {length}
        sec-ch-ua: "Chromium";v="124", "Google Chrome";v="124", "Not-A.Brand";v="99"
        X-TD-Write-Key: {key}
        sec-ch-ua-mobile: ?0
        User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 Chrome/124
        Content-Type: application/json
        sec-ch-ua-platform: "Linux"
        Accept: */*
        Origin: https://shop.example
        Sec-Fetch-Site: cross-site
        Sec-Fetch-Mode: cors
        Sec-Fetch-Dest: empty
        Referer: https://shop.example/
        Accept-Encoding: gzip, deflate, br, zstd
        Accept-Language: en-US,en;q=0.9
        """,
        answer={"Access-Control-Allow-Origin": "https://shop.example"},
    ),
    _sends(
        "R5-chrome-preflight",
        """
        OPTIONS {path} HTTP/1.1
        Host: in.treasuredata.com
        Connection: keep-alive
        Accept: */*
        Access-Control-Request-Method: POST
        Access-Control-Request-Headers: content-type,x-td-write-key
        Origin: https://shop.example
        User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 Chrome/124
        Sec-Fetch-Mode: cors
        Sec-Fetch-Site: cross-site
        Sec-Fetch-Dest: empty
        Referer: https://shop.example/
        Accept-Encoding: gzip, deflate, br, zstd
        Accept-Language: en-US,en;q=0.9
        """,
        no_event(204),
        body="",
        answer={
            "Access-Control-Allow-Origin": "https://shop.example",
            "Access-Control-Allow-Headers": "content-type,x-td-write-key",
        },
    ),
    _sends(
        "firefox-xhr",
        """
        POST {path} HTTP/1.1
        Host: in.treasuredata.com
        User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:125.0) Gecko/20100101 Firefox/125.0
        Accept: */*
        Accept-Language: en-US,en;q=0.5
        Accept-Encoding: gzip, deflate, br
        Content-Type: application/json;charset=UTF-8
        X-TD-Write-Key: {key}
        Content-Length: {length}
        Origin: https://shop.example
        Connection: keep-alive
        """,
        answer={"Access-Control-Allow-Origin": "https://shop.example"},
    ),
    _sends(
        "B1-send-beacon-text",
        """
        POST {path}?td_write_key={key} HTTP/1.1
        Host: in.treasuredata.com
        Connection: keep-alive
        Content-Length: {length}
        Content-Type: text/plain;charset=UTF-8
        Accept: */*
        Origin: https://shop.example
        Sec-Fetch-Mode: no-cors
        Sec-Fetch-Dest: empty
        """,
        _B1,
        v2=_A4,
        answer={"Access-Control-Allow-Origin": "https://shop.example"},
    ),
    _sends(
        "B9-send-beacon-nothing",
        """
        POST {path}?td_write_key={key}&event=leave&n=1 HTTP/1.1
        Host: in.treasuredata.com
        Connection: keep-alive
        Content-Length: 0
        Accept: */*
        Origin: https://shop.example
        Sec-Fetch-Mode: no-cors
        """,
        stored({"event": "leave", "n": "1"}, "B9"),
        v2=_A4,
        body="",
    ),
    _sends(
        "P8-link-ping",
        """
        POST {path}?td_format=pixel&td_write_key={key}&event=click HTTP/1.1
        Host: in.treasuredata.com
        Connection: keep-alive
        Content-Length: {length}
        Cache-Control: max-age=0
        Ping-From: https://shop.example/
        Ping-To: https://shop.example/out
        Content-Type: text/ping
        Accept: */*
        """,
        stored({"event": "click"}),
        v2=_A4,
        body="PING",
    ),
    _sends(
        "P1-browser-image",
        """
        GET {path}?td_format=pixel&td_write_key={key}&page=%2Fhome%3Fq%3Dé&td_ip=td_ip HTTP/1.1
        Host: in.treasuredata.com
        User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:125.0) Gecko/20100101 Firefox/125.0
        Accept: image/avif,image/webp,*/*
        Accept-Language: en-US,en;q=0.5
        Accept-Encoding: gzip, deflate, br
        Connection: keep-alive
        Referer: https://shop.example/
        Sec-Fetch-Dest: image
        """.replace("é", "%C3%A9"),
        stored({"page": "/home?q=é", "td_ip": "127.0.0.1"}),
        v2=_R4,
        body="",
    ),
]

_SERVICES = [
    _sends(
        "fluentd-out-http",
        """
        POST {path} HTTP/1.1
        Content-Type: application/json
        X-Td-Write-Key: {key}
        Accept-Encoding: gzip;q=1.0,deflate;q=0.6,identity;q=0.3
        Accept: */*
        User-Agent: fluentd-plugin-out_http
        Host: in.treasuredata.com
        Content-Length: {length}
        """,
    ),
    _sends(
        "B1-fluentd-ndjson",
        """
        POST {path} HTTP/1.1
        Content-Type: application/x-ndjson
        X-Td-Write-Key: {key}
        Accept-Encoding: gzip;q=1.0,deflate;q=0.6,identity;q=0.3
        Accept: */*
        User-Agent: Ruby
        Host: in.treasuredata.com
        Content-Length: {length}
        """,
        _B1,
        body=f"{EVENT}\n{EVENT}\n",
    ),
    _sends(
        "logstash-http-output",
        """
        POST {path} HTTP/1.1
        X-TD-Write-Key: {key}
        Connection: Keep-Alive
        Content-Length: {length}
        Content-Type: application/json
        Host: in.treasuredata.com
        User-Agent: Manticore 0.9.1
        Accept-Encoding: gzip,deflate
        """,
        stored({"@timestamp": "2023-11-14T22:13:20Z", "@version": "1", "n": 1}, "C1", "C1"),
        body='{"@timestamp":"2023-11-14T22:13:20Z","@version":"1","n":1}',
    ),
    _sends(
        "A2-segment-webhook",
        """
        POST {path}?td_write_key={key} HTTP/1.1
        Host: in.treasuredata.com
        User-Agent: Segment.io/1.0
        Content-Length: {length}
        Accept: */*
        Content-Type: application/json
        Accept-Encoding: gzip
        """,
        stored({"type": "track", "userId": "u1", "properties": {"price": 9.5}}, "C1"),
        v2=_A4,
        body='{"type":"track","userId":"u1","properties":{"price":9.5}}',
    ),
    _sends(
        "A8-webhook-with-basic-auth",
        """
        POST {path} HTTP/1.1
        Host: in.treasuredata.com
        Authorization: Basic dXNlcjpwYXNz
        X-TD-Write-Key: {key}
        Content-Type: application/json
        Content-Length: {length}
        """,
        v2=rejected("A10"),
    ),
    _sends(
        "B9-analytics-empty-post",
        """
        POST {path}?td_write_key={key}&event=purchase&value=12.50&name=a+b HTTP/1.1
        Host: in.treasuredata.com
        User-Agent: collector/1.0
        Content-Length: 0
        """,
        stored({"event": "purchase", "value": "12.50", "name": "a b"}, "B9"),
        v2=_A4,
        body="",
    ),
    _sends(
        "B9-analytics-empty-text",
        """
        POST {path}/?td_write_key={key}&event=purchase HTTP/1.1
        Host: in.treasuredata.com
        Content-Type: text/plain; charset=ISO-8859-1
        Content-Length: 0
        """,
        stored({"event": "purchase"}, "R3", "B9"),
        v2=_A4,
        body="",
    ),
    _sends(
        "V1-braze-currents",
        """
        POST {path} HTTP/1.1
        Host: in.treasuredata.com
        Content-Type: application/json
        X-TD-Write-Key: {key}
        Braze-Currents-Version: 2
        Content-Length: {length}
        """,
        stored({"events": [{"id": "1"}, {"id": "2"}]}),
        body='{"events":[{"id":"1"},{"id":"2"}]}',
    ),
    _sends(
        "B3-sendgrid-list",
        """
        POST {path}?td_write_key={key} HTTP/1.1
        Host: in.treasuredata.com
        User-Agent: SendGrid Event API
        Content-Length: {length}
        Content-Type: application/json;charset=utf-8
        Accept-Encoding: gzip
        """,
        refused(400, "B3"),
        v2=_A4,
        body='[{"email":"a@example.com"},\r\n{"email":"b@example.com"}]',
    ),
    _sends(
        "cloudflare-worker",
        """
        POST {path} HTTP/1.1
        Host: in.treasuredata.com
        Connection: Keep-Alive
        Accept-Encoding: gzip, br
        CF-Ray: 86d0f6d1b8f0a1b2-FRA
        X-Forwarded-Proto: https
        CF-EW-Via: 15
        CF-Worker: example.workers.dev
        CDN-Loop: cloudflare; subreqs=1
        CF-Connecting-IP: 2a06:98c0:3600::103
        content-type: application/json
        x-td-write-key: {key}
        Content-Length: {length}
        """,
    ),
    _sends(
        "http2-gateway-lower-case",
        """
        POST {path} HTTP/1.1
        host: in.treasuredata.com
        x-td-write-key: {key}
        content-type: application/json
        content-length: {length}
        x-forwarded-for: 203.0.113.9
        x-amzn-trace-id: Root=1-65f0c0de-0123456789abcdef01234567
        """,
    ),
    _sends(
        "upper-case-everything",
        """
        POST {path} HTTP/1.1
        HOST: IN.TREASUREDATA.COM
        X-TD-WRITE-KEY: {key}
        CONTENT-TYPE: APPLICATION/JSON; CHARSET=UTF-8
        CONTENT-LENGTH: {length}
        """,
    ),
    _sends(
        "A4-proxy-doubles-key",
        """
        POST {path} HTTP/1.1
        Host: in.treasuredata.com
        X-TD-Write-Key: {key}
        Content-Type: application/json
        x-td-write-key: 99999/other
        Content-Length: {length}
        """,
        stored(ROW, "A4"),
        not_on=NO_DUPLICATES,
    ),
    _sends(
        "A9-v2-td1",
        """
        POST {path} HTTP/1.1
        Host: us01.records.in.treasuredata.com
        Authorization: TD1 {key}
        Content-Type: application/json
        Content-Length: {length}
        """,
        _A4,
        v2=stored(ROW),
    ),
    case(
        "P7-pixel-cookie",
        shape(
            """
            GET {path}?td_format=pixel&td_write_key={key}&td_global_id=td_global_id HTTP/1.1
            Host: in.treasuredata.com
            Cookie: lang=en; _td_global=5c1a-known
            """
        ),
        stored({"td_global_id": "5c1a-known"}),
        v2=_R4,
        answer={"Set-Cookie": None},
    ),
    case(
        "P7-pixel-first-visit",
        shape(
            """
            GET {path}?td_format=pixel&td_write_key={key}&td_global_id=td_global_id HTTP/1.1
            Host: in.treasuredata.com
            """
        ),
        stored({"td_global_id": ANY}),
        v2=_R4,
    ),
    case("B1-bare-semicolon", post(EVENT, content_type="Content-Type: application/json;"), _STORED),
    case("B2-crlf-in-json", post('{\r\n\t"event": "signup",\r\n\t"n": 1\r\n}\r\n'), _STORED),
]

CASES_BY_CLIENT = [*_PROGRAMS, *_SERVERS, *_JAVASCRIPT, *_SERVICES]
