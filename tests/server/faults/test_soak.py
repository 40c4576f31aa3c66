"""The soak in its short form, and whether it would notice."""

from __future__ import annotations

import subprocess
import sys
from array import array

import pytest

from benchmarks.soak import Ledger, fate_of, kind_of
from tests.checkout import ROOT
from tests.server.faults.clients import Sender

pytestmark = pytest.mark.once


def test_short_soak():
    command = [sys.executable, "-m", "benchmarks.soak", "--minutes", "0.01"]
    command += ["--processes", "2", "--connections", "4"]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False
    )

    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.endswith("difference: 0\n")


@pytest.fixture
def ledger_of(tdpostback):
    """What the ledger says where senders claim to have seen something."""

    def close(*saw, sent=None):
        for index in range(len(saw) if sent is None else sent):
            Sender(tdpostback).by_socket({"id": f"lane/0/{index}"})
        ledger = Ledger()
        ledger.close_round(0, {"lane": array("H", saw)}, tdpostback)
        return ledger

    return close


def test_what_was_seen_and_what_is_told_agree(ledger_of, tdpostback):
    tdpostback.faults.sequence([503, "reset", "duplicate", "drop"])

    ledger = ledger_of(503, 0, 200, 200, 200)

    assert not ledger.differences
    assert next(ledger.lines()) == "5 sent = 2 ingested + 3 lost"


@pytest.mark.parametrize(
    ("saw", "sent", "said"),
    [
        ((200, 503), None, "not Fate(saw=200, state='ingested', records=1)"),
        ((200, 0), None, "not Fate(saw=200, state='ingested', records=1)"),
        ((200, 200), 1, "1 events of lane are not there once"),
        ((200,), 2, "was never sent in round 0: lane/0/1"),
    ],
)
def test_a_difference_is_noticed(ledger_of, saw, sent, said):
    (difference,) = ledger_of(*saw, sent=sent).differences

    assert said in difference


def test_an_event_that_is_there_twice_is_noticed(ledger_of, tdpostback):
    Sender(tdpostback).by_socket({"id": "lane/0/0"})

    assert ledger_of(200).differences == ["1 events of lane are not there once, in round 0"]


def test_a_fault_that_did_something_else_is_noticed(ledger_of, tdpostback):
    tdpostback.faults.duplicate()
    log = tdpostback._collector.log
    ledger = ledger_of()
    Sender(tdpostback).by_socket({"id": "lane/0/0"})
    log.faults[0] = "drop"

    ledger.close_round(0, {"lane": array("H", [200])}, tdpostback)

    assert "records=2), not Fate(saw=200, state='lost', records=0)" in ledger.differences[0]


def test_kinds_and_fates():
    assert [kind_of(index) for index in (0, 49, 99, 149)] == [
        "ingested",
        "refused",
        "rejected",
        "refused",
    ]
    assert fate_of("rejected", "duplicate") == (200, "rejected", 0)
    assert fate_of("refused", "truncate(3)") == (0, "refused", 0)
