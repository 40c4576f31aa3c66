"""What the server of a run of tests does for thousands of them."""

from __future__ import annotations

from pytest_tdpostback.protocol.settings import Settings
from pytest_tdpostback.server.server import CollectorServer
from pytest_tdpostback.testing.report import Summary
from pytest_tdpostback.testing.session import PORTS_NOT_REUSED, RunServer

MANY = 8_000
"""More ports than Linux offers before it looks for others."""


def test_thousands_of_tests_get_a_port_that_was_not_used_lately(monkeypatch):
    tried, real = [], CollectorServer.open_listener

    def counting(server, *args, **options):
        tried.append(1)
        return real(server, *args, **options)

    monkeypatch.setattr(CollectorServer, "open_listener", counting)
    server = RunServer(Settings(), Summary(), lambda *_: None)
    server.start()
    try:
        ports: list[int] = []
        for _ in range(MANY):
            listener = server.open_listener(lambda: server.collector)
            assert listener.port not in ports[-PORTS_NOT_REUSED:]
            ports.append(listener.port)
            server.close_listeners([listener])
            assert len(tried) < 3 * MANY
    finally:
        CollectorServer.stop(server)


def test_a_machine_with_few_ports_takes_one_again(monkeypatch):
    server = RunServer(Settings(), Summary(), lambda *_: None)
    server.start()
    try:
        monkeypatch.setattr(server, "_used_ports", dict.fromkeys(range(65_536)))
        assert server.open_listener(lambda: server.collector).port
    finally:
        CollectorServer.stop(server)
