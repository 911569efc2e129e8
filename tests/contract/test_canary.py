"""Secrets are looked for where they must not be: logs at DEBUG, database, spool, metrics, errors, the wire."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.contract.house import House, eventually
from tests.contract.requests import every_ask, send

pytestmark = pytest.mark.processes

PROVIDER_SECRET = "sk-canary-5f0c2f7e9d1b4a63-provider"
PROMPT = "canary-prompt-8d41c6"


def disguises(secret: str) -> Iterator[bytes]:
    """The secret as it might be written: plain, base64 at the three alignments, hex, its first half."""
    raw = secret.encode()
    yield raw
    yield raw.hex().encode()
    yield raw[: len(raw) // 2 + 4]
    for offset in range(3):
        encoded = base64.b64encode(b"x" * offset + raw)
        yield encoded[4:-4]


def places(house: House) -> Iterator[tuple[str, bytes]]:
    for path in sorted(house.var.rglob("*")):
        if path.is_file() and path.name not in ("secrets.json", "demo.json") and path.parent.name != "pki":
            yield str(path.relative_to(house.var)), path.read_bytes()
    for index in range(len(house.pods)):
        yield f"metrics of pod {index}", house.metrics(index).encode()


def environment_of(pid: int) -> bytes:
    return Path(f"/proc/{pid}/environ").read_bytes()


def test_no_secret_and_no_prompt_is_found_anywhere(build_house: Callable[..., House]) -> None:
    house = build_house(
        pods=1,
        settings={
            "ANTHROPIC_API_KEY": PROVIDER_SECRET,
            "OPENAI_API_KEY": PROVIDER_SECRET,
            "GEMINI_API_KEY": PROVIDER_SECRET,
        }
        | {
            "DEMO_ANTHROPIC_BASE_URL": "{simulator}",
            "DEMO_OPENAI_BASE_URL": "{simulator}/v1",
            "DEMO_GEMINI_BASE_URL": "{simulator}",
        },
        pod_settings={"AIGATEWAY_LOG_LEVEL": "DEBUG"},
    )
    minted = house.mint()
    token = minted["token"]
    answers: list[tuple[str, bytes]] = []
    with house.gateway(key=token) as client:
        for asked in every_ask():
            body = asked.body.replace(b"Hello", PROMPT.encode())
            for headers in (
                {},
                {"x_sim_error": "rate_limit"},
                {"x_sim_echo": "headers"},
                {"x_sim_cut": "rst", "x_sim_cut_at": "2"},
            ):
                try:
                    answer = send(
                        client, type(asked)(asked.dialect, asked.streaming, asked.path, body, asked.headers), **headers
                    )
                except Exception:
                    continue
                answers.append(
                    (f"answer to {asked.name} {headers}", answer.content + repr(answer.headers.raw).encode())
                )
        answers.append(("refused path", client.get("/v1/nothing", params={"key": token}).content))
        answers.append(("bad body", client.post("/v1/messages", content=b"{" + PROMPT.encode()).content))
    wrong = token[:-1] + ("0" if token[-1] != "0" else "1")
    with house.gateway(key=wrong) as client:
        answers.append(("wrong key", client.post("/v1/messages", json={}).content))
    house.post(f"virtual-keys/{minted['id']}/rotate", {"grace_s": 60})
    house.post(f"virtual-keys/{minted['id']}/revoke")
    eventually("records arrive", lambda: len(house.usage(key_id=minted["id"])) >= 16)

    with house.simulator() as simulator:
        seen = simulator.get("/_sim/requests").json()
    assert len(seen) >= 16
    assert not [record["number"] for record in seen if record["virtual_key_seen"]], "a virtual key reached the provider"
    billed = [record for record in seen if record["credential"]]
    assert len(billed) >= 16
    for record in billed:
        assert PROVIDER_SECRET in " ".join(value for _, value in record["headers"]), "the provider got its credential"

    for secret, where in ((PROVIDER_SECRET, "everywhere"), (token, "everywhere"), (PROMPT, "at rest")):
        secret_part = secret[len("lw_vk_live_") + 10 :] if secret == token else secret
        looked = list(places(house)) + ([] if where == "at rest" else answers)
        for disguise in disguises(secret_part):
            found = [place for place, content in looked if disguise in content]
            assert not found, f"{disguise[:6]!r}… found in {found}"
    pod = house.pods[0].process
    assert pod is not None
    assert PROVIDER_SECRET.encode() not in environment_of(pod.pid)
