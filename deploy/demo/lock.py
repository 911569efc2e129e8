"""One demo per directory: a second one would take the first one's broker, certificates and providers away.

The kernel holds the lock and gives it back when the process is gone, however it ended.
"""

from __future__ import annotations

import errno
import fcntl
import os
from pathlib import Path

from deploy.demo.layout import DemoError

NAME = "demo.lock"
_HELD_BY_ANOTHER = (errno.EWOULDBLOCK, errno.EACCES)


class Lock:
    """Of one directory, which it makes. Holding it is what the object is for; `release` gives it back."""

    def __init__(self, var: Path) -> None:
        """Raises DemoError."""
        path = var / NAME
        try:
            var.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as problem:
            raise DemoError(
                f"DEMO_VAR: {var} cannot be made or written to ({problem.strerror}); set it to a directory of yours"
            ) from None
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as problem:
            holder = os.pread(self._descriptor, 20, 0).decode("ascii", "replace").strip()
            self.release()
            if problem.errno not in _HELD_BY_ANOTHER:
                raise DemoError(f"DEMO_VAR: {path} cannot be locked ({problem.strerror}); set DEMO_VAR") from None
            raise DemoError(
                f"a demo runs in {var} already, pid {holder or 'unknown'}; stop it, or give this one a directory and "
                "ports of its own: DEMO_VAR=… DEMO_WEB_PORT=… DEMO_FLEET_PORT=… DEMO_SIM_PORT=… DEMO_POD_PORT=…"
            ) from None
        os.ftruncate(self._descriptor, 0)
        os.pwrite(self._descriptor, f"{os.getpid()}\n".encode(), 0)

    def release(self) -> None:
        """A second time changes nothing."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
