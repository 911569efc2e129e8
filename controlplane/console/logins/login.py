"""Log-in with a brake: after a few wrong passwords an account or an address has to wait. And one's own password."""

from __future__ import annotations

from typing import Any

from django.contrib.auth import update_session_auth_hash
from django.contrib.auth.views import PasswordChangeView
from django.core.exceptions import ValidationError
from django.http import HttpResponse, HttpResponseRedirect
from django.urls import reverse_lazy
from unfold.forms import AdminOwnPasswordChangeForm, AuthenticationForm

from controlplane.console.access import actor_of
from controlplane.tenancy.brake import WINDOW, Brake
from controlplane.tenancy.logins import set_password
from dataplane.core.secret import Secret


class ThrottledLogin(AuthenticationForm):  # type: ignore[misc]
    """The theme's log-in form, with a brake."""

    error_messages = {
        **AuthenticationForm.error_messages,
        "invalid_login": "The username or the password is wrong, or the login is switched off. Case matters in both.",
    }

    def clean(self) -> Any:
        address = str(self.request.META.get("REMOTE_ADDR", "")) if self.request is not None else ""
        brake = Brake(str(self.cleaned_data.get("username", "")), address)
        if brake.is_on():
            minutes = int(WINDOW.total_seconds() // 60)
            raise ValidationError(
                f"Too many wrong attempts. Wait {minutes} minutes, or ask an operator to set a new password.",
                code="throttled",
            )
        try:
            cleaned = super().clean()
        except ValidationError:
            brake.failed()
            raise
        brake.succeeded()
        return cleaned

    def confirm_login_allowed(self, user: Any) -> None:
        """Active is enough: the site asks for a role, not for Django's staff flag."""
        if not user.is_active:
            raise ValidationError(self.error_messages["inactive"], code="inactive")


class OwnPassword(PasswordChangeView):
    """One's own password. Sessions that were opened with the old one end, but for this one."""

    form_class = AdminOwnPasswordChangeForm
    template_name = "registration/password_change_form.html"
    success_url = reverse_lazy("admin:password_change_done")

    def form_valid(self, form: Any) -> HttpResponse:
        set_password(form.user, by=actor_of(self.request), password=Secret(form.cleaned_data["new_password1"]))
        update_session_auth_hash(self.request, form.user)
        return HttpResponseRedirect(self.get_success_url())
