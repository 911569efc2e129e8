"""The certificate that clients see, read again when its files change."""

from __future__ import annotations

import os
import ssl
from pathlib import Path

from dataplane.telemetry import logs

State = tuple[tuple[int, int, int], ...]


class ServerCertificate:
    """`context` is for the listener. `renew`, once per second, takes up new files for the connections that follow."""

    def __init__(self, cert: Path, key: Path) -> None:
        """Raises OSError or ssl.SSLError."""
        self._cert = cert
        self._key = key
        self._seen = self._state()
        self.context = self._load()

    def renew(self) -> bool:
        """Returns whether there was something new. What does not fit together is logged once, and the old one stays."""
        try:
            state = self._state()
            if state == self._seen:
                return False
            self._seen = state
            self._load()  # of its own: a pair that does not match would spoil the one in use
            self.context.load_cert_chain(self._cert, self._key)
        except (OSError, ssl.SSLError) as error:
            logs.error("listen_certificate_not_renewed", file=str(self._cert), error=error)
            return False
        logs.info("listen_certificate_renewed", file=str(self._cert))
        return True

    def _load(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.set_alpn_protocols(["http/1.1"])
        context.load_cert_chain(self._cert, self._key)
        return context

    def _state(self) -> State:
        """Kubernetes swaps a link to a directory: the files behind it are other ones, perhaps of the same time."""
        files = [os.stat(path) for path in (self._cert, self._key)]
        return tuple((each.st_mtime_ns, each.st_ino, each.st_size) for each in files)
