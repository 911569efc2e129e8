"""Answers that are kept so that a request sent twice does its work once."""

from __future__ import annotations

from django.db import models


class IdempotentAnswer(models.Model):
    """The answer to a POST that carried an Idempotency-Key, without any secret that it showed."""

    caller = models.CharField(max_length=100, help_text="Kind and id of the actor: keys of others do not collide.")
    key = models.CharField(max_length=255)
    fingerprint = models.CharField(max_length=64, help_text="Keyed digest of method, path and body.")
    status = models.PositiveSmallIntegerField()
    body = models.JSONField()
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["caller", "key"], name="one_answer_per_caller_and_key")]
        indexes = [models.Index(fields=["created_at"], name="idempotent_answer_by_age")]

    def __str__(self) -> str:
        return f"{self.caller} {self.key}"
