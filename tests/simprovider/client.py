"""A client of the control API, for tests whose simulator is another process or thread."""

from __future__ import annotations

from types import TracebackType
from typing import Any

import httpx


class SimClient:
    """Speaks to `/_sim/` directly, never through a gateway. Bodies of records are fetched when asked for."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._http = httpx.Client(base_url=url, trust_env=False, timeout=60)

    def __enter__(self) -> SimClient:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, at: TracebackType | None
    ) -> None:
        self._http.close()

    def _json(self, method: str, path: str, **options: Any) -> Any:
        answer = self._http.request(method, f"/_sim/{path}", **options)
        if answer.status_code != 200:
            raise ValueError(answer.text)
        return answer.json()

    def script(self, *, times: int = 1, skip: int = 0, match: dict[str, Any] | None = None, **fields: Any) -> None:
        """The next `times` matching requests (0: all, until reset) are answered so."""
        queued = {"script": fields, "times": times, "skip": skip, "match": match or {}}
        self._json("POST", "script", json=queued)

    def release(self, name: str) -> None:
        self._json("POST", "release", json={"name": name})

    def keys(self, **keys: str) -> None:
        """The expected credential per vendor: anthropic, openai, azure, gemini; an absent one: any will do."""
        self._json("POST", "keys", json=keys)

    def requests(self, *, since: int = 0, path: str = "") -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self._json("GET", "requests", params={"since": since, "path": path})
        return found

    def body(self, number: int) -> bytes:
        return self._http.get(f"/_sim/requests/{number}/body").content

    def response(self, number: int) -> bytes:
        return self._http.get(f"/_sim/requests/{number}/response").content

    def totals(self) -> dict[str, Any]:
        found: dict[str, Any] = self._json("GET", "totals")
        return found

    def wait(self, *, timeout: float = 10, **what: Any) -> bool:
        """`requests=n`, `finished=n`, or `held=name, count=n`; False when it did not come in time."""
        answer = self._json("GET", "wait", params={**what, "timeout": timeout}, timeout=timeout + 30)
        return bool(answer["reached"])

    def reset(self) -> None:
        self._json("POST", "reset")
