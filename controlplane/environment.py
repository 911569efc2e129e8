"""The control plane's environment variables: each declared once, with default, unit and meaning.

A variable `AIGATEWAY_X` may also be given as `AIGATEWAY_X_FILE`, a path whose content (without surrounding white space)
is the value; both at once is an error. `render_table()` makes the documentation's table. Secrets may be absent while
Django is only imported (tools do that); nothing starts without them: see `Environment.demand_secrets`.
"""

from __future__ import annotations

import base64
import binascii
import ipaddress
import os
import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, ValidationError
from pydantic.fields import FieldInfo
from pydantic_settings import (
    BaseSettings,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from dataplane.core.secret import Secret
from dataplane.core.variables import PODS_VARIABLES, unknown

PREFIX = "AIGATEWAY_"
UNPREFIXED = frozenset({"database_url"})
LEAST_SECRET_BYTES = 32
LEAST_DISTINCT = 8  # bytes; fewer in 32 are nobody's random choice
WIDEST_OF_PROXIES = {4: 8, 6: 7}  # bits of 10.0.0.0/8 and fc00::/7
Network = ipaddress.IPv4Network | ipaddress.IPv6Network
_MAPPED = ipaddress.IPv6Network("::ffff:0:0/96")
REPOSITORY = Path(__file__).resolve().parent.parent


class ConfigurationError(Exception):
    """The environment cannot be used; the message names each variable and what would be right. Never a value."""


def variable_of(field: str) -> str:
    return field.upper() if field in UNPREFIXED else PREFIX + field.upper()


def _words(value: object) -> object:
    return tuple(word.strip() for word in value.split(",") if word.strip()) if isinstance(value, str) else value


def _networks(words: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(str(_network(word)) for word in words)


def _network(word: str) -> Network:
    """Of proxies: an address is a network of one. Raises ValueError with words."""
    if word in ("*", "localhost"):
        raise ValueError(f"{word} is not an address; loopback is 127.0.0.0/8,::1/128, and everybody cannot be trusted")
    try:
        network = ipaddress.ip_network(word)
    except ValueError:
        raise ValueError(_no_network(word)) from None
    if network.version == 6 and network.subnet_of(_MAPPED) and network.prefixlen >= _MAPPED.prefixlen:
        network = ipaddress.ip_network((int(network.network_address) & 0xFFFFFFFF, network.prefixlen - 96))
    if network.prefixlen < WIDEST_OF_PROXIES[network.version]:
        raise ValueError(
            f"{word} is half of the world, and everybody in it could claim to be anybody: name the proxies"
        )
    return network


def _no_network(word: str) -> str:
    try:
        whole = ipaddress.ip_network(word, strict=False)
    except ValueError:
        return f"{word!r} is neither an address nor a network (a host name is neither): say 10.1.2.3, or 10.1.2.0/24"
    return f"{word} is an address inside of a network: say {whole}, or {word.partition('/')[0]} for that one alone"


# People write it either way, and both planes take both.
LogLevel = Annotated[
    Literal["debug", "info", "warning", "error"],
    BeforeValidator(lambda value: value.lower() if isinstance(value, str) else value),
]
Words = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_words)]
Networks = Annotated[tuple[str, ...], NoDecode, AfterValidator(_networks), BeforeValidator(_words)]


class Environment(BaseSettings):
    """What the process was told. Field descriptions end with the unit where there is one."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, extra="ignore", frozen=True, hide_input_in_errors=True)

    secret_key: SecretStr = Field(
        default=SecretStr(""), description="Django's signing key (sessions, CSRF): at least 32 random bytes."
    )
    root_keys: SecretStr = Field(
        default=SecretStr(""),
        description="Keys that wrap the provider credentials' keys: `version:base64[,…]`, 32 bytes each, newest first.",
    )
    peppers: SecretStr = Field(
        default=SecretStr(""),
        description="What digests of virtual keys and API tokens are keyed with: `version:base64[,…]`, at least 32 "
        "bytes each, newest first. Keep an old one until the last key made under it is gone.",
    )
    database_url: SecretStr = Field(
        default=SecretStr(""),
        description="`postgresql://user:password@host:port/name` or `sqlite:///path`. Empty: SQLite in the var "
        "directory. libpq's parameters may follow; unless they say otherwise connect_timeout=5, keepalives=1, "
        "keepalives_idle=5, keepalives_interval=2, keepalives_count=3, tcp_user_timeout=10000.",
    )
    database_pooling: Literal["none", "session", "transaction"] = Field(
        default="none",
        description="What a pooler between us and PostgreSQL (PgBouncer and its like) lends a connection for: none: "
        "there is none. See [database](database.md).",
    )
    listen_database_url: SecretStr = Field(
        default=SecretStr(""),
        description="Where the fleet server listens for changes, past a pooler. Empty: DATABASE_URL; where that pools "
        "transactions, it reads five times a second instead.",
    )
    database_pool: int = Field(
        default=10, ge=1, le=200, description="Most PostgreSQL connections of one process. Connections."
    )
    statement_timeout_ms: int = Field(
        default=25_000,
        ge=0,
        description="PostgreSQL ends a longer statement, and 2 s later its client gives the connection up. Web and "
        "fleet never wait longer than 15 s. 0: never. Milliseconds.",
    )
    database_wait_s: float = Field(
        default=1.5,
        ge=0.05,
        le=8,
        description="How long admin and API wait for a lock, and in all for connections, before they answer 503 with "
        "`Retry-After`. Seconds.",
    )
    api_calls_per_minute: int = Field(
        default=1200,
        ge=0,
        description="REST calls of one token or login in each web process; beyond it 429 with `Retry-After`. As many "
        "at once are a burst that is let through. 0: no limit. Calls a minute.",
    )
    var_dir: Path = Field(
        default=REPOSITORY / "var", description="Where the embedded database and generated secrets live."
    )
    broker_url: SecretStr = Field(
        default=SecretStr("redis://127.0.0.1:6379/0"),
        description="Celery's broker: `redis://…`, `rediss://…` or `redis+socket:///path`.",
    )
    fleet_listen: str = Field(default="127.0.0.1:5561", description="Where serve_fleet listens for pods. host:port.")
    fleet_metrics_listen: str = Field(
        default="",
        description="Where serve_fleet shows /metrics and /healthz: a loopback address. host:port. Empty: nowhere.",
    )
    web_metrics_listen: str = Field(
        default="",
        description="Where the web processes show /metrics, each of them for all: a loopback address. host:port. "
        "Empty: nowhere.",
    )
    fleet_ca: Path | None = Field(
        default=None, description="CA that pods' client certificates must come from. PEM file."
    )
    fleet_cert: Path | None = Field(default=None, description="serve_fleet's certificate. PEM file.")
    fleet_key: Path | None = Field(default=None, description="serve_fleet's private key. PEM file.")
    fleet_insecure: bool = Field(
        default=False, description="Serve the fleet without TLS; accepted on a loopback address only."
    )
    usage_retention_days: int = Field(
        default=400,
        ge=1,
        description="How long usage records are kept. Days; on PostgreSQL "
        "they go by whole months, so up to a month later.",
    )
    usage_estimate_after_s: int = Field(
        default=960,
        ge=60,
        description="When an admitted request whose end was never reported is booked as an estimate: longer than any "
        "stream lives. Seconds.",
    )
    allow_private_providers: bool = Field(
        default=False,
        description="Let providers live on loopback and private addresses, and speak plain http there.",
    )
    allow_private_webhooks: bool = Field(
        default=False,
        description="Let alert channels live there, too. Whoever may make a channel can "
        "then have this machine post to its own network; of the answers only the status is shown.",
    )
    public_gateway_url: str = Field(
        default="http://127.0.0.1:5563",
        description="The pods' address as engineers' machines see it: what the setup pages say.",
    )
    public_admin_url: str = Field(
        default="http://127.0.0.1:5560", description="The admin's address as people see it: what alerts link to."
    )
    smtp_url: SecretStr = Field(
        default=SecretStr(""),
        description="Mail server of alerts by e-mail: `smtps://user:password@host`, `smtp+starttls://…`, or `smtp://…` "
        "without TLS. Empty: none.",
    )
    mail_from: str = Field(default="AI Gateway <aigateway@localhost>", description="Sender of alerts by e-mail.")
    allowed_hosts: Words = Field(
        default=("127.0.0.1", "localhost", "[::1]"),
        description="Host names that the admin and the API answer to. Comma-separated.",
    )
    trusted_origins: Words = Field(
        default=(),
        description="Origins that may post to the admin from another host name. Comma-separated, with scheme.",
    )
    trusted_proxies: Networks = Field(
        default=("127.0.0.0/8", "::1/128"),
        description="Proxies in front of admin and API that are believed who asks, by which scheme and host "
        "(`X-Forwarded-For`, `X-Forwarded-Proto`, `X-Forwarded-Host`, or `Forwarded`). Everybody in these networks can "
        "claim to be anybody: name proxies, not their clients. Empty: nobody is. Addresses and networks, "
        "comma-separated.",
    )
    https: Literal["auto", "on", "off"] = Field(
        default="auto",
        description="Secure cookies, HSTS and the redirect to https. auto: on unless every allowed host is loopback.",
    )
    debug: bool = Field(default=False, description="Django's debug pages; accepted with loopback hosts only.")
    log_level: LogLevel = Field(default="info", description="debug, info, warning or error.")

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return (init_settings, _VariableOrFile(settings_cls))

    @property
    def loopback_only(self) -> bool:
        """Nothing but this machine is meant to reach the admin."""
        return all(is_loopback(host) for host in self.allowed_hosts)

    @property
    def https_on(self) -> bool:
        return self.https == "on" or (self.https == "auto" and not self.loopback_only)

    @property
    def trusted_networks(self) -> tuple[Network, ...]:
        """Where proxies are that are believed who asks."""
        return tuple(ipaddress.ip_network(network) for network in self.trusted_proxies)

    def demand_secrets(self) -> None:
        """Raise ConfigurationError unless every secret is there and long enough. Called by everything that starts."""
        problems = []
        signing = self.secret_key.get_secret_value().encode()
        if len(signing) < LEAST_SECRET_BYTES or len(set(signing)) < LEAST_DISTINCT:
            problems.append(f"{variable_of('secret_key')}: needs at least {LEAST_SECRET_BYTES} random bytes")
        for field in ("root_keys", "peppers"):
            try:
                self._keyring(field)
            except ConfigurationError as error:
                problems.append(str(error))
        if self.web_metrics_listen and not is_loopback(self.web_metrics_listen.rpartition(":")[0]):
            problems.append(f"{variable_of('web_metrics_listen')}: metrics are shown on a loopback address only")
        if self.debug and not self.loopback_only:
            problems.append(f"{variable_of('debug')}: only with loopback names in {variable_of('allowed_hosts')}")
        if problems:
            raise ConfigurationError("; ".join(problems))

    def web_metrics_directory(self) -> Path:
        """Where the processes that show their figures at one address share them."""
        return self.var_dir / "metrics" / re.sub(r"[^0-9A-Za-z.]", "_", self.web_metrics_listen)

    def unknown_variables(self) -> list[str]:
        """A sentence for each variable that looks like one of ours and is none: it changes nothing."""
        return unknown(os.environ, {variable_of(field) for field in type(self).model_fields}, PODS_VARIABLES)

    def root_keyring(self) -> Mapping[int, Secret]:
        """Version → 32-byte key, newest first."""
        return self._keyring("root_keys", exactly=LEAST_SECRET_BYTES)

    def pepper_keyring(self) -> Mapping[int, Secret]:
        """Version → pepper, newest first."""
        return self._keyring("peppers")

    def _keyring(self, field: str, exactly: int = 0) -> Mapping[int, Secret]:
        return parse_keyring(getattr(self, field).get_secret_value(), name=variable_of(field), exactly=exactly)


def parse_keyring(text: str, *, name: str, exactly: int = 0) -> Mapping[int, Secret]:
    """`version:base64[,…]` → version → Secret in the order given. Raises ConfigurationError; never shows a value."""
    keys: dict[int, Secret] = {}
    for position, entry in enumerate(filter(None, (part.strip() for part in text.split(","))), start=1):
        version, _, encoded = entry.partition(":")
        if not version.isascii() or not version.isdigit() or not 0 < int(version) < 2**31:
            raise ConfigurationError(f"{name}: entry {position} must be version:base64 with a positive whole version")
        try:
            value = base64.b64decode(encoded, validate=True)
        except binascii.Error as error:
            raise ConfigurationError(f"{name}: entry {position} is not base64") from error
        if len(value) < LEAST_SECRET_BYTES or (exactly and len(value) != exactly):
            wanted = f"exactly {exactly}" if exactly else f"at least {LEAST_SECRET_BYTES}"
            raise ConfigurationError(f"{name}: entry {position} must decode to {wanted} bytes")
        if len(set(value)) < LEAST_DISTINCT:
            raise ConfigurationError(f"{name}: entry {position} is not random")
        if int(version) in keys:
            raise ConfigurationError(f"{name}: version {int(version)} is given twice")
        keys[int(version)] = Secret(value)
    if not keys:
        raise ConfigurationError(
            f"{name}: missing; give version:base64 with at least {LEAST_SECRET_BYTES} random bytes"
        )
    return MappingProxyType(keys)


class _VariableOrFile(PydanticBaseSettingsSource):
    """Reads NAME, or the file that NAME_FILE names."""

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        name = variable_of(field_name)
        value, path = os.environ.get(name), os.environ.get(f"{name}_FILE")
        if path is None:
            return value, field_name, False
        if value is not None:
            raise ConfigurationError(f"{name} and {name}_FILE are both set; keep one")
        try:
            return Path(path).read_text(encoding="utf-8").strip(), field_name, False
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigurationError(f"{name}_FILE: {path} cannot be read ({type(error).__name__})") from error

    def __call__(self) -> dict[str, Any]:
        values = {name: self.get_field_value(field, name)[0] for name, field in self.settings_cls.model_fields.items()}
        return {name: value for name, value in values.items() if value is not None}


def is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


@cache
def environment() -> Environment:
    """The process's environment, read once. Raises ConfigurationError."""
    try:
        return Environment()
    except ValidationError as error:
        raise ConfigurationError(
            "; ".join(f"{variable_of(str(item['loc'][0]))}: {item['msg']}" for item in error.errors())
        ) from None


def render_table() -> str:
    """The documentation's table of variables, in Markdown."""
    lines = ["| variable | default | meaning |", "|---|---|---|"]
    for name, field in Environment.model_fields.items():
        default = field.default
        if isinstance(default, SecretStr):
            default = default.get_secret_value()
        if isinstance(default, tuple):
            default = ",".join(default)
        if isinstance(default, Path):
            default = default.relative_to(REPOSITORY)
        shown = str(default).lower() if isinstance(default, bool) else "" if default is None else str(default)
        lines.append(f"| `{variable_of(name)}` | {f'`{shown}`' if shown else 'none'} | {field.description} |")
    return "\n".join(lines) + "\n"
