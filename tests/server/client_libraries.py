"""Senders as they stand in production: hosts written into them, verified TLS, made at import.

None of them knows of the fake server. Each function sends one event and returns the status.
"""

from __future__ import annotations

import asyncio
import atexit
import http.client
import json
import ssl
import urllib.request
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import httpx
import requests
import trio
import urllib3

HOST = "in.treasuredata.com"
PATH = "/postback/v3/event/shop/orders"
URL = f"https://{HOST}{PATH}"

context = ssl.create_default_context()
session = requests.Session()
pool = urllib3.PoolManager()
client = httpx.Client()
for end in (session.close, pool.clear, client.close):
    atexit.register(end)


def headers(key):
    return {"X-TD-Write-Key": str(key), "Content-Type": "application/json"}


def with_http_client(key, url=URL, **event):
    place = urlsplit(url)
    connection: Any = http.client.HTTPConnection(place.hostname or "", timeout=20)
    if place.scheme == "https":
        connection = http.client.HTTPSConnection(place.hostname or "", timeout=20, context=context)
    try:
        connection.request("POST", place.path, json.dumps(event), headers(key))
        return connection.getresponse().status
    finally:
        connection.close()


def with_urllib(key, url=URL, **event):
    request = urllib.request.Request(url, json.dumps(event).encode(), headers(key))
    with urllib.request.urlopen(request, timeout=20) as answer:
        return answer.status


def with_urllib3(key, url=URL, **event):
    return pool.request("POST", url, headers=headers(key), json=event, timeout=20).status


def with_requests(key, url=URL, **event):
    return session.post(url, headers=headers(key), json=event, timeout=20).status_code


def with_httpx(key, url=URL, **event):
    return client.post(url, headers=headers(key), json=event, timeout=20).status_code


async def httpx_async(key, url=URL, **event):
    async with httpx.AsyncClient(timeout=20) as sender:
        return (await sender.post(url, headers=headers(key), json=event)).status_code


async def aiohttp_async(key, url=URL, **event):
    timeout = aiohttp.ClientTimeout(20)
    async with (
        aiohttp.ClientSession(timeout=timeout) as sender,
        sender.post(url, headers=headers(key), json=event) as answer,
    ):
        return answer.status


async def streams_async(key, url=URL, **event):
    """What asyncio itself offers."""
    place = urlsplit(url)
    tls = context if place.scheme == "https" else None
    reader, writer = await asyncio.open_connection(place.hostname, 443 if tls else 80, ssl=tls)
    fields = {"Host": place.hostname, **headers(key), "Connection": "close"}
    body = json.dumps(event).encode()
    lines = [f"POST {place.path} HTTP/1.1", f"Content-Length: {len(body)}"]
    lines += [f"{name}: {value}" for name, value in fields.items()]
    writer.write("\r\n".join([*lines, "", ""]).encode() + body)
    status_line = await reader.readline()
    writer.close()
    with suppress(OSError):  # the server may have closed first
        await writer.wait_closed()
    return int(status_line.split()[1])


def on_asyncio(send):
    return lambda *args, **event: asyncio.run(_call(send, args, event))


def on_trio(send):
    return lambda *args, **event: trio.run(_call, send, args, event)


def on_uvloop(send):
    def run(*args, **event):
        import uvloop

        return uvloop.run(_call(send, args, event))

    return run


async def _call(send, args, event):
    return await send(*args, **event)


CLIENT_LIBRARIES = {
    "http.client": with_http_client,
    "urllib": with_urllib,
    "urllib3": with_urllib3,
    "requests": with_requests,
    "httpx": with_httpx,
    "httpx-asyncio": on_asyncio(httpx_async),
    "httpx-trio": on_trio(httpx_async),
    "httpx-uvloop": on_uvloop(httpx_async),
    "aiohttp": on_asyncio(aiohttp_async),
    "aiohttp-uvloop": on_uvloop(aiohttp_async),
    "streams": on_asyncio(streams_async),
    "streams-uvloop": on_uvloop(streams_async),
}
