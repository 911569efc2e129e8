"""What a pod answers from memory: probes, `/`, lists of models, and token counts where no provider makes any."""

from __future__ import annotations

import msgspec

from dataplane.core.catalogue import Use
from dataplane.core.errors import Code, Refusal
from dataplane.core.money import words as budget_words
from dataplane.core.money.accounts import account_at, budgets_over
from dataplane.core.routing import ReachableModel, reachable_model, reachable_models
from dataplane.core.snapshot import Snapshot, VirtualKey
from dataplane.dialects.count_tokens import HEADER, estimated_count
from dataplane.dialects.dialect import DialectName, ListedModel, Operation
from dataplane.dialects.models_page import model_entry, models_page
from dataplane.dialects.registry import Route
from dataplane.proxy.attempt import Attempt
from dataplane.proxy.exchange import Exchange
from dataplane.proxy.http.heads import Field
from dataplane.proxy.life import Phase
from dataplane.proxy.operators import is_operator
from dataplane.proxy.pod import Pod
from dataplane.proxy.provider.connection import Response

_JSON: Field = (b"Content-Type", b"application/json")
_NO_STORE: Field = (b"Cache-Control", b"no-store")
_METRICS: Field = (b"Content-Type", b"text/plain; version=0.0.4; charset=utf-8")
_COUNTS = frozenset({Operation.COUNT_TOKENS, Operation.RESPONSES_INPUT_TOKENS})
_PARTICULARS = frozenset({"/readyz", "/startupz", "/health"})
OF_A_KEY = frozenset({Operation.MODELS, Operation.BUDGET})
OPEN_PATHS = frozenset({"/", "/api/hello", "/healthz", "/readyz", "/startupz", "/health", "/metrics"})


async def without_key(exchange: Exchange, pod: Pod) -> None:
    """Answer what needs no key: to anybody what clients and balancers have to know, to operators more."""
    path, head = exchange.path, exchange.head
    if head.method not in ("GET", "HEAD"):
        raise Refusal(Code.METHOD_NOT_ALLOWED, f"{path} answers GET", meta={"allow": "GET, HEAD"})
    exchange.unrecorded = path not in ("/", "/api/hello")
    operator = is_operator(exchange.connection.peer, head.first, pod.limits.operators)
    if path == "/metrics":
        if not operator:
            raise Refusal(Code.NOT_FOUND, "/metrics is shown to operators only, by their address (AIGATEWAY_OPERATORS)")
        exchange.answer(200, [_METRICS], await pod.scrape())
        return
    status, content = _content(path, pod)
    if operator and path in _PARTICULARS:
        content |= _particulars(path, pod)
    exchange.answer(status, [_JSON], msgspec.json.encode(content))


def _content(path: str, pod: Pod) -> tuple[int, dict[str, object]]:
    match path:
        case "/":
            return 200, {
                "name": "AI Gateway",
                "version": pod.version,
                "what": "One governed endpoint in front of every LLM provider: send here what you would send there.",
                "credential": "Authorization: Bearer lw_vk_... or x-api-key",
                "routes": [
                    "/v1/messages",
                    "/v1/responses",
                    "/v1/chat/completions",
                    "/v1/embeddings",
                    "/v1/models",
                    "/v1/budget",
                    "/v1beta/models",
                ],
                "probes": ["/healthz", "/readyz", "/startupz", "/health", "/metrics"],
            }
        case "/api/hello":
            return 200, {"message": "hello"}
        case "/healthz":
            return 200, {"status": "ok", "version": pod.version, "uptime_s": pod.uptime_s()}
        case _:
            checks = pod.checks()
            good = all(value == "ok" for value in checks.values())
            if path == "/startupz":
                good = pod.life.phase is not Phase.STARTING
            content: dict[str, object] = {"status": "ok" if good else "degraded", "version": pod.version}
            if path == "/health":
                return 200, content
            return 200 if good else 503, content | {"checks": checks}


def _particulars(path: str, pod: Pod) -> dict[str, object]:
    """How a pod is, for whoever runs it."""
    network = {f"network {address}": words for address, words in pod.life.network.items()}
    content: dict[str, object] = {"phase": pod.life.phase.value, "checks": {**pod.checks(), **network}}
    if path == "/health":
        content |= {
            "uptime_s": pod.uptime_s(),
            "revision": pod.configuration.snapshot.revision,
            "open_exchanges": len(pod.exchanges) - 1,
            "connections": len(pod.connections),
        }
    return content


async def of_a_key(exchange: Exchange, snapshot: Snapshot, key: VirtualKey, route: Route) -> None:
    """Answer what every key may ask, whatever its budgets. Raises Refusal."""
    if route.operation is Operation.MODELS:
        _models(exchange, snapshot, key, route)
    else:
        await _budget(exchange, snapshot, key)


def _models(exchange: Exchange, snapshot: Snapshot, key: VirtualKey, route: Route) -> None:
    """Every name that this key could ask for, in the caller's shape; or one. Raises Refusal.

    OpenAI's shape is everybody's who does not say otherwise: it holds what any route serves to the key. Codex's part of
    it holds what Codex could talk to.
    """
    name, wanted = route.dialect.name, route.path_model.removeprefix("models/")
    if wanted:
        exchange.answer(200, [_JSON], model_entry(name, _listed(_one_model(snapshot, key, name, wanted))))
        return
    reachable = reachable_models(snapshot, key, name.value)
    codex: list[ListedModel] = []
    if name is DialectName.CHAT:
        by_name = {model.id: model for model in (*reachable_models(snapshot, key, None), *reachable)}
        reachable = sorted(by_name.values(), key=lambda model: -model.released_ms)
        for_codex = reachable_models(snapshot, key, DialectName.RESPONSES.value)
        codex = [_listed(model) for model in for_codex if model.use is Use.CHAT]
    exchange.answer(200, [_JSON], models_page(name, [_listed(model) for model in reachable], exchange.query, codex))


def _one_model(snapshot: Snapshot, key: VirtualKey, dialect: DialectName, name: str) -> ReachableModel:
    try:
        return reachable_model(snapshot, key, dialect.value, name)
    except Refusal:
        if dialect is not DialectName.CHAT:
            raise
        return reachable_model(snapshot, key, None, name)


def _listed(model: ReachableModel) -> ListedModel:
    return ListedModel(model.id, model.owned_by, model.released_ms // 1000, model.use)


async def _budget(exchange: Exchange, snapshot: Snapshot, key: VirtualKey) -> None:
    """Every budget above the caller's key, as this pod knows it: for status lines and for people with curl."""
    pod = exchange.pod
    at_ms = pod.holds.at_ms()
    accounts = [account_at(budget, member, at_ms) for budget, member in budgets_over(snapshot, key)]
    await pod.holds.refresh(accounts)
    standings = [budget_words.standing(account, pod.holds.state(account.ref), at_ms) for account in accounts]
    exchange.answer(200, [_JSON, _NO_STORE], msgspec.json.encode({"object": "list", "data": standings}))


def count_instead(attempt: Attempt, response: Response) -> bool:
    """The provider has no endpoint that counts tokens: answer with an upper bound. False: it has one."""
    route = attempt.inquiry.route
    if route.operation not in _COUNTS or response.head.status not in (404, 405, 501):
        return False
    response.abort()
    name, value = HEADER
    count = estimated_count(route.dialect.name, attempt.inquiry.request.facts)
    attempt.exchange.answer(200, [_JSON, (name.encode(), value.encode())], count)
    return True
