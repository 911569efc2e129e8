"""Words in backticks that are not ours: of other products, languages, the shell. One line each, with whose they are.

Keys are papers (`*`: any); what stands here is not looked up, so it must not be something that could go wrong with us.
"""

from __future__ import annotations

from collections.abc import Mapping
from fnmatch import fnmatchcase

FOREIGN: Mapping[str, Mapping[str, str]] = {
    "README.md": {
        'wire_api = "responses"': "a line of Codex's configuration, which the recipe sets",
        '"choices": []': "a piece of OpenAI's answers",
        "stream_options.include_usage": "OpenAI's; test_edits.py looks whether it is asked for",
    },
    "ARCHITECTURE.md": {
        "Update{from, to}": "a message with the fields that matter here",
        "stream_options.include_usage": "OpenAI's; test_edits.py looks whether it is asked for",
    },
    "controlplane/alerts/channels/webhook/__init__.py": {
        "alert.triggered": "the type of an event that is sent",
        "alert.resolved": "the type of an event that is sent",
    },
    "controlplane/budgets/README.md": {
        "ValidationError": "Django's",
        "until=None": "an argument's default",
    },
    "deploy/reference/performance.md": {
        "perf": "the kernel's profiler",
        "except … as": "Python",
        "bytes in bytes": "Python",
        "mallopt": "the C library",
    },
    "deploy/reference/settings.md": {
        "X_FILE": "X stands for any variable",
        "version:base64[,…]": "the shape of a value",
        "/v1/traces": "a path of the collector, as OpenTelemetry has it",
    },
    "controlplane/rest/__init__.py": {"DEFAULT_AUTHENTICATION_CLASSES": "a setting of Django REST framework"},
    "deploy/demo/__init__.py": {"demo.json": "a file that the demo writes"},
    "deploy/README.md": {
        "pg_dump": "PostgreSQL's",
        "VACUUM INTO 'copy.sqlite3'": "SQLite's; tests/journeys/test_restore.py runs it",
        "migrate": "manage.py migrate, as it is called in the sentence before",
    },
    "tests/simprovider/README.md": {"sim.script(…)": "a method of whatever a test calls sim"},
    "tests/bench/README.md": {
        "× nginx": "the head of a column",
        "≥": "a mark in a table",
        "…": "a mark in a table",
    },
    "SECURITY.md": {"'unsafe-eval'": "a word of Content-Security-Policy"},
}


def is_foreign(paper: str, text: str) -> bool:
    return any(text in words for pattern, words in FOREIGN.items() if fnmatchcase(paper, pattern))
