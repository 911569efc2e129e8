"""What looks like a secret does not reach a log line, and the line stays JSON."""

import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataplane.core.secret import Secret
from dataplane.telemetry.logs import Level, encode_line

CANARY = "Canary0123456789abcdefghijABCDEFGHIJ"
SECRETS = [
    "lw_vk_live_0123456789ABCDEFGHJKMNPQRSTVWXYZ0123456789",
    "lw_vk_test_0123456789ABCDEFGHJKMNPQRSTVWXYZ0123456789",
    "lw_at_0123456789ABCDEFGHJKMNPQRSTVWXYZ0123456789",
    "lw_vk_live_0123456789" + CANARY + "lw_vk_live_0123456789" + CANARY,
    f"sk-ant-api03-{CANARY}-_x",
    f"sk-proj-{CANARY}",
    f"AIza{CANARY}",
    f"ya29.{CANARY}",
    "AKIA0123456789ABCDEF",
    f"eyJhbGciOiJIUzI1NiJ9.{CANARY}.{CANARY}",
    f"-----BEGIN PRIVATE KEY-----\n{CANARY}\n-----END PRIVATE KEY-----",
]
FRAMES = ["{}", "before {} after", '"{}"', "model={};", "https://host/v1?key={}&alt=sse", "b'{}'"]
OPAQUE = [
    *("Authorization: Bearer {}", "authorization: {}", "('x-api-key', '{}')", "[(b'api-key', b'{}')]"),
    *('{{"x-goog-api-key": "{}"}}', "Bearer {}", "basic {}", "GET /v1beta/models?key={} HTTP/1.1", "api_key='{}'"),
]


def line(**fields) -> str:
    return encode_line(time.time_ns(), Level.INFO, "event", fields).decode()


@pytest.mark.parametrize("frame", FRAMES)
@pytest.mark.parametrize("secret", SECRETS)
def test_a_secret_of_a_known_shape_is_cut_out_wherever_it_stands(secret, frame):
    written = line(text=frame.format(secret), nested={"deep": [frame.format(secret)]})
    json.loads(written)
    assert "[redacted]" in written
    assert CANARY not in written
    assert secret not in written


@pytest.mark.parametrize("frame", OPAQUE)
def test_a_value_without_a_shape_is_known_by_the_name_before_it(frame):
    written = line(text=frame.format(CANARY), error=ValueError(frame.format(CANARY)))
    json.loads(written)
    assert CANARY not in written


def test_a_field_with_a_secret_name_and_a_secret_object_show_nothing():
    written = line(authorization=CANARY, token=CANARY, key=Secret(CANARY), several=[Secret(CANARY)])
    json.loads(written)
    assert CANARY not in written


def test_ordinary_words_are_left_alone():
    fields = {"key_id": "vk_01J9", "task": "task-runner-of-the-pod", "message": "the basics of keys: api keys", "n": 3}
    assert {name: json.loads(line(**fields))[name] for name in fields} == fields


PIECES = st.sampled_from(
    [
        '"',
        "\\",
        "\n",
        "\r",
        "Bearer ",
        "authorization",
        ": ",
        "=",
        "-----BEGIN ",
        "sk-abcdefgh",
        "api_key",
        "?key=",
        "b'",
    ]
)


@given(st.lists(PIECES | st.text(max_size=8), max_size=30).map("".join))
def test_whatever_stands_in_a_value_the_line_is_one_json_object_on_one_line(text):
    written = line(text=text)
    assert written.count("\n") == 1
    assert json.loads(written)["event"] == "event"


def test_redaction_of_a_hostile_line_takes_linear_work():
    # Each of these restarts alternatives at every position: a quadratic pattern needs minutes here.
    for piece in ("-----BEGIN ", "Bearer ", "authorization", "sk-", "api_key: ", "eyJ", "[?&]key="):
        encode_line(0, Level.INFO, piece * 50_000, {"text": piece * 300})
