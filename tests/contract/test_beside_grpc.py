"""Tests start processes while gRPC is in use beside them: each begins."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest

STARTS = 100  # of which some failed or hung, while gRPC took care of forks


@pytest.mark.skipif(sys.platform != "linux", reason="nobody forks here")
def test_a_process_begins_while_grpc_is_called() -> None:
    server = grpc.server(ThreadPoolExecutor(2))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    enough = threading.Event()

    def calls() -> None:
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
            while not enough.is_set():
                with pytest.raises(grpc.RpcError):
                    channel.unary_unary("/nobody/answers", None, None)(b"", timeout=5.0)

    with ThreadPoolExecutor(2) as callers:
        calling = [callers.submit(calls) for _ in range(2)]
        try:
            # With something to do between fork and exec, as the demo has: without, nothing forks.
            ends = [
                subprocess.run(["true"], preexec_fn=os.getpid, check=False, timeout=30.0).returncode
                for _ in range(STARTS)
            ]
        finally:
            enough.set()
        for each in calling:
            each.result()
    server.stop(None)
    assert ends == [0] * STARTS
