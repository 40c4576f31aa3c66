"""Real clients: each posts one event and tells what it saw; none waits for ever."""

from __future__ import annotations

import http.client
import json
import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import requests

if TYPE_CHECKING:
    from pytest_tdpostback import Postback

DEADLINE = 10.0
"""Seconds after which a client gives up where a test wants an answer."""
ERROR = "error"


@dataclass(frozen=True)
class Sender:
    """Posts to one double, by a connection of its own for each event."""

    postback: Postback
    timeout: float = DEADLINE

    def target(self, table):
        return urlsplit(self.postback.event_url("shop", table)).path

    def address(self):
        parts = urlsplit(self.postback.url)
        return parts.hostname, parts.port

    def connection(self):
        host, port = self.address()
        return http.client.HTTPConnection(host, port, timeout=self.timeout)

    def headers(self):
        return {"Content-Type": "application/json", "X-TD-Write-Key": self.postback.write_key}

    def by_http_client(self, payload, table="orders"):
        connection = self.connection()
        try:
            body = json.dumps(payload)
            connection.request("POST", self.target(table), body, self.headers())
            response = connection.getresponse()
            response.read()
        except (OSError, http.client.HTTPException):
            return ERROR
        finally:
            connection.close()
        return response.status

    def by_requests(self, payload, table="orders"):
        url = self.postback.event_url("shop", table)
        try:
            return requests.post(
                url, json=payload, headers=self.headers(), timeout=self.timeout
            ).status_code
        except requests.RequestException:
            return ERROR

    def by_socket(self, payload, table="orders"):
        with self.connect() as sock:
            sock.sendall(self.request(payload, table))
            status, _, whole = read_answer(sock)
        return status if whole else ERROR

    def connect(self):
        return socket.create_connection(self.address(), timeout=self.timeout)

    def request(self, payload, table="orders"):
        body = json.dumps(payload).encode()
        lines = [f"POST {self.target(table)} HTTP/1.1", "Host: localhost"]
        lines += [f"{name}: {value}" for name, value in self.headers().items()]
        lines += [f"Content-Length: {len(body)}", "", ""]
        return "\r\n".join(lines).encode() + body


CLIENTS = [Sender.by_http_client, Sender.by_requests, Sender.by_socket]


def read_answer(sock):
    """Status, all bytes, and whether the answer was whole, of one answer on `sock`."""
    data = b""
    while True:
        head, blank, body = data.partition(b"\r\n\r\n")
        if blank and head.startswith(b"HTTP/1.1 ") and len(body) >= length_of(head):
            return int(data.split(b" ")[1]), data, True
        try:
            more = sock.recv(1)
        except OSError:
            return ERROR, data, False
        if not more:
            return ERROR, data, False
        data += more


def length_of(head):
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            return int(line.partition(b":")[2])
    return 0
