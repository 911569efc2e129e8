"""Which machine this is: in words for the table, and as the class that committed ratios belong to."""

from __future__ import annotations

import os
import platform
import re
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


def machine_class() -> str:
    """Processor and minor version of Python, which is what ratios depend on."""
    python = ".".join(platform.python_version_tuple()[:2])
    return re.sub(r"[^a-z0-9.]+", "-", f"{_processor()} python{python}".lower()).strip("-")
