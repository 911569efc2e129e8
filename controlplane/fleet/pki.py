"""The fleet's own certificate authority: who may serve the fleet, who may be a pod.

P-256 throughout. A pod is named by `spiffe://aigateway/pod/<name>` in its certificate, a fleet server by
`spiffe://aigateway/fleet` beside the host names that pods dial. Files are written 0600, keys and certificates alike.
"""

from __future__ import annotations

import datetime as dt
import ipaddress
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

TRUST_DOMAIN = "aigateway"
POD_PREFIX = f"spiffe://{TRUST_DOMAIN}/pod/"
FLEET_ID = f"spiffe://{TRUST_DOMAIN}/fleet"
CA_DAYS = 3650
LEAF_DAYS = 90
POD_NAME = re.compile(r"[a-z0-9]([a-z0-9._-]{0,61}[a-z0-9])?")
_BACKDATED = dt.timedelta(minutes=5)  # for pods whose clock is a little behind


@dataclass(frozen=True)
class Issued:
    """A certificate with its private key, both PEM."""

    certificate: bytes
    key: bytes

    def write(self, directory: Path, name: str) -> tuple[Path, Path]:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        certificate, key = directory / f"{name}.pem", directory / f"{name}.key"
        write_private(key, self.key)
        write_private(certificate, self.certificate)
        return certificate, key


def write_private(path: Path, content: bytes) -> None:
    """Replace `path` whole, readable by its owner only; a reader never sees half of it."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
    draft.replace(path)


def create_authority(now: dt.datetime, days: int = CA_DAYS) -> Issued:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "AI Gateway fleet CA")])
    builder = (
        _builder(name, name, key.public_key(), now, days)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(authority=True), critical=True)
    )
    return _issued(builder.sign(key, hashes.SHA256()), key)


def issue_server(authority: Issued, hosts: Sequence[str], now: dt.datetime, days: int = LEAF_DAYS) -> Issued:
    """For a fleet server that pods reach as any of `hosts` (DNS names or addresses)."""
    if not hosts:
        raise ValueError("a server certificate needs at least one host")
    names = [x509.UniformResourceIdentifier(FLEET_ID), *(_host(host) for host in hosts)]
    return _issue(authority, "fleet", names, ExtendedKeyUsageOID.SERVER_AUTH, now, days)


def issue_pod(authority: Issued, name: str, now: dt.datetime, days: int = LEAF_DAYS) -> Issued:
    if not POD_NAME.fullmatch(name):
        raise ValueError(f"not a pod name (lower-case letters, digits, dots, dashes): {name!r}")
    names = [x509.UniformResourceIdentifier(POD_PREFIX + name)]
    return _issue(authority, name, names, ExtendedKeyUsageOID.CLIENT_AUTH, now, days)


def pod_name(peer: Mapping[str, Iterable[bytes]]) -> str | None:
    """The name in a verified client certificate, as gRPC's auth context shows it; None for anything but a pod's."""
    for name in peer.get("x509_subject_alternative_name", ()):
        text = name.decode("ascii", "replace")
        if text.startswith(POD_PREFIX) and POD_NAME.fullmatch(text[len(POD_PREFIX) :]):
            return text[len(POD_PREFIX) :]
    return None


def _issue(
    authority: Issued,
    common_name: str,
    names: Sequence[x509.GeneralName],
    purpose: x509.ObjectIdentifier,
    now: dt.datetime,
    days: int,
) -> Issued:
    issuer = x509.load_pem_x509_certificate(authority.certificate)
    signer = serialization.load_pem_private_key(authority.key, None)
    if not isinstance(signer, ec.EllipticCurvePrivateKey):
        raise TypeError("the authority's key is not an elliptic-curve key")
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
    builder = (
        _builder(subject, issuer.subject, key.public_key(), now, days)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(authority=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()),
            critical=False,
        )
    )
    return _issued(builder.sign(signer, hashes.SHA256()), key)


def _builder(
    subject: x509.Name, issuer: x509.Name, public_key: ec.EllipticCurvePublicKey, now: dt.datetime, days: int
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public_key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _BACKDATED)
        .not_valid_after(now + dt.timedelta(days=days))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
    )


def _key_usage(*, authority: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not authority,
        key_cert_sign=authority,
        crl_sign=authority,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _host(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _issued(certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> Issued:
    return Issued(
        certificate.public_bytes(serialization.Encoding.PEM),
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()),
    )
