"""Load on a server from a process of its own: wrk where it is installed, else Python.

`python -m benchmarks.load PORT CONNECTIONS SECONDS CLOSE` is the second of the two.
"""

from __future__ import annotations

import json
import re
import selectors
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

from benchmarks.servers import KEY, PATH

WRK = shutil.which("wrk")
FIELDS = {
    "Content-Type": "application/json",
    "X-TD-Write-Key": KEY,
    "User-Agent": "python-requests/2.32.5",
    "Accept-Encoding": "gzip, deflate",
    "Accept": "*/*",
}
BODY = '{"id": %d, "action": "click", "page": "/index.html", "value": 3.5}'
SCRIPT = """
local number = 10000000
request = function()
  number = number + 1
  %s
  return wrk.format("POST", nil, nil, string.format('%s', number))
end
"""
TRACE = 'wrk.headers["traceparent"] = string.format("00-%032x-%016x-01", number, number)'
_UNITS = {"us": 1e-6, "ms": 1e-3, "s": 1.0}


class Load(NamedTuple):
    """What one run came to."""

    rate: float
    """Answers a second."""
    p99: float
    """Seconds in which 99 of 100 requests were answered."""
    answers: int
    """How many there were."""


def drive(
    port: int, *, connections: int = 8, seconds: float, close: bool = False, vary: bool = False
) -> Load:
    """Send events for so long; `close` takes a new connection for each, `vary` a head of its own.

    Raises `RuntimeError` where an answer was no 200.
    """
    if WRK is None:
        wanted = [str(port), str(connections), str(seconds), str(int(close))]
        command = [sys.executable, "-m", "benchmarks.load", *wanted]
        done = subprocess.run(command, capture_output=True, text=True, check=True)  # noqa: S603
        return Load(*json.loads(done.stdout))
    fields = FIELDS | ({"Connection": "close"} if close else {})
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder, "events.lua")
        script.write_text(SCRIPT % (TRACE if vary else "", BODY))
        url = f"http://127.0.0.1:{port}{PATH}"
        command = [WRK, "-t1", f"-c{connections}", f"-d{max(1, round(seconds))}s", "--latency"]
        command += [part for name, value in fields.items() for part in ("-H", f"{name}: {value}")]
        done = subprocess.run(  # noqa: S603
            [*command, "-s", str(script), url], capture_output=True, text=True, check=True
        )
    return _read(done.stdout)


def _read(report: str) -> Load:
    if "Non-2xx" in report:
        raise RuntimeError(report)
    rate = re.search(r"Requests/sec:\s+([\d.]+)", report)
    p99 = re.search(r"99%\s+([\d.]+)(us|ms|s)", report)
    answers = re.search(r"(\d+) requests in", report)
    if rate is None or p99 is None or answers is None:
        raise RuntimeError(report)
    return Load(float(rate[1]), float(p99[1]) * _UNITS[p99[2]], int(answers[1]))


def _drive(port: int, connections: int, seconds: float, *, close: bool) -> Load:
    """The same in Python; above some ten thousand a second it measures itself."""
    selector = selectors.DefaultSelector()
    took: list[float] = []
    begun: dict[socket.socket, float] = {}
    number = 10_000_000

    def send(sock: socket.socket) -> None:
        nonlocal number
        number += 1
        body = BODY % number
        fields = {"Host": "localhost", **FIELDS, "Content-Length": str(len(body))}
        fields |= {"Connection": "close"} if close else {}
        lines = [f"POST {PATH} HTTP/1.1", *(": ".join(field) for field in fields.items()), "", body]
        begun[sock] = time.perf_counter()
        sock.sendall("\r\n".join(lines).encode())

    def connect() -> None:
        sock = socket.create_connection(("127.0.0.1", port))
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        selector.register(sock, selectors.EVENT_READ)
        send(sock)

    for _ in range(connections):
        connect()
    begin = time.perf_counter()
    while time.perf_counter() - begin < seconds:
        for key, _ in selector.select(1):
            sock = key.fileobj
            assert isinstance(sock, socket.socket)
            data = sock.recv(65536)
            if data and not data.startswith(b"HTTP/1.1 200") and b"200 OK" not in data[:20]:
                raise RuntimeError(data.decode("latin-1"))
            took.append(time.perf_counter() - begun[sock])
            if close or b"onnection: close" in data or not data:
                selector.unregister(sock)
                sock.close()
                connect()
            else:
                send(sock)
    took.sort()
    return Load(len(took) / seconds, took[int(len(took) * 0.99)], len(took))


if __name__ == "__main__":
    _port, _connections, _duration, _close = sys.argv[1:]
    load = _drive(int(_port), int(_connections), float(_duration), close=_close == "1")
    print(json.dumps(load))
