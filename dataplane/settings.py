"""What an operator can set on a pod: one declaration each, from which the documentation's table is made.

Every variable is `AIGATEWAY_` and the name in capitals; `AIGATEWAY_X_FILE` names a file that holds the value of X
instead.
One rule: a pod that starts is a pod whose settings all make sense together; `load` says what is wrong with all of them.
"""

from __future__ import annotations

import ipaddress
import os
import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Final, Literal, Self, TypeVar

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_core import PydanticCustomError

from dataplane.core.endpoints import HostPort, Reachable

PREFIX: Final = "AIGATEWAY_"

MIB: Final = 1024 * 1024

Place = TypeVar("Place", HostPort, Reachable)

# People write it either way, and both planes take both.
LogLevel = Annotated[
    Literal["debug", "info", "warning", "error"],
    BeforeValidator(lambda value: value.lower() if isinstance(value, str) else value),
]


def setting(default: Any, unit: str, meaning: str, **bounds: Any) -> Any:
    """One declaration. `unit` is empty for what has none; `bounds` are pydantic's (ge, le, …)."""
    return Field(default, description=meaning, json_schema_extra={"unit": unit}, **bounds)


class SettingsError(Exception):
    """The environment does not make a pod. `problems` are sentences, each naming its variable; none holds a secret."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems


class CannotStart(OSError):
    """What a setting names cannot be used on this machine. The message names the variable and the value."""


@contextmanager
def named(variable: str, value: object) -> Iterator[None]:
    """What the system says of a setting's value is said with the name of its variable. Raises CannotStart."""
    try:
        yield
    except OSError as error:
        raise CannotStart(f"{PREFIX}{variable} ({value}): {error.strerror or error}") from error


class Settings(BaseModel):
    """A pod's settings. Frozen; secrets show themselves only through `get_secret_value()`."""

    model_config = ConfigDict(frozen=True)

    # Where clients come in.
    listen: str = setting(
        "127.0.0.1:5563", "host:port", "Where clients connect. Beyond loopback it needs TLS "
        "(AIGATEWAY_LISTEN_CERT and _KEY) or AIGATEWAY_LISTEN_PLAINTEXT=true."
    )  # fmt: skip
    listen_cert: Path | None = setting(None, "path", "Certificate chain (PEM) for clients; with it the pod speaks TLS.")
    listen_key: Path | None = setting(None, "path", "Private key (PEM) of AIGATEWAY_LISTEN_CERT.")
    listen_plaintext: bool = setting(
        False, "", "Allow plain HTTP beyond loopback, because TLS ends in front of this pod (ingress, service mesh)."
    )
    address: str = setting(
        "", "host:port", "Where clients reach this pod, shown on the fleet page. Empty: AIGATEWAY_LISTEN."
    )
    name: str = setting("", "", "What people call this pod. Empty: host name and port.")
    workers: int = setting(
        1, "", "Processes behind the one port, best one per core; each is a pod of its own (`name/1`, `name/2`, …) "
        "with these settings and limits. `/metrics` shows all of them, by the label `worker`.", ge=1, le=64
    )  # fmt: skip

    # What is shown to whom.
    operators: str = setting(
        "127.0.0.0/8,::1/128", "network[,…]", "From where `/metrics` and the particulars of `/health`, `/readyz` and "
        "`/startupz` are shown. What a proxy passed on (it has `X-Forwarded-For` or `Forwarded`) is never from there."
    )  # fmt: skip
    commit: str = setting(
        "", "", "The commit that is deployed, for the version in every answer's head and on the fleet page: up to 40 "
        "letters, digits, `.`, `-`. Set by an image's build. Empty: of a git checkout what is checked out.",
        pattern=r"^(?:[0-9A-Za-z](?:[0-9A-Za-z.-]{0,38}[0-9A-Za-z])?)?$"
    )  # fmt: skip

    # The way to the control plane.
    fleet: str = setting(
        "127.0.0.1:5561",
        "host:port[,…]",
        "Control plane's fleet endpoints; one connection, the next one when it fails.",
    )
    fleet_ca: Path | None = setting(None, "path", "CA certificate (PEM) that the fleet's certificate must come from.")
    fleet_cert: Path | None = setting(None, "path", "This pod's own certificate chain (PEM) for mTLS.")
    fleet_key: Path | None = setting(None, "path", "Private key (PEM) of AIGATEWAY_FLEET_CERT.")
    fleet_server_name: str = setting(
        "", "", "Name to expect in the fleet's certificate when it differs from the host's."
    )
    fleet_insecure: bool = setting(False, "", "Speak to a fleet on loopback without TLS. For development only.")

    # Usage records until the control plane has them.
    spool_dir: Path | None = setting(
        None, "path", "Directory for usage records that are not acknowledged yet; several pods may share it. "
        "Empty: they are kept in memory, and those that are not acknowledged are lost with the process."
    )  # fmt: skip
    spool_bytes: int = setting(256 * MIB, "bytes", "Spool size at which new requests are refused (spool_full).", ge=MIB)
    spool_memory_records: int = setting(
        50_000, "records", "The same bound for the spool in memory, beside 64 MiB.", ge=100, le=1_000_000
    )

    # Requests.
    body_bytes: int = setting(
        32 * MIB, "bytes", "Largest request body, also after decompression.", ge=1024, le=256 * MIB
    )
    bodies_bytes: int = setting(
        512 * MIB, "bytes", "Request bodies in memory at once; beyond it 503 overloaded. A body is kept until the "
        "provider's answer begins.", ge=1024
    )  # fmt: skip
    body_s: float = setting(
        120, "s", "Until a request's body is whole, from when it is waited for, however steadily it comes.", gt=0
    )
    connections: int = setting(10_000, "", "Client connections open at once.", ge=1)
    exchanges: int = setting(2_000, "", "Requests open at once; beyond it 503 overloaded.", ge=1)
    connect_s: float = setting(5, "s", "To resolve, connect and shake hands with a provider.", gt=0, le=120)
    first_byte_s: float = setting(
        600, "s", "Until a provider's first byte; an answer in one piece may take minutes, and SDKs wait as long.", gt=0
    )
    idle_s: float = setting(600, "s", "Between two bytes of a provider's answer.", gt=0)
    upstream_per_host: int = setting(1_000, "", "Connections to one provider host.", ge=1)
    upstream_ca: Path | None = setting(
        None, "path", "CA certificates (PEM) for providers and the collector, beside the system's."
    )

    # Life and telemetry.
    startup_reach: str = setting(
        "", "host:port or URL[,…]", "Start-up network check: `/startupz` answers 503 until each of these was reached "
        "once (a connection; for https a trusted certificate, too). Tried again after 0.2 to 3 s. Empty: no check."
    )  # fmt: skip
    pre_drain_s: float = setting(
        5, "s", "After SIGTERM: not ready but still accepting, until load balancers notice.", ge=0
    )
    drain_s: float = setting(900, "s", "Then: how long running streams may finish.", ge=0)
    flush_s: float = setting(30, "s", "Then: how long to wait until the control plane has every usage record.", ge=0)
    log_level: LogLevel = setting("info", "", "debug, info, warning or error.")
    otlp_endpoint: str = setting(
        "",
        "URL",
        "OTLP/HTTP collector for traces; `/v1/traces` is added unless it is there. Empty: no traces are sent.",
    )
    otlp_headers: SecretStr = setting(
        SecretStr(""), "name=value[,…]", "Headers for the collector, percent-encoded as OpenTelemetry has it."
    )

    @field_validator("listen")
    @classmethod
    def _listen(cls, value: str) -> str:
        return str(_parsed(HostPort.parse, value))

    @field_validator("fleet")
    @classmethod
    def _fleet(cls, value: str) -> str:
        return ",".join(str(_parsed(HostPort.parse, part)) for part in value.split(","))

    @field_validator("startup_reach")
    @classmethod
    def _startup_reach(cls, value: str) -> str:
        if not value:
            return ""
        return ",".join(dict.fromkeys(str(_parsed(Reachable.parse, part)) for part in value.split(",")))

    @field_validator("operators")
    @classmethod
    def _operators(cls, value: str) -> str:
        try:
            return ",".join(str(ipaddress.ip_network(part.strip())) for part in value.split(","))
        except ValueError:
            raise PydanticCustomError("networks", "is not a list of networks, for example 10.0.0.0/8,::1/128") from None

    @field_validator("otlp_endpoint")
    @classmethod
    def _endpoint(cls, value: str) -> str:
        if value and not value.startswith(("http://", "https://")):
            raise PydanticCustomError("url", "is not a URL, for example http://127.0.0.1:4318")
        return value

    @field_validator("listen_cert", "listen_key", "fleet_ca", "fleet_cert", "fleet_key", "upstream_ca")
    @classmethod
    def _readable(cls, value: Path | None) -> Path | None:
        if value is not None:
            try:
                value.open("rb").close()
            except OSError as error:
                raise PydanticCustomError(
                    "path", "names a file that cannot be read: {why}", {"why": str(error.strerror)}
                ) from None
        return value

    @model_validator(mode="after")
    def _together(self) -> Self:
        problems = [*self._listen_problems(), *self._fleet_problems()]
        if self.bodies_bytes < self.body_bytes:
            problems.append("AIGATEWAY_BODIES_BYTES is less than AIGATEWAY_BODY_BYTES: not even one body would fit")
        if problems:
            raise PydanticCustomError("together", "{problems}", {"problems": "\n".join(problems)})
        return self

    def _listen_problems(self) -> list[str]:
        if (self.listen_cert is None) != (self.listen_key is None):
            return ["AIGATEWAY_LISTEN_CERT and AIGATEWAY_LISTEN_KEY belong together: set both or neither"]
        if not self.listen_address.loopback and self.listen_cert is None and not self.listen_plaintext:
            return [
                f"AIGATEWAY_LISTEN is {self.listen}, beyond loopback, without TLS: set AIGATEWAY_LISTEN_CERT and "
                "AIGATEWAY_LISTEN_KEY, or AIGATEWAY_LISTEN_PLAINTEXT=true when TLS ends in front of this pod"
            ]
        return []

    def _fleet_problems(self) -> list[str]:
        files = (self.fleet_ca, self.fleet_cert, self.fleet_key)
        if all(files):
            return []
        if any(files):
            return ["AIGATEWAY_FLEET_CA, AIGATEWAY_FLEET_CERT and AIGATEWAY_FLEET_KEY belong together: set all three"]
        if not all(address.loopback for address in self.fleet_addresses):
            return [
                f"AIGATEWAY_FLEET is {self.fleet}, which is not on loopback, without TLS: set AIGATEWAY_FLEET_CA, "
                "AIGATEWAY_FLEET_CERT and AIGATEWAY_FLEET_KEY"
            ]
        if not self.fleet_insecure:
            return [
                "AIGATEWAY_FLEET has no TLS: set AIGATEWAY_FLEET_CA, AIGATEWAY_FLEET_CERT and AIGATEWAY_FLEET_KEY, or "
                "AIGATEWAY_FLEET_INSECURE=true for development on one machine"
            ]
        return []

    @property
    def listen_address(self) -> HostPort:
        return HostPort.parse(self.listen)

    @property
    def fleet_addresses(self) -> list[HostPort]:
        return [HostPort.parse(part) for part in self.fleet.split(",")]

    @property
    def operator_networks(self) -> tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...]:
        return tuple(ipaddress.ip_network(part) for part in self.operators.split(","))

    @property
    def to_be_reached(self) -> list[Reachable]:
        return [Reachable.parse(part) for part in self.startup_reach.split(",")] if self.startup_reach else []

    @property
    def pod_name(self) -> str:
        return self.name or f"{socket.gethostname()}:{self.listen_address.port}"

    @property
    def pod_address(self) -> str:
        return self.address or self.listen


def _parsed(parse: Callable[[str], Place], text: str) -> Place:
    """What is wrong with it, in our own words alone. Raises PydanticCustomError."""
    try:
        return parse(text)
    except ValueError as problem:
        raise PydanticCustomError("place", "{problem}", {"problem": str(problem)}) from None


def load(instead: Mapping[str, str] = MappingProxyType({})) -> Settings:
    """The settings in the environment, some of them overridden. Raises SettingsError with every problem at once."""
    try:
        return Settings.model_validate(_environment() | dict(instead))
    except ValidationError as error:
        raise SettingsError(_problems(error)) from None


def _environment() -> dict[str, str]:
    """What is set, by name. (pydantic-settings would read the same, for a fifth of the time that a pod takes to start.)

    Of a file, a mounted secret, without the line end that editors add. Empty is as good as not set.
    """
    values: dict[str, str] = {}
    for name in Settings.model_fields:
        variable = PREFIX + name.upper()
        path = os.environ.get(f"{variable}_FILE")
        if not path:
            values[name] = os.environ.get(variable, "")
        elif variable in os.environ:
            raise SettingsError([f"{variable} and {variable}_FILE are both set: keep one of them"])
        else:
            try:
                values[name] = Path(path).read_text().rstrip("\r\n")
            except (OSError, UnicodeDecodeError) as error:
                reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
                raise SettingsError([f"{variable}_FILE names {path}, which cannot be read: {reason}"]) from None
    return {name: value for name, value in values.items() if value}


def _problems(error: ValidationError) -> list[str]:
    problems: list[str] = []
    for detail in error.errors(include_input=False, include_url=False, include_context=False):
        if not detail["loc"]:
            problems += detail["msg"].splitlines()
            continue
        name = str(detail["loc"][0])
        meaning = Settings.model_fields[name].description or ""
        message = detail["msg"]
        problems.append(f"{PREFIX}{name.upper()} {message[:1].lower()}{message[1:]}. {meaning}")
    return problems


def effective(settings: Settings) -> dict[str, str]:
    """Every variable with the value in force; secrets as stars."""
    return {PREFIX + name.upper(): _shown(getattr(settings, name)) for name in Settings.model_fields}


def _shown(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return f"{value:g}" if isinstance(value, float) else str(value)


def render_table() -> str:
    """The settings as a Markdown table, in the order of their declaration."""
    lines = ["| variable | default | unit | meaning |", "|---|---|---|---|"]
    for name, field in Settings.model_fields.items():
        extra = field.json_schema_extra
        unit = extra.get("unit", "") if isinstance(extra, dict) else ""
        default = _shown(field.default)
        lines.append(
            f"| `{PREFIX}{name.upper()}` | {f'`{default}`' if default else ''} | {unit} | {field.description} |"
        )
    return "\n".join(lines)
