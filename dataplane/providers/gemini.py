"""The Gemini API of Google AI Studio.

https://ai.google.dev/api: `x-goog-api-key`; the client's version of the API is kept, `v1beta` where its path names
none.
"""

from __future__ import annotations

from dataplane.core.snapshot import Provider
from dataplane.providers.endpoint import UpstreamEndpoint
from dataplane.providers.fields import Field, field
from dataplane.providers.kind import Call, UpstreamKind


def _path(provider: Provider, endpoint: UpstreamEndpoint, call: Call) -> str:
    if endpoint.versioned:
        return endpoint.path + call.path()
    return f"{endpoint.path}/{call.version or 'v1beta'}{call.path()}"


def _credential(secret: bytes) -> tuple[Field, ...]:
    return (field(b"x-goog-api-key", secret),)


# https://cloud.google.com/apis/docs/system-parameters
GEMINI = UpstreamKind(path=_path, credential=_credential, account_headers=frozenset({"x-goog-user-project"}))
