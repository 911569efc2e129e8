"""The app's registration."""

from django.apps import AppConfig


class KeysConfig(AppConfig):
    name = "controlplane.keys"
    label = "keys"
