"""Faults where no wire of ours is between sender and double: WSGI, and clients in this process."""

from __future__ import annotations

import http.client
import json
import time

import httpx
import pytest
import requests
from werkzeug.test import Client

from tests.faults.senders import ERROR, Sender

CASES = {
    "status": (lambda f: f.status(503), 503, "lost", 503, 0),
    "throttle": (lambda f: f.throttle(0, 60), 429, "lost", 429, 0),
    "delay": (lambda f: f.delay(0.01), 200, "ingested", 200, 1),
    "drip": (lambda f: f.drip(10_000), 200, "ingested", 200, 1),
    "hang": (lambda f: f.hang(), ERROR, "lost", None, 0),
    "reset before storing": (lambda f: f.reset("storing"), ERROR, "lost", None, 0),
    "reset before answer": (lambda f: f.reset("answer"), ERROR, "ingested", None, 1),
    "truncate": (lambda f: f.truncate(after=3), ERROR, "ingested", None, 1),
    "garbage": (lambda f: f.garbage(), ERROR, "ingested", None, 1),
    "outage": (lambda f: f.outage(60), ERROR, "lost", None, 0),
    "drop": (lambda f: f.drop(), 200, "lost", 200, 0),
    "duplicate": (lambda f: f.duplicate(), 200, "ingested", 200, 2),
}


def by_werkzeug(postback, _):
    sender = Sender(postback)
    client = Client(postback.wsgi_app)
    try:
        return client.post(
            sender.target("orders"), json={"id": 1}, headers=sender.headers()
        ).status_code
    except OSError:
        return ERROR


def by_mounted_server(postback, httpserver):
    sender = Sender(postback)
    postback.mount(httpserver)
    connection = http.client.HTTPConnection(httpserver.host, httpserver.port, timeout=10)
    try:
        connection.request("POST", sender.target("orders"), json.dumps({"id": 1}), sender.headers())
        return connection.getresponse().status
    except (OSError, http.client.HTTPException):
        return ERROR
    finally:
        connection.close()


def by_httpx(postback, _):
    sender = Sender(postback)
    with httpx.Client(transport=postback.httpx_transport(), timeout=0.2) as client:
        try:
            url = postback.event_url("shop", "orders")
            return client.post(url, json={"id": 1}, headers=sender.headers()).status_code
        except httpx.HTTPError:
            return ERROR


def by_requests(postback, _):
    sender = Sender(postback)
    with requests.Session() as session:
        session.mount(postback.url, postback.requests_adapter())
        try:
            url = postback.event_url("shop", "orders")
            return session.post(
                url, json={"id": 1}, headers=sender.headers(), timeout=0.2
            ).status_code
        except requests.RequestException:
            return ERROR


@pytest.mark.parametrize("send", [by_werkzeug, by_mounted_server, by_httpx, by_requests])
@pytest.mark.parametrize("name", CASES)
def test_fault(tdpostback, httpserver, name, send):
    make, seen, state, status, copies = CASES[name]
    handle = make(tdpostback.faults)

    assert send(tdpostback, httpserver) == seen

    tdpostback.settle()
    (event,) = handle.events
    assert (str(event.state), event.status, event.copies) == (state, status, copies)


@pytest.mark.parametrize("send", [by_werkzeug, by_mounted_server, by_httpx, by_requests])
def test_no_outcome_waits_for_a_late_answer(tdpostback, httpserver, monkeypatch, send):
    seen = []

    def look(_):
        (event,) = tdpostback.events
        seen.append((str(event.state), event.status))

    monkeypatch.setattr(time, "sleep", look)
    tdpostback.faults.delay(0.1)

    assert send(tdpostback, httpserver) == 200

    assert seen == [("ingested", None)]
    assert tdpostback.events[0].status == 200
