"""Tests of what every answer of the web process has in common."""
