"""The servers that are compared, each in a process of its own: `python -m benchmarks.servers NAME`.

It prints its port, then answers each line on its standard input with a line of JSON about itself,
and ends with the input.
"""

from __future__ import annotations

import asyncio
import gc
import json
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

PATH = "/postback/v3/event/shop/orders"
KEY = "1/benchmark"
ANSWER = (
    b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n"
    b"Connection: keep-alive\r\n\r\n{}"
)

Facts = dict[str, Any]


def tdpostback() -> tuple[int, Callable[[], Facts]]:
    """This project: all rules, every event kept."""
    from pytest_tdpostback import PostbackServer

    server = PostbackServer(write_keys=[KEY])
    server.start()
    postback = server.postback

    def facts() -> Facts:
        postback.settle(60)
        events = len(postback.events)
        some = postback.events[events // 2].payload["id"] if events else 0
        log = server.collector.log
        match = _seconds(lambda: postback.assert_ingested("shop", "orders", count=None, id=some))
        return {
            "events": events,
            "count": _seconds(lambda: len(log.records("shop", "orders"))),
            "records": _seconds(lambda: postback.records("shop", "orders")) / max(events, 1),
            "match": match / max(events, 1),
            "collection": _seconds(gc.collect),
        }

    return server.port, facts


def ingestion() -> tuple[int, Callable[[], Facts]]:
    """This project as the Data Ingestion API, whose hosts speak the Postback API too."""
    from pytest_tdpostback import PostbackServer

    server = PostbackServer(write_keys=[KEY], profile="ingestion-v1")
    server.start()
    return server.port, lambda: {"records": len(server.postback.records("shop", "orders"))}


def pytest_httpserver(*, threaded: bool = False) -> tuple[int, Callable[[], Facts]]:
    """pytest-httpserver with one expectation; it keeps requests and answers in its log."""
    from pytest_httpserver import HTTPServer

    server = HTTPServer(host="127.0.0.1", port=0, threaded=threaded)
    server.expect_request(PATH, method="POST").respond_with_json({})
    server.start()
    return server.port, lambda: {"events": len(server.log)}


def pytest_httpserver_threaded() -> tuple[int, Callable[[], Facts]]:
    """The same with a thread for each request."""
    return pytest_httpserver(threaded=True)


def werkzeug() -> tuple[int, Callable[[], Facts]]:
    """The development server of werkzeug with threads; reads the JSON, keeps nothing."""
    import logging

    from werkzeug import Request, Response
    from werkzeug.serving import make_server

    logging.getLogger("werkzeug").setLevel(logging.ERROR)

    @Request.application
    def app(request: Request) -> Response:
        request.get_json()
        return Response("{}", content_type="application/json")

    server = make_server("127.0.0.1", 0, app, threaded=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server.server_port, dict


def uvicorn() -> tuple[int, Callable[[], Facts]]:
    """Uvicorn on asyncio with httptools; reads the JSON, keeps nothing."""
    import uvicorn as package

    async def app(scope: Any, receive: Any, send: Any) -> None:
        body, more = b"", scope["type"] == "http"
        while more:
            message = await receive()
            body += message.get("body", b"")
            more = message.get("more_body", False)
        json.loads(body)
        headers = [(b"content-type", b"application/json"), (b"content-length", b"2")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"{}"})

    config = package.Config(
        app, port=0, loop="asyncio", http="httptools", log_level="error", lifespan="off"
    )
    server = package.Server(config)
    threading.Thread(target=server.run, daemon=True).start()
    while not server.started:
        time.sleep(0.01)
    return server.servers[0].sockets[0].getsockname()[1], dict


def raw() -> tuple[int, Callable[[], Facts]]:
    """Asyncio with httptools that looks at nothing and keeps nothing: the most that can be."""
    import httptools

    class Responder(asyncio.Protocol):
        def connection_made(self, transport: Any) -> None:
            self._transport = transport
            self._parser = httptools.HttpRequestParser(self)

        def data_received(self, data: bytes) -> None:
            self._parser.feed_data(data)

        def on_message_complete(self) -> None:
            self._transport.write(ANSWER)
            if not self._parser.should_keep_alive():
                self._transport.close()

    loop = asyncio.new_event_loop()
    server = loop.run_until_complete(loop.create_server(Responder, "127.0.0.1", 0, backlog=2048))
    threading.Thread(target=loop.run_forever, daemon=True).start()
    return server.sockets[0].getsockname()[1], dict


SERVERS = {
    "tdpostback": tdpostback,
    "pytest-httpserver": pytest_httpserver,
    "pytest-httpserver, threads": pytest_httpserver_threaded,
    "werkzeug, threads": werkzeug,
    "uvicorn": uvicorn,
    "raw asyncio + httptools": raw,
}

BATCHES = ("500 requests", "a batch of 500")
"""Two servers that are alike; what is sent to each differs."""


def resident() -> int:
    """Bytes of memory this process has; 0 where the system does not tell."""
    statm = Path("/proc/self/statm")
    return int(statm.read_text().split()[1]) * 4096 if statm.exists() else 0


def _seconds(function: Callable[[], object]) -> float:
    begin = time.perf_counter()
    function()
    return time.perf_counter() - begin


def main() -> None:
    """Serve until the standard input ends."""
    port, facts = (SERVERS | dict.fromkeys(BATCHES, ingestion))[sys.argv[1]]()
    print(port, flush=True)
    for line in sys.stdin:
        about = facts() if line.strip() == "facts" else {}
        usual = {"resident": resident(), "processor": time.process_time()}
        print(json.dumps(usual | about), flush=True)


if __name__ == "__main__":
    main()
