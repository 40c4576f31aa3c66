"""No output of a failing run holds a whole write key."""

from __future__ import annotations

import pytest

SOURCE = """
    import logging
    from conftest import post

    SECRET = "secretsecretsecretsecret"

    def write(double):
        with open("keys.txt", "a") as file:
            file.write(str(double.write_key) + "\\n")

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
"""


@pytest.mark.parametrize(
    "options",
    [
        ["-vv", "--showlocals", "-rA", "--junit-xml=out.xml"],
        ["-vv", "--showlocals", "--full-trace"],
        ["-vv", "--showlocals", "--tb=short"],
        ["-n2", "-vv", "--showlocals", "--junit-xml=out.xml"],
    ],
)
def test_no_output_holds_a_whole_key(downstream, pytester, options):
    xdist = ["xdist"] if "-n2" in options else []
    result = downstream(SOURCE, *options, plugins=xdist, apart=True)
    assert result.parseoutcomes()["failed"] == 6
    secrets = [key.partition("/")[2] for key in (pytester.path / "keys.txt").read_text().split()]
    assert len(secrets) == 7
    output = result.stdout.str() + result.stderr.str()
    if (pytester.path / "out.xml").exists():
        output += (pytester.path / "out.xml").read_text("utf-8")
    assert [secret for secret in secrets if secret in output] == []
    assert "known" * 5 not in output
