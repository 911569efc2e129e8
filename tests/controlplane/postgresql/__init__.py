"""Tests of what ends every wait for PostgreSQL."""
