"""`python -m dataplane`: one pod, or with `--workers` one per core behind the same port. `--check` prints the settings.

Exit codes: 0 stopped as asked, everything delivered or kept on disk; 1 could not start; 2 the settings make no sense;
3 stopped as asked, but usage records in memory could not be delivered. Of several workers, the worst.
"""

from __future__ import annotations

import argparse
import asyncio
import ctypes
import os
import resource
import ssl
import sys
from collections.abc import Sequence

from dataplane.core.variables import CONTROL_PLANES_VARIABLES, PODS_VARIABLES, unknown
from dataplane.host.exits import Exit
from dataplane.host.workers import Worker, Workers
from dataplane.settings import PREFIX, Settings, SettingsError, effective, load
from dataplane.telemetry import logs
from dataplane.telemetry.traces import parse_headers

_PR_SET_DUMPABLE = 4  # linux/prctl.h


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m dataplane", description="One pod of AI Gateway, or several.")
    parser.add_argument("--check", action="store_true", help="print the effective settings, secrets as stars, and exit")
    parser.add_argument("--workers", metavar="N", help=f"instead of {PREFIX}WORKERS: that many pods behind one port")
    parser.add_argument("--worker", nargs=4, help=argparse.SUPPRESS)  # what the parent of workers calls
    chosen = parser.parse_args(arguments)
    try:
        settings = load({} if chosen.workers is None else {"workers": chosen.workers})
        collector_headers = parse_headers(settings.otlp_headers.get_secret_value())
    except (SettingsError, ValueError) as error:
        problems = error.problems if isinstance(error, SettingsError) else [f"AIGATEWAY_OTLP_HEADERS: {error}"]
        sys.stderr.writelines(f"{problem}\n" for problem in problems)
        return Exit.BAD_SETTINGS
    strange = unknown(os.environ, PODS_VARIABLES, CONTROL_PLANES_VARIABLES)
    if chosen.check:
        sys.stderr.writelines(f"{problem}\n" for problem in strange)
        sys.stdout.writelines(f"{name}={value}\n" for name, value in effective(settings).items())
        return Exit.OK
    harden()
    logs.configure(settings.log_level)
    if not chosen.worker:  # its parent has said it
        for problem in strange:
            logs.warning("unknown_variable", problem=problem)
    try:
        if chosen.worker:
            return _pod(settings, collector_headers, Worker.parse(chosen.worker))
        if settings.workers > 1:
            return asyncio.run(Workers(settings, settings.workers).run())
        return _pod(settings, collector_headers, None)
    except (OSError, ssl.SSLError) as error:
        logs.error("gateway_cannot_start", error=error)
        return Exit.CANNOT_START
    finally:
        logs.flush()


def _pod(settings: Settings, collector_headers: dict[str, str], worker: Worker | None) -> int:
    """What only a pod needs is loaded here: the parent of workers stays small."""
    import uvloop

    from dataplane.host import process

    if worker is not None:
        settings = settings.model_copy(update={"name": f"{settings.pod_name}/{worker.number}"})
    return uvloop.run(process.run(settings, collector_headers, worker))


def harden() -> None:
    """This process holds credentials: no core dumps; its memory and environment are for root alone."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0) != 0:
        logs.warning("process_stays_dumpable", errno=ctypes.get_errno())


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
