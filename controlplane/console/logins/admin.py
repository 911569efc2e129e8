"""Logins: the accounts that people enter the console with. Operators only; roles are given under Memberships."""

from __future__ import annotations

from copy import copy
from functools import partial
from typing import Any

from django.contrib.auth import get_user_model
from django.contrib.auth.admin import UserAdmin
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils.decorators import method_decorator
from django.views.decorators.debug import sensitive_post_parameters
from unfold.forms import UserChangeForm, UserCreationForm

from controlplane.changes.change_set import change_set
from controlplane.console.access import actor_of
from controlplane.console.base import ConsoleAdmin
from controlplane.console.logins.form import PasswordForm, chosen_password
from controlplane.console.site import site
from controlplane.tenancy import logins


class LoginAdmin(UserAdmin, ConsoleAdmin):  # type: ignore[misc, type-arg]
    """Accounts are switched off, not deleted: the audit names them."""

    noun = "login"
    form = UserChangeForm
    add_form = UserCreationForm
    list_display = ("username", "email", "first_name", "last_name", "is_active", "is_superuser", "last_login")
    list_filter = ("is_active", "is_superuser")
    actions = None
    filter_horizontal = ()
    fieldsets = (
        (None, {"fields": ("username", "password", "first_name", "last_name", "email", "is_active")}),
        (
            "Operator",
            {"description": "An operator may do everything in every organization.", "fields": ("is_superuser",)},
        ),
    )
    add_fieldsets = ((None, {"fields": ("username", "usable_password", "password1", "password2")}),)

    def create(self, request: HttpRequest, data: dict[str, Any]) -> Any:
        return logins.create_login(
            by=actor_of(request), username=data["username"], password=chosen_password(data), operator=False
        )

    def change(self, request: HttpRequest, row: Any, data: dict[str, Any]) -> Any:
        by, active = actor_of(request), data.pop("is_active", None)
        with change_set(by):
            if data:
                logins.update_login(row, by=by, **data)
            if active is not None:
                (logins.activate_login if active else logins.deactivate_login)(row, by=by)
        return row

    @method_decorator(sensitive_post_parameters())
    def user_change_password(self, request: HttpRequest, id: str, form_url: str = "") -> HttpResponse:
        """Django's page, whose form does not know who fills it in."""
        page: Any = copy(self)
        page.change_password_form = partial(PasswordForm, actor_of(request))
        answer: HttpResponse = UserAdmin.user_change_password(page, request, id, form_url)
        return answer

    # ---- operators, and nobody else ----

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        people = get_user_model()._default_manager.order_by("username")
        return people if self._operator(request) else people.none()

    def _operator(self, request: HttpRequest) -> bool:
        return actor_of(request).operator

    def has_module_permission(self, request: HttpRequest) -> bool:
        return self._operator(request)

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self._operator(request)

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self._operator(request)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self._operator(request)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


site.register(get_user_model(), LoginAdmin)
