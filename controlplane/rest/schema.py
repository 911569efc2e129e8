"""The API's description of itself: OpenAPI 3.1, made from what resources declare."""

from __future__ import annotations

from typing import Any

from drf_spectacular.openapi import AutoSchema
from drf_spectacular.plumbing import build_basic_type
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter

from controlplane.rest.idempotency import HEADER, REPLAY_HEADER
from controlplane.rest.problems import CONTENT_TYPE


class Schema(AutoSchema):
    """Bodies and answers per action, filters as parameters, the idempotency header on every POST."""

    view: Any

    def get_request_serializer(self) -> Any:
        chosen = self.view.input_class(self.view.action)
        return chosen() if chosen is not None else None

    def get_response_serializers(self) -> Any:
        chosen = self.view.output_class(self.view.action)
        created = self.view.action in ("create", *getattr(self.view, "creating", ()))
        return {201 if created else 200: chosen} if self.method == "POST" else super().get_response_serializers()

    def get_override_parameters(self) -> list[Any]:
        parameters: list[Any] = []
        if self.method == "POST":
            parameters.append(
                OpenApiParameter(
                    HEADER,
                    OpenApiTypes.STR,
                    OpenApiParameter.HEADER,
                    description=self._of_replays(),
                )
            )
        return parameters + [parameter.described() for parameter in self.view.declared(self.view.action)]

    def _of_replays(self) -> str:
        words = "8 to 255 printable ASCII characters: within a day the work is done once, and the answer given again."
        created = self.view.output_class(self.view.action)
        hidden = sorted(self.view.secrets & set(created().fields))
        if not hidden:
            return words
        return (
            f"{words} A replayed answer carries `{REPLAY_HEADER}: true` and `{hidden[0]}: null`: the secret is kept "
            "nowhere. Whoever lost the first answer rotates the object or makes another one."
        )

    def get_tags(self) -> list[str]:
        return [self.path.split("/")[3]]


def add_problems(result: dict[str, Any], generator: Any, request: Any, public: bool) -> dict[str, Any]:
    """Every operation may answer with a problem."""
    field = {
        "type": "object",
        "required": ["field", "message"],
        "properties": {"field": {"type": "string"}, "message": {"type": "string"}},
    }
    text = build_basic_type(OpenApiTypes.STR)
    names = ("type", "title", "code", "detail", "who_can_help", "request_id")
    result.setdefault("components", {}).setdefault("schemas", {})["Problem"] = {
        "type": "object",
        "description": "What was wrong, what would be right, who can change it (RFC 9457).",
        "required": ["type", "title", "status", "code", "detail", "who_can_help", "errors", "request_id"],
        "properties": {
            **dict.fromkeys(names, text),
            "status": {"type": "integer"},
            "errors": {"type": "array", "items": field},
        },
    }
    content = {CONTENT_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
    for path in result["paths"].values():
        for operation in path.values():
            if isinstance(operation, dict) and "responses" in operation:
                operation["responses"]["default"] = {"description": "It did not work.", "content": content}
    return result
