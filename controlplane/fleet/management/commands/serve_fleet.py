"""`manage.py serve_fleet`: the pods' end of the control plane."""

from __future__ import annotations

import asyncio
import gc
import json
import os
import resource
import signal
from argparse import ArgumentParser
from contextlib import suppress
from typing import Any

import uvloop
from django.core.management.base import BaseCommand, CommandError

from controlplane.environment import ConfigurationError, environment, variable_of
from controlplane.fleet.calls.booking import Booking, registered
from controlplane.fleet.calls.server import Identity, running
from controlplane.fleet.database import bound

GC_THRESHOLDS = (10_000, 20, 100)


class Command(BaseCommand):
    help = "Serve pods: configuration downwards, usage upwards. Any number of these may run on one database."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--listen", default=environment().fleet_listen, help="host:port (default: %(default)s)")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            environment().demand_secrets()
            bound()
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a core dump would hold every provider's credential
            # A collection looks at every open stream: rarely, then.
            gc.set_threshold(*GC_THRESHOLDS)
            with suppress(asyncio.CancelledError), asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                runner.run(self._serve(options["listen"], _identity(), registered()))
        except ConfigurationError as problem:
            raise CommandError(str(problem)) from problem

    async def _serve(self, listen: str, identity: Identity | None, booking: Booking) -> None:
        stop, serving = asyncio.Event(), asyncio.current_task()

        def end() -> None:
            stop.set()
            if serving is not None and not ready:
                serving.cancel()  # it waits for a database that does not answer

        ready = False
        for name in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(name, end)
        async with running(listen, identity, booking, environment().fleet_metrics_listen) as server:
            ready = True
            self._say("fleet_listening", listen=f"{listen.rpartition(':')[0]}:{server.port}", tls=identity is not None)
            await stop.wait()
            self._say("fleet_stopping")
        self._say("fleet_stopped")

    def _say(self, event: str, **facts: object) -> None:
        self.stdout.write(json.dumps({"event": event, "pid": os.getpid(), **facts}))
        self.stdout.flush()


def _identity() -> Identity | None:
    """The TLS files, or None where plain text was asked for. Raises ConfigurationError."""
    chosen = environment()
    files = {name: getattr(chosen, name) for name in ("fleet_ca", "fleet_cert", "fleet_key")}
    missing = [variable_of(name) for name, path in files.items() if path is None]
    if not missing:
        return Identity(files["fleet_ca"], files["fleet_cert"], files["fleet_key"])
    if chosen.fleet_insecure and len(missing) == len(files):
        return None
    raise ConfigurationError(
        f"set {', '.join(missing)} (see `manage.py pki`), or {variable_of('fleet_insecure')}=true for a plain loopback"
    )
