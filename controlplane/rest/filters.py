"""Query parameters: each declared with what may stand there, read strictly, described in the OpenAPI document.

Made from the model's own fields: choices are an enum, and what is not one of them is an error that names them all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from django.db import models
from django.http import QueryDict
from drf_spectacular.utils import OpenApiParameter
from rest_framework import serializers
from rest_framework.exceptions import ParseError

LONGEST = 512  # characters
LONGEST_CURSOR = 4096
FIRST_YEAR, LAST_YEAR = 1970, 9000  # beyond them there is nothing, and no room to reckon with months


class ParameterKind(StrEnum):
    TEXT = "text"
    CHOICE = "choice"
    BOOLEAN = "boolean"
    INTEGER = "integer"
    TIME = "time"


@dataclass(frozen=True, slots=True)
class Parameter:
    """One query parameter. `lookup`: what it asks of rows; empty for one that a route reads by itself."""

    name: str
    kind: ParameterKind = ParameterKind.TEXT
    choices: tuple[str, ...] = ()
    meaning: str = ""
    lookup: str = ""
    least: int = 0
    most: int = 2**63 - 1
    longest: int = LONGEST
    required: bool = False

    def read(self, text: str) -> Any:
        """Raises ParseError, which says what would be right."""
        if not text:
            raise ParseError(f"{self.name} is empty; give a value or leave it out.")
        if len(text) > self.longest or not text.isprintable():
            raise ParseError(f"{self.name} is printable text of at most {self.longest} characters.")
        return _READERS[self.kind](self, text)

    def described(self) -> OpenApiParameter:
        schema: dict[str, Any] = dict(_SCHEMAS[self.kind])
        if self.kind is ParameterKind.TEXT:
            schema["maxLength"] = self.longest
        if self.choices:
            schema["enum"] = list(self.choices)
        if self.kind is ParameterKind.INTEGER:
            schema |= {"minimum": self.least, "maximum": self.most}
        return OpenApiParameter(
            self.name, schema, OpenApiParameter.QUERY, description=self.meaning, required=self.required
        )


def _choice(parameter: Parameter, text: str) -> str:
    if text not in parameter.choices:
        raise ParseError(f"{parameter.name} is one of: {', '.join(parameter.choices)}.")
    return text


def _boolean(parameter: Parameter, text: str) -> bool:
    if text not in ("true", "false"):
        raise ParseError(f"{parameter.name} is true or false.")
    return text == "true"


def _integer(parameter: Parameter, text: str) -> int:
    digits = text.removeprefix("-")
    number = int(text) if digits.isascii() and digits.isdigit() and len(digits) < 20 else parameter.most + 1
    if not parameter.least <= number <= parameter.most:
        raise ParseError(f"{parameter.name} is a whole number from {parameter.least} to {parameter.most}.")
    return number


def _time(parameter: Parameter, text: str) -> Any:
    try:
        moment = serializers.DateTimeField().to_internal_value(text.replace(" ", "+"))  # a plus that nobody escaped
    except (serializers.ValidationError, OverflowError):
        moment = None
    if moment is None or not FIRST_YEAR <= moment.year <= LAST_YEAR:
        raise ParseError(f"{parameter.name} is a time such as 2026-11-24T00:00:00Z, not before {FIRST_YEAR}.")
    return moment


_READERS: Mapping[ParameterKind, Callable[[Parameter, str], Any]] = {
    ParameterKind.TEXT: lambda _, text: text,
    ParameterKind.CHOICE: _choice,
    ParameterKind.BOOLEAN: _boolean,
    ParameterKind.INTEGER: _integer,
    ParameterKind.TIME: _time,
}
_SCHEMAS: Mapping[ParameterKind, dict[str, Any]] = {
    ParameterKind.TEXT: {"type": "string", "minLength": 1},
    ParameterKind.CHOICE: {"type": "string"},
    ParameterKind.BOOLEAN: {"type": "boolean"},
    ParameterKind.INTEGER: {"type": "integer"},
    ParameterKind.TIME: {"type": "string", "format": "date-time"},
}


def of_field(model: type[models.Model], name: str, choices: Iterable[str] = ()) -> Parameter:
    """Returns what may be asked of a column. `choices`: the words of a column that does not list its own."""
    field = model._meta.get_field(name.removesuffix("_id") if _is_key(model, name) else name)
    words = tuple(choices) or tuple(str(value) for value, _ in getattr(field, "flatchoices", ()) if value != "")
    if words:
        return Parameter(name, ParameterKind.CHOICE, words, lookup=name)
    while isinstance(field, models.ForeignKey):
        field = field.target_field
    match field:
        case models.BooleanField():
            return Parameter(name, ParameterKind.BOOLEAN, lookup=name)
        case models.AutoField() | models.IntegerField():
            return Parameter(name, ParameterKind.INTEGER, lookup=name, most=min(_largest(field), 2**63 - 1))
    return Parameter(name, lookup=name)


def _is_key(model: type[models.Model], name: str) -> bool:
    """Tells a foreign key's column from one that is only called so."""
    return any(isinstance(field, models.ForeignKey) and field.attname == name for field in model._meta.local_fields)


def _largest(field: Any) -> int:
    return 2**63 - 1 if "Big" in field.get_internal_type() else 2**31 - 1


def times(field: str) -> tuple[Parameter, Parameter]:
    """`since` and `until` of a column of times."""
    return (
        Parameter("since", ParameterKind.TIME, meaning="Not before this time.", lookup=f"{field}__gte"),
        Parameter("until", ParameterKind.TIME, meaning="Before this time.", lookup=f"{field}__lt"),
    )


def read(query: QueryDict, parameters: Mapping[str, Parameter]) -> dict[str, Any]:
    """Every parameter of the query, as values. Raises ParseError for an unknown, repeated or senseless one."""
    values: dict[str, Any] = {}
    for name, texts in query.lists():
        if name not in parameters:
            there_is = f"there is: {', '.join(sorted(parameters))}" if parameters else "this route takes none"
            raise ParseError(f"{name[:64]!r} is not a parameter here; {there_is}.")
        if len(texts) > 1:
            raise ParseError(f"{name} is given {len(texts)} times; give it once.")
        values[name] = parameters[name].read(texts[0])
    missing = [name for name, parameter in parameters.items() if parameter.required and name not in values]
    if missing:
        raise ParseError(f"{', '.join(missing)} must be given.")
    return values
