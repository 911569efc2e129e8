"""Azure OpenAI: deployments instead of models, and an API version."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from django.core.exceptions import ValidationError

from controlplane.providers import ssrf
from controlplane.providers.kinds.kind import (
    MODEL_NAME,
    MOST_MODELS,
    AdminKind,
    OwnFields,
    list_of_models,
    stored_response,
)
from controlplane.providers.models import Provider
from dataplane.core.snapshot import ProviderKind

DEFAULT_API_VERSION: Final = "2024-10-21"  # of the test alone: requests without one go to the versionless API
_API_VERSION: Final = re.compile(r"([0-9]{4}-[0-9]{2}-[0-9]{2}(-preview)?|preview|latest|v1)?")
_ENDINGS: Final = {"/openai/v1": "", "/openai": "/v1"}
_DEPLOYMENT: Final = re.compile(r"[A-Za-z0-9._-]{1,200}")


def _headers(credential: str) -> dict[str, str]:
    return {"api-key": credential}


def _version(provider: Provider) -> str:
    return f"api-version={provider.api_version or DEFAULT_API_VERSION}"


def _deployments(entries: Mapping[str, str]) -> dict[str, str]:
    for model, deployment in entries.items():
        if (
            not isinstance(deployment, str)
            or MODEL_NAME.fullmatch(model) is None
            or _DEPLOYMENT.fullmatch(deployment) is None
        ):
            raise ValidationError(
                {"deployments": "maps model names to deployments (letters, digits, dot, dash, underscore)"}
            )
    if len(entries) > MOST_MODELS:
        raise ValidationError({"deployments": f"at most {MOST_MODELS}"})
    return dict(entries)


def _api_version(text: str) -> str:
    if _API_VERSION.fullmatch(text) is None:
        raise ValidationError({"api_version": "is a date such as 2024-10-21, perhaps followed by -preview"})
    return text


def _names_a_deployment(row: Provider) -> None:
    if not row.deployments:
        raise ValidationError({"deployments": "Azure OpenAI needs at least one model and its deployment"})


def _below(url: ssrf.BaseUrl) -> str:
    """People paste the address with either ending; stored answers are below /openai/v1, whatever the API version."""
    return next((rest for ending, rest in _ENDINGS.items() if url.path.endswith(ending)), "/openai/v1")


AZURE_OPENAI = AdminKind(
    ProviderKind.AZURE_OPENAI,
    label="Azure OpenAI",
    base_url="",
    probe=list_of_models("openai/models", _headers, _version),
    base_url_help="The resource's endpoint: https://<resource>.openai.azure.com",
    credential_help="Key 1 or key 2 of the resource.",
    model_help="Models and the deployments that serve them are named below.",
    account_headers={
        "azureml-model-deployment": "the deployment behind an Azure Machine Learning endpoint",
        "x-ms-oai-image-generation-deployment": "the deployment that makes a response's images",
    },
    stored=stored_response(_headers, _below),
    own=OwnFields(
        names=("api_version", "deployments"),
        clean={"api_version": _api_version, "deployments": _deployments},
        check=_names_a_deployment,
        elsewhere={"deployments": "deployments and API version are for Azure OpenAI"},
    ),
)
