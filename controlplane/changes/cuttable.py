"""`Cuttable`: a configuration row whose running answers an admin can end by hand, without taking it away for good."""

from __future__ import annotations

from django.db import models

from controlplane.changes.config import ConfigModel


class Cuttable(ConfigModel):
    """A row that requests run under: a key, what it belongs to, or the provider that answers.

    Whatever stops requests (disabling, a rotation without grace) lets running answers end by themselves, which is
    right unless the secret leaked. `cuts` is pushed with the row: a pod that sees it rise ends what runs under the row.
    """

    cuts = models.PositiveIntegerField(
        default=0, editable=False, help_text="How often its running answers were ended by hand."
    )

    class Meta(ConfigModel.Meta):
        abstract = True

    def cut_running(self) -> tuple[str, ...]:
        """End the answers that run now, once the change set is live. Returns the columns to save, inside it."""
        self.refresh_from_db(fields=["cuts"])
        self.cuts += 1
        return ("cuts",)
