"""The directory where the web processes of one address share their figures.

Apart from `metrics`, since prometheus_client looks for the directory when it is imported.
"""

from __future__ import annotations

import os
from pathlib import Path

VARIABLE = "PROMETHEUS_MULTIPROC_DIR"


def share(directory: Path) -> None:
    """Call it before prometheus_client is imported. What the dead have left goes once none of them lives."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    files = list(directory.glob("*.db"))
    if not any(_lives(path) for path in files):
        for path in files:
            path.unlink(missing_ok=True)
    os.environ[VARIABLE] = str(directory)


def shared() -> str:
    """Empty: every process counts for itself."""
    return os.environ.get(VARIABLE, "")


def _lives(file: Path) -> bool:
    """The library names its files after kind and process."""
    process = file.stem.rpartition("_")[2]
    if not process.isdigit() or int(process) == os.getpid():
        return False
    try:
        os.kill(int(process), 0)
    except ProcessLookupError:
        return False
    except OSError:
        pass
    return True
