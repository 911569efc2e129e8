"""`MintingAdmin`: the base of pages whose form makes a secret, and the page after it, which shows it once."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.contrib.admin import AdminSite
from django.db.models import Model
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse

from controlplane.console.addresses import page_of
from controlplane.console.base import ConsoleAdmin
from controlplane.console.form_token import Spent, new_token, refuse_spent, spend
from controlplane.pages.once import hand_over, once
from controlplane.pages.recipes import CliTarget
from dataplane.core.secret import Secret


class MintingAdmin(ConsoleAdmin):
    """Its form is sent once: reloading the page that shows the secret, or a second click on Save, makes no other."""

    shown_after_add = True
    change_form_before_template = "console/form_token.html"

    def mint(self, request: HttpRequest, data: dict[str, Any]) -> tuple[Model, Secret]:
        raise NotImplementedError

    def create(self, request: HttpRequest, data: dict[str, Any]) -> Model:
        row, secret = spend(request, lambda: self.mint(request, data))
        hand_over(request, secret)
        return row

    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> Any:
        if object_id is not None:
            return super().changeform_view(request, object_id, form_url, extra_context)
        try:
            refuse_spent(request)
            words = {**(extra_context or {}), "form_token": new_token(request)}
            return super().changeform_view(request, object_id, form_url, words)
        except Spent as earlier:
            return self.answered_before(request, earlier)

    def answered_before(self, request: HttpRequest, earlier: Spent) -> HttpResponse:
        """The way to the row that the form made, with words in place of its secret."""
        row = self.get_queryset(request).filter(pk=earlier.row_id).first()
        if row is None:
            messages.warning(request, "This form was sent before. What it made then is gone; nothing was made now.")
            return HttpResponseRedirect(reverse(f"admin:{self.opts.app_label}_{self.opts.model_name}_changelist"))
        messages.warning(
            request,
            f"This form was sent before, and “{row}” has what it made then. The secret was shown once, in the answer "
            "to the first sending; nothing was made now.",
        )
        return HttpResponseRedirect(page_of(row))


def show_once(
    request: HttpRequest, site: AdminSite, *, token: Secret, context: dict[str, Any], target: CliTarget | None = None
) -> TemplateResponse:
    """`context`: title, heading, secret_name, done_url; a remark, an example. `target`: add the CLIs' setups."""
    page = {**site.each_context(request), **context}
    return once(request, "console/show_once.html", page, token=token, target=target)
