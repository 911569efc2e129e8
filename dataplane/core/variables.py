"""The environment variables of both planes by name, so that each can tell a mistyped one from one of the other's.

The names are declared with their settings; a test compares.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from difflib import get_close_matches
from typing import Final

PREFIX: Final = "AIGATEWAY_"
TESTS: Final = "AIGATEWAY_TEST_"  # the suite's own
FILE: Final = "_FILE"
PEOPLES: Final = frozenset({"AIGATEWAY_API_KEY", "AIGATEWAY_API_TOKEN"})  # what recipes and pages say to export


def _names(text: str) -> frozenset[str]:
    return frozenset(PREFIX + word for word in text.split())


PODS_VARIABLES: Final = _names("""
LISTEN LISTEN_CERT LISTEN_KEY LISTEN_PLAINTEXT ADDRESS NAME WORKERS FLEET FLEET_CA FLEET_CERT FLEET_KEY
FLEET_SERVER_NAME FLEET_INSECURE SPOOL_DIR SPOOL_BYTES SPOOL_MEMORY_RECORDS BODY_BYTES BODY_S BODIES_BYTES CONNECTIONS
EXCHANGES CONNECT_S FIRST_BYTE_S IDLE_S UPSTREAM_PER_HOST UPSTREAM_CA PRE_DRAIN_S DRAIN_S FLUSH_S LOG_LEVEL
OTLP_ENDPOINT OTLP_HEADERS COMMIT OPERATORS STARTUP_REACH
""")
CONTROL_PLANES_VARIABLES: Final = _names("""
SECRET_KEY ROOT_KEYS PEPPERS DATABASE_POOL DATABASE_WAIT_S STATEMENT_TIMEOUT_MS API_CALLS_PER_MINUTE VAR_DIR BROKER_URL
DATABASE_POOLING LISTEN_DATABASE_URL
FLEET_LISTEN FLEET_METRICS_LISTEN WEB_METRICS_LISTEN FLEET_CA FLEET_CERT FLEET_KEY FLEET_INSECURE USAGE_RETENTION_DAYS
USAGE_ESTIMATE_AFTER_S ALLOW_PRIVATE_PROVIDERS ALLOW_PRIVATE_WEBHOOKS PUBLIC_GATEWAY_URL PUBLIC_ADMIN_URL SMTP_URL
MAIL_FROM ALLOWED_HOSTS TRUSTED_ORIGINS TRUSTED_PROXIES HTTPS DEBUG LOG_LEVEL
""")


def unknown(names: Iterable[str], own: Collection[str], others: Collection[str]) -> list[str]:
    """A sentence for each name that begins like ours and is nobody's. `others`: the other plane's. Never a value."""
    strange = sorted(
        name
        for name in names
        if name.startswith(PREFIX)
        and not name.startswith(TESTS)
        and not {name, name.removesuffix(FILE)} & {*own, *others, *PEOPLES}
    )
    return [_sentence(name, own) for name in strange]


def _sentence(name: str, own: Collection[str]) -> str:
    words = {variable.removeprefix(PREFIX): variable for variable in own}
    close = get_close_matches(name.removeprefix(PREFIX).removesuffix(FILE), words, 1, cutoff=0.75)
    hint = f"did you mean {words[close[0]]}?" if close else "deploy/reference/settings.md lists all there are."
    return f"{name} is not a variable of the gateway and changes nothing; {hint}"
