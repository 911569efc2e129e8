"""A fleet that follows a script, on a real gRPC server with mutual TLS, and what it takes to connect to it."""

from __future__ import annotations

import datetime as dt
import ipaddress
from dataclasses import dataclass
from pathlib import Path

import pytest
import uvloop
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from dataplane.link.channel import Certificates


@dataclass
class Authority:
    """Signs certificates into a directory."""

    directory: Path
    key: ec.EllipticCurvePrivateKey
    certificate: x509.Certificate

    @classmethod
    def create(cls, directory: Path) -> Authority:
        directory.mkdir(parents=True, exist_ok=True)
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"ca {directory.name}")])
        certificate = cls._signed(name, name, key, key, [x509.BasicConstraints(True, None)])
        authority = cls(directory, key, certificate)
        (directory / "ca.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        return authority

    @staticmethod
    def _signed(subject, issuer, public, private, extensions) -> x509.Certificate:
        now = dt.datetime.now(dt.UTC)
        builder = x509.CertificateBuilder(issuer, subject, public.public_key(), x509.random_serial_number())
        builder = builder.not_valid_before(now - dt.timedelta(hours=1)).not_valid_after(now + dt.timedelta(days=1))
        for extension in extensions:
            builder = builder.add_extension(extension, critical=False)
        return builder.sign(private, hashes.SHA256())

    def issue(self, name: str) -> Certificates:
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        names = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1")), x509.DNSName(name)])
        certificate = self._signed(subject, self.certificate.subject, key, self.key, [names])
        cert_path, key_path = self.directory / f"{name}.pem", self.directory / f"{name}.key"
        cert_path.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        key_path.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        return Certificates(self.directory / "ca.pem", cert_path, key_path)


@pytest.fixture(scope="session")
def authority(tmp_path_factory) -> Authority:
    return Authority.create(tmp_path_factory.mktemp("pki") / "right")


@pytest.fixture(scope="session")
def wrong_authority(tmp_path_factory) -> Authority:
    return Authority.create(tmp_path_factory.mktemp("pki") / "wrong")


@pytest.fixture
def on_loop():
    """Run a coroutine as a pod does, on uvloop, and not for ever."""

    def run(coroutine):
        async def bounded():
            import asyncio

            async with asyncio.timeout(60):
                return await coroutine

        return uvloop.run(bounded())

    return run
