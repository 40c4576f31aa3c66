"""Three HTTP clients: each posts one event and returns the status, or ``ERROR``."""

from __future__ import annotations

import http.client
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import requests

from tests.http_client import HttpClient

if TYPE_CHECKING:
    from pytest_tdpostback import Postback

DEADLINE = 10.0
"""Seconds after which a client gives up if no response comes."""
ERROR = "error"


@dataclass(frozen=True)
class Sender:
    """Posts to one fake server, by a connection of its own for each event."""

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
        try:
            with self.connect() as client:
                client.send(self.request(payload, table))
                return client.read_status() or ERROR
        except TimeoutError:
            return ERROR

    def connect(self):
        return HttpClient(*self.address(), timeout=self.timeout)

    def request(self, payload, table="orders"):
        body = json.dumps(payload).encode()
        lines = [f"POST {self.target(table)} HTTP/1.1", "Host: localhost"]
        lines += [f"{name}: {value}" for name, value in self.headers().items()]
        lines += [f"Content-Length: {len(body)}", "", ""]
        return "\r\n".join(lines).encode() + body


CLIENTS = [Sender.by_http_client, Sender.by_requests, Sender.by_socket]
