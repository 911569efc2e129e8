"""Azure OpenAI: deployments instead of models.

https://learn.microsoft.com/azure/ai-foundry/openai/api-version-lifecycle: with an API version,
`/openai/deployments/{deployment}/…?api-version=…`; without one, and for responses always, `/openai/v1/…` with the
deployment in the body's `model`.
"""

from __future__ import annotations

from dataplane.core.snapshot import Provider
from dataplane.dialects.dialect import Operation
from dataplane.providers.endpoint import UpstreamEndpoint, segment
from dataplane.providers.fields import Field, field
from dataplane.providers.kind import Call, UpstreamKind

# People paste the address with any of these at its end.
_ENDINGS = ("/openai/v1", "/openai")

_BY_DEPLOYMENT = frozenset({Operation.CHAT, Operation.EMBEDDINGS})


def deployment(provider: Provider, model: str) -> str:
    """The deployment of a model; one of the same name unless the provider says otherwise."""
    for name, deployed in provider.deployments:
        if name == model:
            return deployed
    return model


def _path(provider: Provider, endpoint: UpstreamEndpoint, call: Call) -> str:
    base = endpoint.path
    for ending in _ENDINGS:
        base = base.removesuffix(ending)
    if provider.api_version and call.operation in _BY_DEPLOYMENT:
        version = segment(provider.api_version)
        return f"{base}/openai/deployments/{segment(call.model)}{call.path()}?api-version={version}"
    return f"{base}/openai/v1{call.path()}"


def _credential(secret: bytes) -> tuple[Field, ...]:
    return (field(b"api-key", secret),)


def _replaces(provider: Provider) -> frozenset[str]:
    return frozenset({"api-version"}) if provider.api_version else frozenset()


# An account is a resource, which its address names; what is chosen in there by a header are deployments:
# https://learn.microsoft.com/azure/machine-learning/how-to-deploy-online-endpoints, and of the Responses API's images.
_ACCOUNT = frozenset({"azureml-model-deployment", "x-ms-oai-image-generation-deployment"})

AZURE_OPENAI = UpstreamKind(
    path=_path, credential=_credential, wire_model=deployment, replaces=_replaces, account_headers=_ACCOUNT
)
