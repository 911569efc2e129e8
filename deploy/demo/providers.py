"""Which upstreams the demo uses: the real provider where its key is in the environment, else the simulator."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from deploy.demo.layout import Layout

_REAL = (
    ("anthropic", "ANTHROPIC", "https://api.anthropic.com"),
    ("openai", "OPENAI", "https://api.openai.com/v1"),
    ("gemini", "GEMINI", "https://generativelanguage.googleapis.com"),
)
_SIMULATED_PATH = {"anthropic": "", "openai": "/v1", "gemini": ""}


def provider_specs(environment: Mapping[str, str], layout: Layout) -> list[dict[str, Any]]:
    """One per kind: name, kind, base_url, credential."""
    specs: list[dict[str, Any]] = []
    for kind, variable, official in _REAL:
        key = environment.get(f"{variable}_API_KEY", "").strip()
        override = environment.get(f"DEMO_{variable}_BASE_URL", "").strip().rstrip("/")
        simulated = f"{layout.sim_url}{_SIMULATED_PATH[kind]}"
        specs.append(
            {
                "name": kind,
                "kind": kind,
                "base_url": override or (official if key else simulated),
                "credential": key or f"sim-{kind}-key",
            }
        )
    return specs
