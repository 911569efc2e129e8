"""The table of what a pod and the control plane answer: paths from the registries that serve them, words from here.

One rule: an operation, a probe or a REST resource without its words is an error that says where to put them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from dataplane.dialects.dialect import BILLED, DialectName, Operation

DIALECTS: Mapping[DialectName, str] = {
    DialectName.ANTHROPIC: "Anthropic Messages",
    DialectName.RESPONSES: "OpenAI Responses",
    DialectName.CHAT: "OpenAI Chat Completions",
    DialectName.GEMINI: "Gemini",
}

COUNTS = "counts tokens; answered with an upper bound where the provider has no such route"
OPERATIONS: Mapping[Operation, str] = {
    Operation.MESSAGES: "a turn",
    Operation.COUNT_TOKENS: COUNTS,
    Operation.RESPONSES: "a turn",
    Operation.RESPONSES_COMPACT: "shortens a conversation",
    Operation.RESPONSES_INPUT_TOKENS: COUNTS,
    Operation.RESPONSES_STORED: "a response that the provider keeps",
    Operation.CHAT: "a turn",
    Operation.EMBEDDINGS: "embeddings",
    Operation.GENERATE_CONTENT: "a turn, in one piece",
    Operation.STREAM_GENERATE_CONTENT: "a turn, streamed",
    Operation.EMBED_CONTENT: "embeddings",
    Operation.CACHED_CONTENTS: "contexts that the provider keeps",
    Operation.MODELS: "the models that the key may ask for, in the caller's shape; answered from memory",
    Operation.BUDGET: "every budget above the key: limit, spent, held, left, when it resets; answered by the pod",
}

OPEN: Mapping[str, str] = {
    "/": "what this is, and which routes it has",
    "/api/hello": "a greeting that some clients look for",
    "/healthz": "200 while the process runs",
    "/readyz": "200 while the pod takes requests, else 503 with what is missing, in words",
    "/startupz": "503 until the pod has had a configuration and has reached what `AIGATEWAY_STARTUP_REACH` names",
    "/health": "status and version, always 200; particulars for `AIGATEWAY_OPERATORS`",
    "/metrics": "Prometheus, for `AIGATEWAY_OPERATORS`; see [metrics](metrics.md)",
}

WEB: Mapping[str, str] = {
    "/": "leads to the admin",
    "/admin/": "the admin, for people",
    "/api/v1/": "the REST API, for programs: the resources below",
    "/healthz": "200 while the process runs",
    "/readyz": "200 while the database answers and is migrated, else 503",
    "/metrics": "Prometheus, for who asks from the same machine; see [metrics](metrics.md)",
}

RESOURCES: Mapping[str, str] = {
    "organizations": "the root of the tenancy tree",
    "teams": "teams of an organization",
    "projects": "projects of a team",
    "principals": "people and service accounts",
    "groups": "groups of people, for budgets per member",
    "memberships": "who has which role where",
    "api-tokens": "credentials of this API",
    "virtual-keys": "credentials of CLIs: mint, rotate, disable, revoke",
    "model-aliases": "a client's model name → a provider's model",
    "budgets": "limits, their standing, resets",
    "budget-overrides": "more money for a while",
    "budget-accounts": "a budget's windows, as they are booked",
    "budget-crossings": "thresholds that were reached",
    "alert-rules": "what is worth telling",
    "alert-channels": "whom it is told",
    "alerts": "what was told",
    "alert-deliveries": "every try to tell it",
    "providers": "upstream accounts; a test of each",
    "price-overrides": "prices of your own",
    "usage": "the ledger: records and totals",
    "fleet/pods": "pods, what they serve, eviction",
    "audit": "who changed what",
}

READ: Mapping[str, str] = {
    "X-Langwatch-Tags": "words to find the usage by, separated by commas",
    "X-Langwatch-Metadata": "a JSON object to keep with the usage, at most 4096 bytes",
    "X-Langwatch-End-User-Id": "whom the client's own user is called",
    "X-Langwatch-Session-Id": "the session, where the CLI names none by itself",
    "traceparent": "the trace to become a part of",
    "X-Request-Id": "an id of the client's own, which comes back to it beside ours",
}

WRITTEN: Mapping[str, str] = {
    "X-Langwatch-Request-Id": "the request's id, minted by the pod: usage, logs and traces have it",
    "X-Langwatch-Gateway-Request-Id": "the same",
    "X-Langwatch-Trace-Id": "the trace",
    "X-Langwatch-Span-Id": "the gateway's span in it",
    "X-Langwatch-Gateway-Version": "the pod's version",
    "X-Langwatch-Provider": "the provider that answered, by its name",
    "X-Langwatch-Model": "the model that it was asked for",
    "X-Langwatch-Fallback-Count": "how many providers were tried in vain before",
    "X-Langwatch-Budget-Warning": "scope and percent of budgets that are nearly used up",
    "X-Langwatch-Token-Count": "`estimate` where the pod counted instead of the provider",
}


INTRODUCTION = """\
A pod answers these with a virtual key (`Authorization: Bearer`, `x-api-key`, `x-goog-api-key`). Before each path may
stand `/anthropic`, `/openai`, `/gemini` or `/cursor`, for clients that want a base URL of their own."""
REST = "Resources of `/api/v1/`; fields, verbs and errors are in [openapi.yaml](../../controlplane/openapi.yaml):"


def render() -> str:
    """The document below its heading. Raises KeyError with words for what has none."""
    resources = {f"/api/v1/{name}": words for name, words in _complete(_rest(), RESOURCES).items()}
    parts = (
        INTRODUCTION,
        _table(("route", "dialect", "what", "billed"), _pod()),
        "These need no key:",
        _listed("route", {f"GET {path}": words for path, words in _complete(_open(), OPEN).items()}),
        "## Headers\n\nA client may send:",
        _listed("header", READ),
        "Of these only `X-Request-Id` goes on to the provider. Answers carry:",
        _listed("header", WRITTEN),
        "# Routes of the control plane",
        _listed("route", _complete(_web(), WEB)),
        REST,
        _listed("resource", resources),
    )
    return "\n\n".join(parts) + "\n"


def _pod() -> Iterable[tuple[str, ...]]:
    from dataplane.dialects import registry

    for method, path, dialect, operation in registry.listed():
        if operation not in OPERATIONS:
            raise KeyError(f"operation {operation.value!r} has no words: add them to OPERATIONS in deploy/routes.py")
        who = DIALECTS[dialect] if operation not in (Operation.MODELS, Operation.BUDGET) else "the caller's"
        yield f"`{method} {path}`", who, OPERATIONS[operation], "yes" if operation in BILLED else ""


def _open() -> Iterable[str]:
    from dataplane.proxy.local_answers import OPEN_PATHS

    return OPEN_PATHS


def _rest() -> Iterable[str]:
    import django

    django.setup()
    from controlplane.api_urls import ROUTES

    return [prefix for prefix, _ in ROUTES]


def _web() -> Iterable[str]:
    from django.urls.resolvers import RoutePattern

    from controlplane.urls import urlpatterns

    return [f"/{route.pattern}" for route in urlpatterns if isinstance(route.pattern, RoutePattern)]


def _complete(names: Iterable[str], words: Mapping[str, str]) -> Mapping[str, str]:
    """The words, in their order. Raises KeyError when one is missing or nothing answers to one."""
    odd = sorted(set(names) ^ set(words))
    if odd:
        raise KeyError(f"{', '.join(odd)}: known to only one of the program and the tables of deploy/routes.py")
    return words


def _listed(head: str, words: Mapping[str, str]) -> str:
    return _table((head, "what"), ((f"`{name}`", meaning) for name, meaning in words.items()))


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [f"| {' | '.join(head)} |", "|" + "---|" * len(head)]
    return "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in rows)])
