"""The clients' certificate: renewed on disk, renewed on the wire; what does not fit together changes nothing."""

from __future__ import annotations

import asyncio
import ssl

import pytest

from dataplane.host.certificate import ServerCertificate
from dataplane.proxy.server import Server
from tests.proxy.stage import Stage


async def seen_by_client(port: int) -> bytes:
    """The certificate (DER) that the pod shows on a new connection."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
    shown = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    writer.close()
    assert isinstance(shown, bytes)
    return shown


def der(path) -> bytes:
    return ssl.PEM_cert_to_DER_cert(path.read_text())


def test_a_renewed_certificate_is_shown_to_the_next_connection_without_a_restart(on_loop, authority, tmp_path):
    old, new = authority.issue("old"), authority.issue("new")
    cert, key = tmp_path / "tls.crt", tmp_path / "tls.key"
    for path, source in ((cert, old.cert), (key, old.key)):
        path.write_bytes(source.read_bytes())

    async def story():
        async with Stage() as stage:
            certificate = ServerCertificate(cert, key)
            server = Server(stage.pod, certificate.renew)
            port = await server.listen("127.0.0.1", 0, certificate.context)
            assert await seen_by_client(port) == der(old.cert)
            assert not certificate.renew()
            cert.write_bytes(new.cert.read_bytes())
            key.write_bytes(new.key.read_bytes())
            async with asyncio.timeout(60):  # the server looks once per second
                while await seen_by_client(port) != der(new.cert):
                    await asyncio.sleep(0.05)

    on_loop(story())


def test_half_a_renewal_leaves_the_old_certificate_in_use_until_the_other_half_is_there(authority, tmp_path):
    old, new = authority.issue("old2"), authority.issue("new2")
    cert, key = tmp_path / "tls.crt", tmp_path / "tls.key"
    cert.write_bytes(old.cert.read_bytes())
    key.write_bytes(old.key.read_bytes())
    certificate = ServerCertificate(cert, key)
    cert.write_bytes(new.cert.read_bytes())
    assert not certificate.renew()
    key.write_bytes(new.key.read_bytes())
    assert certificate.renew()


def test_files_that_disappear_are_no_reason_to_stop(authority, tmp_path):
    issued = authority.issue("gone")
    cert = tmp_path / "tls.crt"
    cert.write_bytes(issued.cert.read_bytes())
    certificate = ServerCertificate(cert, issued.key)
    cert.unlink()
    assert not certificate.renew()
    with pytest.raises(FileNotFoundError):
        ServerCertificate(cert, issued.key)
