"""Figures that no provider counts: absurd, negative, malformed, twice, none."""

from __future__ import annotations

from tests.hostile.turns import END, STREAM_HEAD, Turn, answer, chunk, event, message, trick

ABSURD = 10**18


@trick
async def absurd_usage(turn: Turn) -> None:
    """A billion billion tokens of output, in one answer."""
    await turn.send(answer(message(usage={"input_tokens": 1, "output_tokens": ABSURD})))


@trick
async def absurd_usage_everywhere(turn: Turn) -> None:
    """In every class that is counted."""
    usage = {
        "input_tokens": ABSURD,
        "cache_read_input_tokens": ABSURD,
        "cache_creation_input_tokens": ABSURD,
        "output_tokens": ABSURD,
        "server_tool_use": {"web_search_requests": ABSURD},
    }
    await turn.send(answer(message(usage=usage)))


@trick
async def absurd_usage_in_a_stream(turn: Turn) -> None:
    await turn.send(_stream({"input_tokens": 1, "output_tokens": 1}, {"output_tokens": ABSURD}))


@trick
async def growing_usage_in_a_stream(turn: Turn) -> None:
    """The figure is told again and again, ever larger."""
    figures = [{"output_tokens": 10**power} for power in range(1, 19)]
    await turn.send(_stream({"input_tokens": 1, "output_tokens": 1}, *figures))


@trick
async def negative_usage(turn: Turn) -> None:
    await turn.send(answer(message(usage={"input_tokens": -5, "output_tokens": -(10**18)})))


@trick
async def malformed_usage(turn: Turn) -> None:
    """Words, booleans, objects, floats, where counts belong."""
    await turn.send(answer(message(usage={"input_tokens": "7", "output_tokens": {"a": True}, "x": 1.5})))


@trick
async def no_usage(turn: Turn) -> None:
    await turn.send(answer(message(usage={})))


def _stream(first: dict[str, int], *later: dict[str, int]) -> bytes:
    deltas: list[dict[str, object]] = [
        {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": usage} for usage in later
    ]
    data: list[dict[str, object]] = [
        {
            "type": "message_start",
            "message": {"id": "msg_h", "type": "message", "model": "claude-sonnet-5-5", "usage": first},
        },
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Hello"}},
        {"type": "content_block_stop", "index": 0},
        *deltas,
        {"type": "message_stop"},
    ]
    return STREAM_HEAD + b"".join(chunk(event(str(each["type"]), each)) for each in data) + END
