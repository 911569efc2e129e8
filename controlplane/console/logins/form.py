"""Forms of logins: the log-in with a brake, which lets an account or an address wait, and somebody's new password."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.models import User
from django.core.exceptions import ValidationError
from unfold.forms import AdminPasswordChangeForm, AuthenticationForm

from controlplane.changes.actor import Actor
from controlplane.console.logins.browser import browser_of, note_right
from controlplane.tenancy import logins
from controlplane.tenancy.brake import WINDOW, Brake
from dataplane.core.secret import Secret


class ThrottledLogin(AuthenticationForm):  # type: ignore[misc]
    """The theme's log-in form, with a brake."""

    error_messages = {
        **AuthenticationForm.error_messages,
        "invalid_login": "The username or the password is wrong, or the login is switched off. Case matters in both.",
    }

    def clean(self) -> Any:
        address = str(self.request.META.get("REMOTE_ADDR", "")) if self.request is not None else ""
        browser = browser_of(self.request)
        brake = Brake(str(self.cleaned_data.get("username", "")), address, browser)
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
        note_right(self.request, browser)
        return cleaned

    def confirm_login_allowed(self, user: Any) -> None:
        """Active is enough: the site asks for a role, not for Django's staff flag."""
        if not user.is_active:
            raise ValidationError(self.error_messages["inactive"], code="inactive")


class PasswordForm(AdminPasswordChangeForm):  # type: ignore[misc]
    """Somebody's new password, or none."""

    def __init__(self, by: Actor, user: User, *args: Any, **kwargs: Any) -> None:
        self.by = by
        super().__init__(user, *args, **kwargs)

    def save(self, commit: bool = True) -> Any:
        return logins.set_password(self.user, by=self.by, password=chosen_password(self.cleaned_data))


def chosen_password(data: dict[str, Any]) -> Secret | None:
    """None: log-in by password is switched off."""
    return Secret(data["password1"]) if data["set_usable_password"] else None
