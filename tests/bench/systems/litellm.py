"""LiteLLM's proxy, one worker, no database: in a virtual environment of its own, installed when it is missing."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

from tests.bench.accounting import Tree
from tests.bench.processes import await_answer, in_venv, process
from tests.bench.systems.system import Site, System, bearer
from tests.contract.house import free_port

PACKAGE = "litellm[proxy]==1.106.2"

CONFIGURATION = """
model_list:
  - model_name: gpt-5.5
    litellm_params: {{model: openai/gpt-5.5, api_base: "http://127.0.0.1:{mock}/v1", api_key: upstream-key}}
  - model_name: claude-sonnet-5-5
    litellm_params: {{model: anthropic/claude-sonnet-5-5, api_base: "http://127.0.0.1:{mock}", api_key: upstream-key}}
general_settings: {{master_key: sk-bench}}
litellm_settings: {{telemetry: false}}
"""


@contextlib.contextmanager
def litellm(site: Site) -> Iterator[System]:
    programs, port, log = in_venv("litellm", PACKAGE, "700 MB"), free_port(), site.scratch / "litellm.log"
    configuration = site.scratch / "litellm.yaml"
    configuration.write_text(CONFIGURATION.format(mock=site.mock_port))
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(site.scratch),
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",
        "LITELLM_LOG": "ERROR",
    }
    command = [str(programs / "litellm"), "--config", str(configuration), "--port", str(port), "--host", "127.0.0.1"]
    with process([*command, "--num_workers", "1"], cores=site.cores, log=log, environment=environment) as child:
        start_s = await_answer(child, port, "/health/readiness", log, limit_s=180.0, ready=True)
        yield System("litellm", port, Tree(child.pid), bearer("sk-bench"), start_s, slow=True)
