"""The app's registration."""

from django.apps import AppConfig


class ChangesConfig(AppConfig):
    name = "controlplane.changes"
    label = "changes"
