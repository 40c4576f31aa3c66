"""TLS: the certificate authority of this process, server certificates, and files for clients.

The authority is made when it is first needed, and lives in memory only. Its private key is never
written to a file; only certificates, which are public, are.
"""

from __future__ import annotations

import hashlib
import ipaddress
import os
import re
import shutil
import ssl
import struct
import tempfile
import weakref
from contextlib import suppress
from datetime import UTC, datetime
from functools import cache, cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import ConfigurationError

if TYPE_CHECKING:
    from cryptography.x509 import GeneralName
    from trustme import CA

__tracebackhide__ = True  # a failure shows the lines of the test, not ours

STORE_PASSWORD = "changeit"  # noqa: S105 - Java wants a password; it protects nothing here
VALID_FROM = datetime(2000, 1, 1, tzinfo=UTC)
VALID_UNTIL = datetime(2038, 1, 1, tzinfo=UTC)
"""Certificates do not depend on the current time, because tests freeze it."""
_CERTIFICATE = re.compile("-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)


@cache
def authority() -> CA:
    """Return the certificate authority of this process; it needs the extra `tls`."""
    try:
        import trustme
    except ImportError:
        message = "TLS needs trustme: install the extra, pip install 'pytest-tdpostback[tls]'"
        raise ConfigurationError(message) from None
    return trustme.CA(organization_name="pytest-tdpostback")


def authority_pem() -> str:
    """Return the authority's certificate as PEM."""
    return authority().cert_pem.bytes().decode()


@cache
def server_context(hosts: tuple[str, ...]) -> ssl.SSLContext:
    """Return a context with a certificate for exactly `hosts`, which may be IP addresses."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.set_alpn_protocols(["http/1.1"])
    _load_chain(context, server_certificate(hosts))
    return context


def server_certificate(hosts: tuple[str, ...]) -> bytes:
    """Return a new private key and a certificate of this authority for `hosts`, as PEM.

    trustme's `issue_cert` rejects names with an underscore, which Docker Compose makes.
    """
    own = authority()
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import ExtendedKeyUsageOID

    issuer = x509.load_pem_x509_certificate(own.cert_pem.bytes())
    issuer_key = serialization.load_pem_private_key(own.private_key_pem.bytes(), None)
    assert isinstance(issuer_key, ec.EllipticCurvePrivateKey)
    key = ec.generate_private_key(ec.SECP256R1())
    names: list[GeneralName] = []
    for host in hosts:
        try:
            names.append(x509.IPAddress(ipaddress.ip_address(host)))
        except ValueError:
            names.append(x509.DNSName(host))
    identifier = issuer.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    parent = x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier)
    usage = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([]))
        .issuer_name(issuer.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(VALID_FROM)
        .not_valid_after(VALID_UNTIL)
        # RFC 5280: critical, because the subject is empty
        .add_extension(x509.SubjectAlternativeName(names), critical=True)
        .add_extension(parent, critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=False)
        .add_extension(usage, critical=False)
        .sign(issuer_key, hashes.SHA256())
    )
    private_key = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.TraditionalOpenSSL,
        serialization.NoEncryption(),
    )
    return private_key + certificate.public_bytes(serialization.Encoding.PEM)


def own_context(host: str) -> ssl.SSLContext:
    """Return a context for a server that listens on `host` of this machine."""
    return server_context(tuple(sorted({"127.0.0.1", "::1", "localhost", host})))


def client_context() -> ssl.SSLContext:
    """Return a new client context with the usual checks that trusts only this authority."""
    return ssl.create_default_context(cadata=authority_pem())


class TrustFiles:
    """Files with the authority's certificate, in the formats that programs read.

    Each is written when it is first needed.
    """

    @cached_property
    def folder(self) -> Path:
        """The folder of the files; it is removed with this object."""
        folder, process = Path(tempfile.mkdtemp(prefix="tdpostback-")), os.getpid()

        def remove() -> None:
            if os.getpid() == process:  # a fork that ends leaves it to its parent
                shutil.rmtree(folder, ignore_errors=True)

        weakref.finalize(self, remove)
        return folder

    @cached_property
    def ca(self) -> str:
        """The path of the authority's certificate alone, as PEM."""
        return self._write("ca.pem", authority_pem().encode())

    @cached_property
    def bundle(self) -> str:
        """The path of a PEM bundle of the usual authorities and this one."""
        return self._write("bundle.pem", "\n".join(_authorities()).encode())

    @cached_property
    def java(self) -> str:
        """The path of the same bundle as a Java key store; its password is `STORE_PASSWORD`."""
        return self._write("bundle.jks", _java_store(_authorities()))

    @cached_property
    def php(self) -> str:
        """The path of a folder whose ini file makes PHP trust the same bundle."""
        bundle = Path(self.bundle).as_posix()
        text = f'curl.cainfo = "{bundle}"\nopenssl.cafile = "{bundle}"\n'
        return str(Path(self._write("tdpostback.ini", text.encode())).parent)

    def _write(self, name: str, content: bytes) -> str:
        path = self.folder / name
        path.write_bytes(content)
        return str(path)


def _load_chain(context: ssl.SSLContext, pem: bytes) -> None:
    """Load a certificate and its key into `context`; `ssl` reads them only from a path.

    On Linux the path leads to memory. On other systems it is a file that only this user can read,
    which is deleted as soon as it was read.
    """
    in_memory = hasattr(os, "memfd_create") and Path("/proc/self/fd").exists()
    if in_memory:
        descriptor = os.memfd_create("tdpostback")
        path = f"/proc/self/fd/{descriptor}"
    else:
        descriptor, path = tempfile.mkstemp(suffix=".pem")
    try:
        os.write(descriptor, pem)
        context.load_cert_chain(path)
    finally:
        os.close(descriptor)
        if not in_memory:
            Path(path).unlink()


def _authorities() -> list[str]:
    """The authorities that a client trusts anyway and this one, each as PEM."""
    paths = ssl.get_default_verify_paths()
    files = [os.environ.get("SSL_CERT_FILE", "")]
    with suppress(ImportError):
        from certifi import where

        files.append(where())
    files += [paths.cafile or "", f"{paths.capath or ''}/ca-certificates.crt"]
    path = next(filter(os.path.isfile, files), None)
    if path is None:
        found = ssl.create_default_context().get_ca_certs(binary_form=True)
        usual = [ssl.DER_cert_to_PEM_cert(each) for each in found]
    else:
        usual = _CERTIFICATE.findall(Path(path).read_text(encoding="utf-8", errors="replace"))
    return [*usual, authority_pem()]


def _java_store(certificates: list[str]) -> bytes:
    """A key store of trusted certificates in the format JKS 2, which every Java reads.

    `cryptography` writes PKCS#12 stores, but only its newest versions make such that Java trusts,
    and those reject the usual authorities whose serial number is not positive.
    """
    store = struct.pack(">III", 0xFEEDFEED, 2, len(certificates))
    for number, pem in enumerate(certificates):
        alias, der = str(number).encode(), ssl.PEM_cert_to_DER_cert(pem)
        form = f">IH{len(alias)}sQH5sI"
        store += struct.pack(form, 2, len(alias), alias, 0, 5, b"X.509", len(der)) + der
    secret = STORE_PASSWORD.encode("utf-16-be") + b"Mighty Aphrodite"
    return store + hashlib.sha1(secret + store, usedforsecurity=False).digest()
