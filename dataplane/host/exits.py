"""How a pod's process may end."""

from __future__ import annotations

from enum import IntEnum


class Exit(IntEnum):
    OK = 0
    CANNOT_START = 1
    BAD_SETTINGS = 2
    UNDELIVERED = 3
