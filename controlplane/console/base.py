"""`ConsoleAdmin`: the base of every admin page over rows. Permissions come from the roles' table, writes go to actions.

Subclasses name verbs and fill in `create`, `change` and `remove`; a page without one of them does not offer it. What
an action refuses with a ValidationError is shown at the field that it names.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, cast
from urllib.parse import urlencode

from django.contrib import messages
from django.contrib.admin.utils import unquote
from django.contrib.admin.widgets import AutocompleteSelect
from django.core.exceptions import NON_FIELD_ERRORS, FieldDoesNotExist, ValidationError
from django.db.models import DateTimeField, Model, QuerySet
from django.forms import ModelForm
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from unfold.admin import ModelAdmin

from controlplane.changes.actor import Actor
from controlplane.console.access import actor_of, may_somewhere
from controlplane.console.addresses import page_of
from controlplane.console.choices import FEW, Offer, name_of, rows_of
from controlplane.console.filters import VIEW_VERBS, RelatedFilter, visible
from controlplane.console.list_address import known_address, whole_list_instead
from controlplane.console.search_words import searchable
from controlplane.console.theme import title_of
from controlplane.tenancy.models import Organization
from controlplane.tenancy.permissions import Verb, may, organizations_of
from controlplane.tenancy.queries import for_actor

_REFUSED = "_console_refused"


class ConsoleAdmin(ModelAdmin):  # type: ignore[misc]
    """Rows of one model, as far as the person's roles reach."""

    view_verb: ClassVar[Verb]
    add_verb: ClassVar[Verb | None] = None
    change_verb: ClassVar[Verb | None] = None
    delete_verb: ClassVar[Verb | None] = None
    choice_verbs: ClassVar[Mapping[str, Verb]] = {}  # for a foreign key: what the person must be able to do to a choice
    fixed_fields: ClassVar[tuple[str, ...]] = ()  # chosen when the row is made, shown afterwards
    noun: ClassVar[str] = ""  # what a row is called; empty: as its model is
    shown_after_add: ClassVar[bool] = False  # adding is answered by a page of its own

    actions = None
    list_per_page = 50
    show_facets = 0
    compressed_fields = True
    list_filter_sheet = True

    @property
    def media(self) -> Any:
        """The theme's files, and what a search box for choices needs, wherever one may stand."""
        return super().media + AutocompleteSelect(None, self.admin_site).media

    # ---- what an app's actions do ----

    def create(self, request: HttpRequest, data: dict[str, Any]) -> Model:
        raise NotImplementedError

    def change(self, request: HttpRequest, row: Any, data: dict[str, Any]) -> Model:
        raise NotImplementedError

    def remove(self, request: HttpRequest, row: Any) -> None:
        raise NotImplementedError

    # ---- who sees and does what ----

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        return for_actor(actor_of(request), super().get_queryset(request), self.view_verb)

    def named(self) -> str:
        return self.noun or str(self.opts.verbose_name)

    def _allowed(self, request: HttpRequest, verb: Verb | None, obj: Any) -> bool:
        if verb is None:
            return False
        if isinstance(obj, Model):
            return may(actor_of(request), verb, obj)
        return may_somewhere(request, verb)

    def has_module_permission(self, request: HttpRequest) -> bool:
        return may_somewhere(request, self.view_verb)

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self._allowed(request, self.view_verb, obj)

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self._allowed(request, self.add_verb, None)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self._allowed(request, self.change_verb, obj)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self._allowed(request, self.delete_verb, obj)

    def find(self, request: HttpRequest, object_id: object) -> Any:
        """The row that an address names, None if there is none for the person. Ids are quoted in addresses."""
        return self.get_object(request, unquote(str(object_id)))

    def get_object(self, request: HttpRequest, object_id: str, from_field: str | None = None) -> Any:
        """The row with this id, None if there is none for the person. PostgreSQL takes no NUL, so that none has one."""
        return None if "\x00" in object_id else super().get_object(request, object_id, from_field)

    def row_at(self, request: HttpRequest, object_id: object) -> Any:
        """The row that an address names. Raises Http404."""
        row = self.find(request, object_id)
        if row is None:
            raise Http404("no such object")
        return row

    def _get_obj_does_not_exist_redirect(self, request: HttpRequest, opts: Any, object_id: str) -> HttpResponse:
        raise Http404("no such object")

    def choices_for(self, request: HttpRequest, name: str) -> QuerySet[Any] | None:
        """The rows that a form offers for a foreign key; None: it is not chosen."""
        verb = self.choice_verbs.get(name)
        if verb is None:
            return None
        model = cast("type[Model]", self.opts.get_field(name).related_model)
        return choices(actor_of(request), model, verb)

    def offers(self, request: HttpRequest, name: str, *, filtering: bool = False) -> Sequence[Offer]:
        """The choices for `name`, in a form or in a filter of the list. Raises Http404."""
        try:
            model = self.opts.get_field(name).related_model
        except FieldDoesNotExist:
            raise Http404("nothing is chosen by that name") from None
        if filtering and model in VIEW_VERBS:
            return [rows_of(request, self.admin_site, visible(request, cast("type[Model]", model)))]
        rows = None if filtering else self.choices_for(request, name)
        if rows is None:
            raise Http404("nothing is chosen by that name")
        return [rows_of(request, self.admin_site, rows)]

    def formfield_for_foreignkey(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        rows = self.choices_for(request, db_field.name)
        if rows is not None:
            kwargs["queryset"] = rows = rows.order_by(name_of(rows.model), "pk")
            if len(rows.values_list("pk", flat=True)[: FEW + 1]) > FEW:
                kwargs["widget"] = AutocompleteSelect(db_field, self.admin_site)
        field = super().formfield_for_foreignkey(db_field, request, **kwargs)
        if field is not None and hasattr(field.widget, "can_change_related"):
            # The pencil and the eye beside every choice say little and cost a tab stop each.
            field.widget.can_change_related = field.widget.can_delete_related = field.widget.can_view_related = False
        return field

    def get_list_filter(self, request: HttpRequest) -> list[Any]:
        """Foreign keys are filtered by what the person may see."""
        return [(item, RelatedFilter) if self._is_relation(item) else item for item in super().get_list_filter(request)]

    def _is_relation(self, item: Any) -> bool:
        return isinstance(item, str) and bool(self.opts.get_field(item).is_relation)

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> list[str]:
        fixed = self.fixed_fields if obj is not None else ()
        return [*super().get_readonly_fields(request, obj), *fixed]

    # ---- lists ----

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> Any:
        """A list has the title that the sidebar gives it."""
        title = title_of(f"{self.opts.app_label}_{self.opts.model_name}_changelist")
        elsewhere = known_address(self, request)
        answer = elsewhere or super().changelist_view(request, {"title": title, **(extra_context or {})})
        changelist = (getattr(answer, "context_data", None) or {}).get("cl")
        if changelist is not None:
            changelist.result_list = list(changelist.result_list)
            self.look_ahead(request, changelist.result_list)
        return whole_list_instead(request, answer)

    def look_ahead(self, request: HttpRequest, rows: list[Any]) -> None:
        """Read what columns say beside the rows of a page, for all of them at once."""

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        result: tuple[QuerySet[Any], bool] = super().get_search_results(request, queryset, searchable(search_term))
        return result

    # ---- writes ----

    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> Any:
        named = self.named()
        extra_context = {
            "title": f"New {named}" if object_id is None else named[:1].upper() + named[1:],
            "show_save_and_add_another": False,
            "show_save_and_continue": object_id is not None or not self.shown_after_add,
            **(extra_context or {}),
        }
        try:
            return super().changeform_view(request, object_id, form_url, extra_context)
        except ValidationError as refused:
            # Everything was rolled back; the second pass finds the refusal at its field and shows the form again.
            setattr(request, _REFUSED, refused)
            return super().changeform_view(request, object_id, form_url, extra_context)

    def get_form(
        self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any
    ) -> type[ModelForm[Any]]:
        form = super().get_form(request, obj, change=change, **kwargs)
        refused = getattr(request, _REFUSED, None)
        return cast("type[ModelForm[Any]]", form if refused is None else refusing(form, refused))

    def get_changeform_initial_data(self, request: HttpRequest) -> dict[str, Any]:
        """The values that an address fills a form in with. Times are typed: their widgets take no text."""
        values: dict[str, Any] = super().get_changeform_initial_data(request)
        times = {field.name for field in self.opts.concrete_fields if isinstance(field, DateTimeField)}
        return {name: value for name, value in values.items() if name not in times}

    def save_form(self, request: HttpRequest, form: Any, change: bool) -> Any:
        return form.instance

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        if change:
            row = self.get_object(request, str(obj.pk))
            data = {name: form.cleaned_data[name] for name in form.changed_data if name in form.cleaned_data}
            if data:
                self.change(request, row, data)
        else:
            obj.pk = self.create(request, dict(form.cleaned_data)).pk
        obj._state.adding = False
        obj.refresh_from_db()

    def save_related(self, request: HttpRequest, form: Any, formsets: Any, change: bool) -> None:
        """There are no inlines: an object that is part of another one is changed by the other one's action."""

    def delete_model(self, request: HttpRequest, obj: Any) -> None:
        self.remove(request, obj)

    def delete_view(self, request: HttpRequest, object_id: str, extra_context: dict[str, Any] | None = None) -> Any:
        try:
            return super().delete_view(request, object_id, extra_context)
        except ValidationError as refused:
            messages.error(request, " ".join(refused.messages))
            return HttpResponseRedirect(page_of(self.row_at(request, object_id)))

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        for row in queryset:
            self.remove(request, row)

    def response_add(self, request: HttpRequest, obj: Any, post_url_continue: str | None = None) -> HttpResponse:
        """The way back to the checklist for those who came from it."""
        answer: HttpResponse = super().response_add(request, obj, post_url_continue)
        return HttpResponseRedirect(reverse("admin:index")) if "first" in request.GET else answer

    # ---- the audit keeps the history, not Django's log ----

    def log_addition(self, request: HttpRequest, obj: Any, message: Any) -> Any:
        return None

    def log_change(self, request: HttpRequest, obj: Any, message: Any) -> Any:
        return None

    def log_deletions(self, request: HttpRequest, queryset: Any) -> Any:
        return None

    def history_view(self, request: HttpRequest, object_id: str, extra_context: dict[str, Any] | None = None) -> Any:
        query = urlencode({"target_id": self.row_at(request, object_id).pk})
        return HttpResponseRedirect(f"{reverse('admin:changes_auditevent_changelist')}?{query}")


class ReadOnlyAdmin(ConsoleAdmin):
    """Rows that nobody writes by hand."""

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Decides for the model alone: `get_queryset`, through which every page finds its rows, decides which rows."""
        return may_somewhere(request, self.view_verb)


def choices(actor: Actor, model: type[Model], verb: Verb) -> QuerySet[Any]:
    """The rows of a model that the actor may do `verb` to, in the order that people look for them."""
    if model is Organization and verb is Verb.ORGANIZATION_VIEW:
        return organizations_of(actor)
    return for_actor(actor, model._default_manager.all(), verb)


def refusing(form: type[Any], refused: ValidationError) -> type[Any]:
    """The form class with what an action refused, at the fields that it named."""

    class Refusing(form):  # type: ignore[misc]
        def _post_clean(self) -> None:
            super()._post_clean()
            for field, problems in by_field(refused).items():
                self.add_error(field if field in self.fields else None, problems)

    return Refusing


def by_field(refused: ValidationError) -> dict[str | None, list[str]]:
    if not hasattr(refused, "error_dict"):
        return {None: list(refused.messages)}
    return {
        None if field == NON_FIELD_ERRORS else field: list(messages) for field, messages in refused.message_dict.items()
    }
