"""Responses byte for byte: status line, header names, values and their order, and the body."""

from __future__ import annotations

import pytest

from tests.http_client import HttpClient
from tests.server.behaviour import ARTICLE, KEY, OPENAPI, PATH, V2, get, post, shape

DATE = "Tue, 14 Nov 2023 22:13:20 GMT"
HSTS = "Strict-Transport-Security: max-age=31536000"


def exchange(postback, raw):
    """Everything that comes back until the fake server closes or the sender has said its last."""
    with HttpClient.to(postback.url) as client:
        client.send(raw)
        client.end_sending()
        return client.read_to_end().decode("latin-1")


def wire(status, *fields, body="{}"):
    return "\r\n".join([f"HTTP/1.1 {status}", *fields, "", body])


def usual(profile, *extra, length=2, connection="keep-alive", content_type="application/json"):
    hsts = () if profile == ARTICLE else (HSTS,)
    first = (f"Content-Type: {content_type}", f"Date: {DATE}", *hsts)
    return (*first, f"Content-Length: {length}", *extra, f"Connection: {connection}")


@pytest.mark.parametrize("profile", [OPENAPI, ARTICLE, V2])
class TestEveryProfile:
    def test_a_success_is_byte_for_byte_that_of_the_documents(self, profile, postback_for):
        """[W1] the example of the article, and that of the OpenAPI description."""
        assert exchange(postback_for(profile), post()) == wire("200 OK", *usual(profile))

    @pytest.mark.parametrize(
        ("raw", "status"),
        [
            pytest.param(post("[]"), "400 Bad Request", id="W2-400"),
            pytest.param(post(key=None), "403 Forbidden", id="W2-403"),
            pytest.param(post(target="/"), "404 Not Found", id="W2-404"),
            pytest.param(post(b"1" * 2_000_000), "413 Content Too Large", id="W2-413"),
        ],
    )
    def test_a_refusal_has_the_headers_and_body_of_a_success(
        self, profile, postback_for, raw, status
    ):
        """[W2] a refusal has the headers and the body of a success."""
        answer = exchange(postback_for(profile, max_body=1_900_000), raw)
        assert answer == wire(status, *usual(profile))

    def test_another_method_is_refused_with_the_allowed_ones(self, profile, postback_for):
        """[R4] with the methods there are."""
        allow = "Allow: POST, OPTIONS" if profile == V2 else "Allow: GET, POST, OPTIONS"
        answer = exchange(postback_for(profile), post(method="DELETE"))
        assert answer == wire("405 Method Not Allowed", *usual(profile, allow))

    def test_the_response_to_head_has_no_body(self, profile, postback_for):
        """[R4] the answer to ``HEAD`` has no body."""
        answer = exchange(postback_for(profile), shape(f"HEAD {PATH} HTTP/1.1\nHost: h"))
        assert answer.startswith("HTTP/1.1 405 ")
        assert answer.endswith("\r\nConnection: keep-alive\r\n\r\n")

    @pytest.mark.parametrize(
        "raw",
        [
            pytest.param(post(b'{"a":1}', "Connection: close"), id="W3-close"),
            pytest.param(post(b'{"a":1}').replace(b"HTTP/1.1", b"HTTP/1.0"), id="W3-1.0"),
        ],
    )
    def test_a_client_that_asks_to_close_is_told_so(self, profile, postback_for, raw):
        answer = exchange(postback_for(profile), raw)
        assert answer == wire("200 OK", *usual(profile, connection="close"))

    def test_a_preflight_request_is_allowed_what_it_asks_for(self, profile, postback_for):
        """[R5] what a browser asks for is allowed."""
        methods = "POST, OPTIONS" if profile == V2 else "GET, POST, OPTIONS"
        request = f"""
            OPTIONS {PATH} HTTP/1.1
            Host: in.treasuredata.com
            Origin: https://shop.example
            Access-Control-Request-Method: POST
            Access-Control-Request-Headers: content-type,x-td-write-key
            """
        assert exchange(postback_for(profile), shape(request)) == wire(
            "204 No Content",
            f"Date: {DATE}",
            "Access-Control-Allow-Origin: https://shop.example",
            "Access-Control-Allow-Credentials: true",
            f"Access-Control-Allow-Methods: {methods}",
            "Access-Control-Allow-Headers: content-type,x-td-write-key",
            "Access-Control-Max-Age: 600",
            "Vary: Origin",
            "Connection: keep-alive",
            body="",
        )


def test_the_response_to_a_browser_names_its_origin(postback_for):
    """[R5] a real answer names the origin."""
    extra = (
        "Access-Control-Allow-Origin: https://a.example",
        "Access-Control-Allow-Credentials: true",
        "Vary: Origin",
    )
    answer = exchange(postback_for(OPENAPI), post(b'{"a":1}', "Origin: https://a.example"))
    assert answer == wire("200 OK", *usual(OPENAPI, *extra))


def test_a_pixel_is_a_gif_of_one_pixel(postback_for):
    """[P4] a GIF of one pixel."""
    cookie = "Cookie: _td_global=me"
    answer = exchange(
        postback_for(OPENAPI), get(f"{PATH}?td_format=pixel&td_write_key={KEY}", cookie)
    )
    head, _, body = answer.partition("\r\n\r\n")
    fields = usual(OPENAPI, length=len(body), content_type="image/gif")
    assert head == "\r\n".join(["HTTP/1.1 200 OK", *fields])
    assert body[:10] == "GIF89a\x01\0\x01\0"
    assert body[-1] == ";"


def test_a_pixel_with_td_redirect_is_redirected(postback_for):
    """[P5] the redirect of a pixel."""
    target = f"{PATH}?td_format=pixel&td_write_key={KEY}&td_redirect=http%3A%2F%2Fx%2F"
    answer = exchange(postback_for(OPENAPI), get(target, "Cookie: _td_global=me"))
    fields = usual(OPENAPI, "Location: http://x/", length=0)
    assert answer == wire("302 Found", *fields, body="")


def test_a_refusal_does_not_say_its_reason(postback_for):
    """[W4] a refusal says nothing of its reason; the event does."""
    postback = postback_for(OPENAPI)
    assert "object" not in exchange(postback, post("[]"))
    assert "not an object" in postback.events[0].reason


def test_a_refusal_says_its_reason_if_explain_is_set(postback_for):
    """[W4] unless the setting asks for it."""
    answer = exchange(postback_for(OPENAPI, explain=True), post("[]"))
    body = '{"rule": "B3", "reason": "the top level is an array, not an object"}'
    assert answer == wire("400 Bad Request", *usual(OPENAPI, length=len(body)), body=body)


@pytest.mark.parametrize(
    "sent",
    ["POST {path} Content-Type: {key}", "POST {path} Content-Encoding: {key}", "POST /{key}"],
)
def test_a_reason_in_a_response_holds_no_key(postback_for, sent):
    """[W4] a sender may put its key anywhere, and log the response."""
    postback = postback_for(OPENAPI, explain=True)
    secret = "Words-Without-The-Usual-Shape"
    key = postback.keys.add(f"1/{secret}")
    method, target, field = [*sent.format(path=PATH, key=key).split(" ", 2), ""][:3]
    raw = f"{method} {target} HTTP/1.1\r\nHost: a\r\nX-TD-Write-Key: {key}\r\n"
    raw += "" if field.startswith("Content-Type") else "Content-Type: application/json\r\n"
    raw += f"{field}\r\n" if field else ""
    answer = exchange(postback, f"{raw}Content-Length: 2\r\n\r\n{{}}".encode())
    assert '"reason": ' in answer
    assert secret.lower() not in answer.lower()


def test_100_continue_comes_before_the_body_is_sent(postback_for):
    """[B11] the body is asked for before it is sent, and the answer follows."""
    postback = postback_for(OPENAPI)
    head, _, body = post(b'{"a":1}', "Expect: 100-continue").partition(b"\r\n\r\n")
    with HttpClient.to(postback.url) as client:
        client.send(head + b"\r\n\r\n")
        assert client.read_response().raw == b"HTTP/1.1 100 Continue\r\n\r\n"
        client.send(body)
        assert client.read_response().raw.startswith(b"HTTP/1.1 200 OK\r\n")


def test_a_body_that_is_too_large_is_refused_without_100_continue(postback_for):
    """[B6] ``Content-Length`` decides before a 100 is sent."""
    raw = post(b'{"a":"' + b"1" * 200 + b'"}', "Expect: 100-continue").partition(b"\r\n\r\n")[0]
    assert exchange(postback_for(OPENAPI, max_body=100), raw + b"\r\n\r\n").startswith(
        "HTTP/1.1 413 "
    )


@pytest.mark.parametrize(
    ("host", "profile"),
    [
        ("in.treasuredata.com", OPENAPI),
        ("TOKYO.in.treasuredata.com:443", OPENAPI),
        ("eu01.in.treasuredata.com", OPENAPI),
        ("ap02.in.treasuredata.com", OPENAPI),
        ("ap03.in.treasuredata.com.", OPENAPI),
        ("us01.records.in.treasuredata.com", V2),
        ("eu01.records.in.treasuredata.com", V2),
        ("ap01.records.in.treasuredata.com", V2),
        ("ap02.records.in.treasuredata.com:8443", V2),
        ("ap03.records.in.treasuredata.com", V2),
        ("us01.in.treasuredata.com", OPENAPI),
        ("elsewhere.example", OPENAPI),
    ],
)
def test_the_host_decides_the_profile_if_none_is_set(postback_for, host, profile):
    """[A9] only v2 takes ``Authorization: TD1``; an absolute target goes before ``Host``."""
    status = "200" if profile == V2 else "403"
    raw = post(key=f"Authorization: TD1 {KEY}").replace(b"in.treasuredata.com", host.encode())
    absolute = post(key=f"Authorization: TD1 {KEY}", target=f"http://{host}{PATH}")
    for request in (raw, absolute):
        assert exchange(postback_for(None), request).startswith(f"HTTP/1.1 {status} ")
