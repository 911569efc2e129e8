"""How long a provider may take: typed, checked, kept, sent to pods."""

from __future__ import annotations

from typing import Any

import pytest
from django.core.exceptions import ValidationError
from django.test import Client

from controlplane.fleet.state.compile import SOURCES
from controlplane.providers import actions
from controlplane.providers.models import Provider
from controlplane.providers.waits import MOST_ENTRIES
from dataplane.core.rows import Provider as Row
from dataplane.core.waits import Wait
from tests.controlplane import factories
from tests.controlplane.console.reading import row_of
from tests.controlplane.factories import SYSTEM
from tests.controlplane.rest.program import Api

pytestmark = pytest.mark.django_db

SLOW = {"models": "o3-deep-*", "first_byte_s": 1800, "idle_s": None}


def row_sent(row: Provider) -> Row:
    (source,) = [source for source in SOURCES.values() if source.rows().model is Provider]
    sent = source.compile(row)
    assert isinstance(sent, Row)
    return sent


def test_pods_are_told_single_models_first_and_then_all() -> None:
    row = factories.provider(first_byte_s=30, idle_s=40, model_waits=[SLOW], no_stream_options=True)
    sent = row_sent(row)
    assert sent.waits == (Wait("o3-deep-*", 1800, 0), Wait("*", 30, 40))
    assert sent.no_stream_options
    actions.update_provider(row, by=SYSTEM, first_byte_s=None, idle_s=None, model_waits=[], no_stream_options=False)
    sent = row_sent(row)
    assert (sent.waits, sent.no_stream_options) == ((), False)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"first_byte_s": 0}, "whole number of seconds from 1 to 3,600"),
        ({"idle_s": 3601}, "whole number of seconds from 1 to 3,600"),
        ({"idle_s": True}, "whole number of seconds"),
        ({"model_waits": [SLOW | {"models": "two words"}]}, "entry 1 names a model"),
        ({"model_waits": [SLOW, SLOW]}, "entry 2: o3-deep-[*] is there twice"),
        ({"model_waits": [{"models": "o3"}]}, "o3: says how long"),
        ({"model_waits": [{"models": "o3", "idle_s": -1}]}, "o3: each is a whole number"),
        ({"model_waits": [{"models": f"m{n}", "idle_s": 1} for n in range(MOST_ENTRIES + 1)]}, "at most 50 entries"),
    ],
)
def test_what_is_no_wait_is_refused_with_what_would_be_right(fields: dict[str, Any], words: str) -> None:
    row = factories.provider()
    with pytest.raises(ValidationError, match=words):
        actions.update_provider(row, by=SYSTEM, **fields)
    assert Provider.objects.get().model_waits == []


def test_an_admin_types_them_line_by_line() -> None:
    client = Client()
    client.force_login(factories.user(is_superuser=True))
    row = factories.provider()
    page = row_of(client, row)
    data = {
        "name": row.name, "base_url": row.base_url, "enabled": "on", "priority": "100", "unpriced": "refuse",
        "first_byte_s": "900", "model_waits": "o3-deep-* = 1800, 1200\ngpt-* = , 90\n", "no_stream_options": "on",
    }  # fmt: skip
    answer = client.post(page, data)
    assert answer.status_code == 302, answer.content.decode()
    row.refresh_from_db()
    assert (row.first_byte_s, row.idle_s, row.no_stream_options) == (900, None, True)
    assert row.model_waits == [
        {"models": "o3-deep-*", "first_byte_s": 1800, "idle_s": 1200},
        {"models": "gpt-*", "first_byte_s": None, "idle_s": 90},
    ]
    assert "o3-deep-* = 1800, 1200\ngpt-* = , 90" in client.get(page).content.decode()
    for typed in ("o3 = soon", "o3 = 1, 2, 3", "o3 = 9999", "o3"):
        refused = client.post(page, data | {"model_waits": typed})
        assert refused.status_code == 200, typed
    row.refresh_from_db()
    assert len(row.model_waits) == 2


def test_the_api_takes_and_shows_them() -> None:
    organization = factories.organization()
    api, row = Api(organization), factories.provider(organization)
    answer = api.patch(f"providers/{row.pk}", {"model_waits": [SLOW], "idle_s": 90})
    assert answer.status_code == 200, answer.content
    said = answer.json()
    assert (said["model_waits"], said["idle_s"], said["first_byte_s"]) == ([SLOW], 90, None)
    wrong: tuple[dict[str, Any], ...] = (
        {"idle_s": 0}, {"model_waits": [{"models": "o3", "idle_s": "x"}]}, {"model_waits": {}},
    )  # fmt: skip
    for fields in wrong:
        assert api.patch(f"providers/{row.pk}", fields).status_code == 422, fields
    assert api.patch(f"providers/{factories.provider().pk}", {"idle_s": 90}).status_code == 404
