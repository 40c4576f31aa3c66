"""TLS for the doubles of one process: an authority, what it signs, and files that name it.

The authority is made when it is first needed and dies with the process. Its private key is never
written anywhere; only certificates, which are public, are put into files.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import ssl
import struct
import tempfile
import weakref
from functools import cache, cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from trustme import CA

STORE_PASSWORD = "changeit"  # noqa: S105 - what Java calls a password protects nothing here
_END_OF_CERTIFICATE = "-----END CERTIFICATE-----"


@cache
def authority() -> CA:
    """The certificate authority of this process; made once.

    Raises `ConfigurationError` where the extra `tls` is not installed.
    """
    try:
        import trustme
    except ImportError:
        message = "TLS needs trustme: install the extra, pip install 'pytest-tdpostback[tls]'"
        raise ConfigurationError(message) from None
    return trustme.CA(organization_name="pytest-tdpostback")


def authority_pem() -> str:
    """The authority's certificate as PEM."""
    return authority().cert_pem.bytes().decode()


@cache
def server_context(hosts: tuple[str, ...]) -> ssl.SSLContext:
    """A context that serves a certificate for exactly `hosts`; they may be addresses.

    Raises `ConfigurationError` where the extra `tls` is not installed.
    """
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.set_alpn_protocols(["http/1.1"])
    leaf = authority().issue_cert(*hosts)
    _load_chain(context, leaf.private_key_and_cert_chain_pem.bytes())
    return context


def own_names(host: str) -> tuple[str, ...]:
    """The names of a server that listens at `host` of this machine."""
    return tuple(sorted({"127.0.0.1", "::1", "localhost", host}))


def client_context() -> ssl.SSLContext:
    """A new context for a client, with the usual checks, that trusts this authority alone."""
    return ssl.create_default_context(cadata=authority_pem())


class TrustFiles:
    """The authority's certificate in files, in the forms that programs read.

    Each is written when it is first asked for, into a folder of the run.
    """

    def __init__(self, folder: Callable[[], Path] | None = None) -> None:
        """`folder()` is where to write; without it, a folder that is removed with this object."""
        self._folder = folder

    @cached_property
    def folder(self) -> Path:
        """Where the files are."""
        if self._folder is not None:
            return self._folder()
        own = tempfile.mkdtemp(prefix="tdpostback-")
        weakref.finalize(self, shutil.rmtree, own, ignore_errors=True)
        return Path(own)

    @cached_property
    def ca(self) -> str:
        """The path of the authority's certificate alone, as PEM."""
        return self.write("ca.pem", authority_pem().encode())

    @cached_property
    def bundle(self) -> str:
        """The path of a bundle of the usual authorities and this one, as PEM."""
        return self.write("bundle.pem", "\n".join([*_usual(), authority_pem()]).encode())

    @cached_property
    def java(self) -> str:
        """The path of the same bundle as a Java key store; its password is `STORE_PASSWORD`."""
        return self.write("bundle.jks", _java_store([*_usual(), authority_pem()]))

    def write(self, name: str, content: bytes) -> str:
        """Write a file `name` beside the others and return its path."""
        path = self.folder / name
        path.write_bytes(content)
        return str(path)


def _load_chain(context: ssl.SSLContext, pem: bytes) -> None:
    """Give `context` a certificate with its key: `ssl` reads them from a path and nothing else.

    Linux has paths that lead to memory. Elsewhere a file that only this user can read is there for
    the moment it takes to read it.
    """
    if hasattr(os, "memfd_create") and Path("/proc/self/fd").exists():
        descriptor = os.memfd_create("tdpostback")
        try:
            os.write(descriptor, pem)
            context.load_cert_chain(f"/proc/self/fd/{descriptor}")
        finally:
            os.close(descriptor)
        return
    descriptor, path = tempfile.mkstemp(suffix=".pem")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(pem)
        context.load_cert_chain(path)
    finally:
        Path(path).unlink()


def _usual() -> list[str]:
    """The authorities a client trusts without us, each as PEM."""
    path = next(filter(os.path.isfile, _usual_files()), None)
    if path is None:
        found = ssl.create_default_context().get_ca_certs(binary_form=True)
        return [ssl.DER_cert_to_PEM_cert(each) for each in found]
    pieces = Path(path).read_text(encoding="utf-8", errors="replace").split(_END_OF_CERTIFICATE)
    begins = [piece.find("-----BEGIN CERTIFICATE-----") for piece in pieces]
    return [
        f"{piece[begin:]}{_END_OF_CERTIFICATE}\n"
        for piece, begin in zip(pieces, begins, strict=True)
        if begin >= 0
    ]


def _usual_files() -> Iterator[str]:
    yield os.environ.get("SSL_CERT_FILE", "")
    try:
        from certifi import where
    except ImportError:
        pass
    else:
        yield where()
    paths = ssl.get_default_verify_paths()
    yield paths.cafile or ""
    yield os.path.join(paths.capath or "", "ca-certificates.crt")  # noqa: PTH118 - may be empty


def _java_store(certificates: list[str]) -> bytes:
    """A key store of trusted certificates in the format JKS 2, which every Java reads."""
    store = struct.pack(">III", 0xFEEDFEED, 2, len(certificates))
    for number, pem in enumerate(certificates):
        alias, der = str(number).encode(), ssl.PEM_cert_to_DER_cert(pem)
        store += struct.pack(
            f">IH{len(alias)}sQH5sI", 2, len(alias), alias, 0, 5, b"X.509", len(der)
        )
        store += der
    secret = STORE_PASSWORD.encode("utf-16-be") + b"Mighty Aphrodite"
    return store + hashlib.sha1(secret + store, usedforsecurity=False).digest()
