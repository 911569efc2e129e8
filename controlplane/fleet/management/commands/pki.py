"""`manage.py pki`: make the fleet's certificate authority, issue certificates to fleet servers and pods."""

from __future__ import annotations

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from controlplane.fleet import pki


class Command(BaseCommand):
    help = "Certificates of the wire between the control plane and the pods."

    def add_arguments(self, parser: ArgumentParser) -> None:
        verbs = parser.add_subparsers(dest="verb", required=True)
        init = verbs.add_parser("init", help="make the certificate authority (ca.pem, ca.key)")
        server = verbs.add_parser("server", help="issue a fleet server's certificate (fleet.pem, fleet.key)")
        server.add_argument("--host", action="append", required=True, help="DNS name or address that pods dial; repeat")
        pod = verbs.add_parser("pod", help="issue a pod's certificate (pod-<name>.pem, pod-<name>.key)")
        pod.add_argument("--name", required=True, help="lower-case letters, digits, dots, dashes")
        for verb, days in ((init, pki.CA_DAYS), (server, pki.LEAF_DAYS), (pod, pki.LEAF_DAYS)):
            verb.add_argument("--directory", type=Path, required=True, help="where the authority and the output are")
            verb.add_argument("--days", type=int, default=days, help="validity (default: %(default)s)")

    def handle(self, *args: Any, **options: Any) -> None:
        directory: Path = options["directory"]
        now = timezone.now()
        if options["verb"] == "init":
            if (directory / "ca.key").exists():
                raise CommandError(f"{directory} already holds an authority; pods trust it, so it is not replaced")
            issued, name = pki.create_authority(now, options["days"]), "ca"
        else:
            authority = self._authority(directory)
            try:
                if options["verb"] == "server":
                    issued, name = pki.issue_server(authority, options["host"], now, options["days"]), "fleet"
                else:
                    name = f"pod-{options['name']}"
                    issued = pki.issue_pod(authority, options["name"], now, options["days"])
            except ValueError as problem:
                raise CommandError(str(problem)) from problem
        for path in issued.write(directory, name):
            self.stdout.write(str(path))

    def _authority(self, directory: Path) -> pki.Issued:
        try:
            return pki.Issued((directory / "ca.pem").read_bytes(), (directory / "ca.key").read_bytes())
        except OSError as problem:
            raise CommandError(f"no authority in {directory}: run `manage.py pki init` first ({problem})") from problem
