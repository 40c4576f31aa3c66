"""Late senders for a thousand rounds: what one test sends is never in another, and never lost.

`python -m benchmarks.late --rounds 1000` runs as many tests. In each one a thread, another process
and the test itself send to the URL of the test before, with its key; its key also comes to the URL
of the test that runs, whose own fixture sends once more while it is torn down. Every test has to
see its own events alone, and the summary of the run has to count every late one. It ends with 1
where something differs.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
from pathlib import Path

LATE_A_ROUND = 3
SENDER = """
import sys, urllib.request

def post(url, key, sender):
    body = b'{"sender": "%s"}' % sender.encode()
    headers = {"X-TD-Write-Key": key, "Content-Type": "application/json"}
    request = urllib.request.Request(url + "/postback/v3/event/shop/orders", body, headers)
    with urllib.request.urlopen(request, timeout=20) as answer:
        assert answer.status == 200

if __name__ == "__main__":
    for line in sys.stdin:
        post(*line.split())
        print("sent", flush=True)
"""
SUITE = """
import subprocess, sys, threading
import pytest
from sender import post

before = []

@pytest.fixture(scope="session")
def elsewhere():
    command = [sys.executable, "sender.py"]
    with subprocess.Popen(command, stdin=-1, stdout=-1, text=True) as child:
        def send(*what):
            print(*what, file=child.stdin, flush=True)
            assert child.stdout.readline() == "sent\\n"
        yield send
        child.stdin.close()

@pytest.fixture
def torn_down(tdpostback):
    yield
    post(tdpostback.url, tdpostback.write_key, "teardown")
    assert [event.payload["sender"] for event in tdpostback.events][-1] == "teardown"

@pytest.mark.parametrize("number", range(ROUNDS))
def test_round(number, tdpostback, elsewhere, torn_down):
    wanted = ["own"]
    if before:
        url, key, let_go, thread = before.pop()
        let_go.set()
        thread.join(20)
        elsewhere(url, key, "process")
        post(url, key, "late")
        post(tdpostback.url, key, "key")
        tdpostback.assert_auth_failed(count=1)
        wanted.insert(0, "key")
    post(tdpostback.url, tdpostback.write_key, "own")
    tdpostback.assert_ingested("shop", "orders", sender="own")
    assert [event.payload["sender"] for event in tdpostback.events] == wanted
    address, let_go = (tdpostback.url, tdpostback.write_key), threading.Event()

    def work():
        let_go.wait(60)
        post(*address, "thread")

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    before.append((*address, let_go, thread))
"""


def run(rounds: int) -> tuple[str, int]:
    """What pytest printed of so many tests, and how many late events its summary counts."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "sender.py").write_text(SENDER)
        Path(folder, "test_it.py").write_text(SUITE.replace("ROUNDS", str(rounds)))
        plugins = ["-p", "no:cacheprovider", "-p", "no:randomly"]
        command = [sys.executable, "-m", "pytest", "-q", *plugins, "--rootdir", folder, "."]
        done = subprocess.run(  # noqa: S603
            command, cwd=folder, capture_output=True, text=True, check=False
        )
    printed = done.stdout + done.stderr
    listed = re.findall(r"(?m)^  \S+: #\d+ POST shop\.orders: 200, ingested$", printed)
    unlisted = re.findall(r"(?m)^  … and (\d+) more$", printed)
    return printed, len(listed) + sum(map(int, unlisted))


def main() -> int:
    """Run, and say what came of it; the status to exit with."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.late", description=__doc__)
    parser.add_argument("--rounds", type=int, default=1000, help="tests to run (default: 1000)")
    rounds: int = parser.parse_args().rounds
    printed, late = run(rounds)
    sent = LATE_A_ROUND * (rounds - 1)
    if f"\n{rounds} passed in " not in printed or late != sent:
        print(printed)
        print(f"{sent} late events were sent, {late} counted")
        return 1
    print(f"{rounds} rounds, {sent} late events: each counted, none in another test")
    return 0


if __name__ == "__main__":
    sys.exit(main())
