"""Which machine this is, in words for the table."""

from __future__ import annotations

import os
import platform
from pathlib import Path


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "unknown processor")


def describe() -> str:
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30
    virtual = "hypervisor" in Path("/proc/cpuinfo").read_text()
    return (
        f"{os.cpu_count()} × {_processor()}{' (virtual)' if virtual else ''}, {memory:.0f} GiB, "
        f"Linux {platform.release()}, Python {platform.python_version()}, load average {os.getloadavg()[0]:.1f}"
    )
