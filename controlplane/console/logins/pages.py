"""The page of one's own password."""

from __future__ import annotations

from typing import Any

from django.contrib.auth import update_session_auth_hash
from django.contrib.auth.views import PasswordChangeView
from django.http import HttpResponse, HttpResponseRedirect
from django.urls import reverse_lazy
from unfold.forms import AdminOwnPasswordChangeForm

from controlplane.console.access import actor_of
from controlplane.tenancy.logins import set_password
from dataplane.core.secret import Secret


class OwnPassword(PasswordChangeView):
    """One's own password. Sessions that were opened with the old one end, but for this one."""

    form_class = AdminOwnPasswordChangeForm
    template_name = "registration/password_change_form.html"
    success_url = reverse_lazy("admin:password_change_done")

    def form_valid(self, form: Any) -> HttpResponse:
        set_password(form.user, by=actor_of(self.request), password=Secret(form.cleaned_data["new_password1"]))
        update_session_auth_hash(self.request, form.user)
        return HttpResponseRedirect(self.get_success_url())
