"""The other ways in: the same collector behind WSGI, another server, other clients."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication
    from pytest_httpserver import HTTPServer
    from werkzeug.wrappers import Request, Response

    from ..collector.collector import Collector


class Doors:
    """The half of `Postback` that lets requests in by other ways than its URL."""

    if TYPE_CHECKING:
        _collector: Collector

    @cached_property
    def wsgi_app(self) -> WSGIApplication:
        """The same collector as a WSGI application."""
        from ..transport.wsgi import application

        return application(lambda: self._collector)

    def mount(self, httpserver: HTTPServer) -> None:
        """Serve every request to `httpserver` (of pytest-httpserver) with this double."""
        import re

        from ..transport.wsgi import respond

        def handle(request: Request) -> Response:
            response = respond(self._collector, request)
            del response.headers["Date"]  # the server in front writes its own
            return response

        httpserver.expect_request(re.compile("")).respond_with_handler(handle)
