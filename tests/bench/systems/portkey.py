"""Portkey's open gateway on Node, installed from npm when it is missing. It has no keys and books nothing."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator

from tests.bench.accounting import Tree
from tests.bench.processes import BENCH, Unavailable, await_answer, process, say
from tests.bench.systems.system import Site, System, bearer
from tests.contract.house import free_port

PACKAGE = "@portkey-ai/gateway@1.15.2"
NO_STREAMS = "1.15.2 answers them with 500 on Node 20 (TypeError: immutable)"


def _installed() -> list[str]:
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        raise Unavailable("Node is not installed")
    home = BENCH / "portkey"
    script = home / "node_modules" / "@portkey-ai" / "gateway" / "build" / "start-server.js"
    if not script.exists():
        say("installing Portkey (once, about 25 MB)")
        home.mkdir(parents=True, exist_ok=True)
        (home / "package.json").write_text('{"private": true}\n')
        install = [npm, "install", "--no-audit", "--no-fund", "--ignore-scripts", "--silent", PACKAGE]
        if subprocess.run(install, cwd=home, check=False).returncode or not script.exists():
            raise Unavailable(f"{PACKAGE} could not be installed")
    return [node, str(script)]


@contextlib.contextmanager
def portkey(site: Site) -> Iterator[System]:
    port, log = free_port(), site.scratch / "portkey.log"
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(site.scratch),
        "NODE_ENV": "production",
        "TRUSTED_CUSTOM_HOSTS": "localhost,127.0.0.1",
    }
    command = [*_installed(), f"--port={port}", "--headless"]
    with process(command, cores=site.cores, log=log, environment=environment) as child:
        start_s = await_answer(child, port, "/", log)
        routing = {"x-portkey-provider": "openai", "x-portkey-custom-host": f"http://127.0.0.1:{site.mock_port}/v1"}
        say(f"SKIPPED portkey where streams are asked for: {NO_STREAMS}")
        credentials = bearer("upstream-key") | routing
        yield System("portkey", port, Tree(child.pid), credentials, start_s, slow=True, streams=False)
