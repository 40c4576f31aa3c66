"""No output of a failing run holds a whole write key."""

from __future__ import annotations

import re

import pytest

SOURCE = """
    import logging
    from dataclasses import dataclass
    from typing import NamedTuple

    import attrs
    import pytest
    from sender import post
    from pytest_tdpostback import PostbackServer
    from pytest_tdpostback.protocol.request import Headers

    SECRET = "secretsecretsecretsecret"

    @dataclass
    class Data:
        user: str
        key: str

    @attrs.define
    class Attrs:
        user: str
        key: str

    class Named(NamedTuple):
        user: str
        key: str

    def hidden(*each):
        return {"f": f"{each}", "l": list(each)}

    def write(postback):
        with open("keys.txt", "a") as file:
            file.write(str(postback.write_key) + "\\n")

    def test_lost(tdpostback, make_tdpostback):
        key = tdpostback.keys.add("12345/" + "known" * 5)
        other = make_tdpostback()
        write(tdpostback)
        write(other)
        post(tdpostback.url, other.write_key)
        headers = {"X-TD-Write-Key": tdpostback.write_key}

    def test_refused(tdpostback):
        key = tdpostback.write_key
        write(tdpostback)
        event_url = tdpostback.event_url("shop", "orders", td_write_key=key)
        path = event_url.partition("/postback")[2]
        post(tdpostback.url, None, path="/postback" + str(path) + "&more=1")
        event = tdpostback.events[0]
        request, headers, target = event.request, event.request.headers, event.request.target
        del path
        tdpostback.assert_ingested("shop", "orders", id=8, timeout=0)

    def test_compared(tdpostback):
        write(tdpostback)
        assert tdpostback.write_key == "12345/other"

    def test_compared_in_a_mapping(tdpostback):
        write(tdpostback)
        post(tdpostback.url, tdpostback.write_key)
        assert dict(tdpostback.events[0].request.headers) == {"X-TD-Write-Key": "12345/other"}

    def test_revoked(tdpostback):
        write(tdpostback)
        tdpostback.keys.revoke(tdpostback.write_key)
        post(tdpostback.url, tdpostback.write_key)

    def test_late(tdpostback):
        write(tdpostback)
        tdpostback.keys.revoke("1/never-added")

    def test_a_factory_that_refuses(tdpostback, make_tdpostback):
        write(tdpostback)
        make_tdpostback(write_keys=[tdpostback.write_key, "bad"])

    def test_a_server_that_refuses(tdpostback):
        write(tdpostback)
        PostbackServer(write_keys=[tdpostback.write_key, "bad"])

    def test_plain_keys(make_tdpostback, tdpostback):
        write(tdpostback)
        given = [f"{tdpostback.write_key}", "bad"]
        make_tdpostback(write_keys=given)

    def test_sent_in_the_wrong_place(tdpostback):
        write(tdpostback)
        key = tdpostback.write_key
        path = "/postback/v3/event/shop/orders"
        post(tdpostback.url, None, path=f"{path}/{key}")
        post(tdpostback.url, None, {"write_key": key, "kept": {"in": key}}, path=f"{path}?k={key}")
        post(tdpostback.url, key, {"write_key": key, "kept": {"in": key}})
        event = tdpostback.events[0]
        headers = Headers([("X-TD-WriteKey", key), ("X-Write-Key", key), ("X-K", f"k {key}")])
        print([repr(each) for each in (*tdpostback.events, headers)], event.reason)
        tdpostback.assert_ingested("shop", "orders", id=8, timeout=0)

    def test_valid(tdpostback):
        write(tdpostback)
        post(tdpostback.url, tdpostback.write_key, {"k": tdpostback.write_key})
        tdpostback.assert_valid({"properties": {"k": {"type": "number"}}})

    @pytest.mark.parametrize("kind", [Data, Attrs, Named, lambda *each: list(each), hidden])
    def test_compared_within(tdpostback, kind):
        write(tdpostback)
        assert kind("u", tdpostback.write_key) == kind("u", "1/x")
"""


@pytest.mark.once
@pytest.mark.parametrize(
    ("options", "failed"),
    [
        (["-vv", "--showlocals", "-rA", "--junit-xml=out.xml"], 16),
        (["-vv", "--color=yes"], 16),
        ([], 16),
        # All frames of pytest and of this package, of the failures that have such frames.
        (["-vv", "--showlocals", "--full-trace", "-knot compared"], 9),
        (["-n1", "-vv", "--showlocals", "--tb=short", "--junit-xml=out.xml"], 16),
    ],
)
def test_no_output_holds_a_whole_key(downstream, pytester, options, failed):
    plugins = ["xdist"] if "-n1" in options else []
    result = downstream(SOURCE, *options, plugins=plugins, apart="-n1" in options)
    assert result.parseoutcomes()["failed"] == failed
    secrets = [key.partition("/")[2] for key in (pytester.path / "keys.txt").read_text().split()]
    assert len(secrets) == failed + 1
    output = result.stdout.str() + result.stderr.str()
    if (pytester.path / "out.xml").exists():
        output += (pytester.path / "out.xml").read_text("utf-8")
    assert [secret for secret in secrets if secret in output] == []
    assert "known" * 5 not in output


ANY_SHAPE = """
    import pytest
    from pytest_tdpostback import PostbackServer
    from sender import post

    KEY = "/".join(["own", "-".join(["words", "of-mine-that", "nobody-knows"])])
    PATH = "/postback/v3/event/a/b"

    def test_of_the_test(tdpostback):
        key = tdpostback.keys.add(KEY)
        plain, cut = str(key + ""), str(key)[:26]
        names = {key: 1, f"x{key}x": [key]}
        post(tdpostback.url, None, {key: f"<{key}>"}, path=f"{PATH}?{key}=1")
        tdpostback.assert_ingested("a", "b", x=1, timeout=0, where={key: 1})

    @pytest.fixture(scope="module")
    def other():
        with PostbackServer(write_keys=[KEY]) as server:
            yield server.postback

    def test_of_another_server(other):
        plain = {"key": KEY}
        assert plain == {}

    @pytest.mark.parametrize("query", ["td_write_key", "other"])
    def test_in_the_access_log(tdpostback, httpserver, query):
        tdpostback.keys.add(KEY)
        tdpostback.mount(httpserver)
        post(httpserver.url_for("/")[:-1], None, path=f"{PATH}?{query}={KEY}")
        assert tdpostback.empty
"""


def test_a_key_of_any_shape_is_not_shown(downstream, pytester):
    options = ("-vv", "--showlocals", "-rA", "--junit-xml=out.xml")
    plugins = ["pytest_httpserver.pytest_plugin"]
    result = downstream(ANY_SHAPE, *options, plugins=plugins, apart=True)
    result.assert_outcomes(failed=4)
    output = result.stdout.str() + (pytester.path / "out.xml").read_text("utf-8")
    assert "POST /postback/v3/event/a/b?other=own/wor… HTTP/1.1" in output
    secret = "words-of-mine-that-nobody-knows"
    pieces = {secret[start : start + 12] for start in range(len(secret) - 11)}
    assert [line for line in output.splitlines() if any(piece in line for piece in pieces)] == []


CONTROLS = r"""
    import pytest

    TEXT = "a\x1b[31mred\x1b]0;title\a\x7f\x9b\u202e\rz"

    @pytest.fixture
    def record(tdpostback, send):
        send({"text": TEXT, TEXT: 1, "more": [TEXT]})
        return tdpostback.assert_ingested("shop", "orders")

    def test_text(record):
        assert record["text"] == "a"

    def test_record(record):
        assert record == {"text": "b"}

    def test_list(record):
        assert record["more"] == ["a"]

    def test_error(record):
        raise ValueError(record["text"].replace("\x1b[31m", ""))

    def test_absent(record):
        assert "red" not in record["text"]

    def test_not_ingested(record, tdpostback):
        tdpostback.assert_ingested("shop", "orders", text="a", timeout=0)
"""


@pytest.mark.parametrize(
    "options", [[], ["-vv", "--showlocals", "-rA", "--junit-xml=out.xml"], ["-vv", "--color=yes"]]
)
def test_no_output_holds_a_control_character_of_a_sender(downstream, pytester, options):
    result = downstream(CONTROLS, *options, apart=True)
    result.assert_outcomes(failed=6)
    output = result.stdout.str()
    if "-rA" in options:
        output += (pytester.path / "out.xml").read_text("utf-8")
    assert r"a\x1b[31mred\x1b]0;title\x07\x7f\x9b\u202e\rz" in output
    control = r"\x1b(?!\[[\d;]*m)|[\x00-\x08\x0b-\x1a\x1c-\x1f\x7f-\x9f\u202e]|\x1b\[31mred"
    assert re.findall(control, output) == []


def test_text_of_a_test_without_a_fake_server_is_shown_as_it_is(downstream):
    result = downstream(
        r"""
        def test_before(send):
            send()

        def test_it():
            assert "a\x9bc" == "a"
        """
    )
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["E*+ a\x9bc"])
