"""The table of answers that providers keep and whose figures are outstanding."""

from __future__ import annotations

from django.db import models


class KeptAnswer(models.Model):
    """An answer that was charged without the provider's figures, which may be seen later under its id.

    A row is made by the record of the request that the answer came of, or by that of a later one that showed the
    figures, whichever is booked first; it is settled once, by both.
    """

    organization_id = models.CharField(max_length=40)
    provider_id = models.CharField(max_length=40)
    object_id = models.CharField(max_length=128, help_text="The provider's id of it.")
    request_id = models.CharField(max_length=64, blank=True, help_text="Of the request that it came of.")
    attempt = models.IntegerField(default=0)
    goes_on = models.BooleanField(default=False, help_text="A background job, which the provider works on.")
    seen = models.JSONField(null=True, help_text="Figures that were seen before the request was booked.")
    settled = models.BooleanField(default=False)
    created_at = models.DateTimeField()
    ask_at = models.DateTimeField(null=True, help_text="When we ask the provider ourselves; empty: not any more.")
    questions = models.IntegerField(default=0, help_text="How often we did.")

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["organization_id", "provider_id", "object_id"], name="one_row_per_kept_answer"
            )
        ]
        indexes = [
            models.Index(fields=["ask_at"], condition=models.Q(settled=False), name="kept_answer_to_ask_for"),
            models.Index(fields=["created_at"], name="kept_answer_by_time"),
        ]

    def __str__(self) -> str:
        return f"{self.object_id} of {self.request_id or 'a request that was not booked yet'}"
