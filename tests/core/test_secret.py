"""A secret that does not show itself."""

from __future__ import annotations

import copy
import json
import pickle
import traceback

import pytest

from dataplane.core.secret import Secret
from tests.core import build

CANARY = "sk-canary-123"


@pytest.mark.parametrize("shown", [repr, str, "{}".format, "{:>20}".format, lambda secret: f"{secret!r}", ascii])
def test_no_way_of_writing_it_down_shows_it(shown):
    assert CANARY not in shown(Secret(CANARY))


def test_it_is_not_serialised():
    with pytest.raises(TypeError):
        pickle.dumps(Secret(CANARY))
    with pytest.raises(TypeError):
        json.dumps(Secret(CANARY))


def test_a_row_and_a_traceback_with_it_do_not_show_it():
    row = build.provider(credential=Secret(CANARY))
    assert CANARY not in repr(row)
    with pytest.raises(ValueError) as caught:
        raise ValueError(row)
    assert CANARY not in "".join(traceback.format_exception(caught.value))


def test_it_is_revealed_to_those_who_ask_and_compared_with_its_like_alone():
    secret = Secret(CANARY)
    assert secret.reveal() == Secret(CANARY.encode()).reveal() == CANARY.encode()
    assert secret == Secret(CANARY) != Secret("other")
    assert secret != CANARY
    assert copy.deepcopy(secret) is secret
    assert secret
    assert not Secret(b"")
    with pytest.raises(TypeError):
        hash(secret)
