"""Our words in the shapes of chat completions: a refusal as an HTTP error, and the end of a running stream."""

from __future__ import annotations

from dataplane.core.errors import Refusal
from dataplane.dialects.chat.meter import ChatSent
from dataplane.dialects.dialect import Client
from dataplane.dialects.endings import behind_text, boundary, data_event, has_no_room, money_has_run_out, truncated
from dataplane.dialects.openai_refusals import openai_error
from dataplane.dialects.sent import SentSoFar, sent_as

_DONE = b"data: [DONE]\n\n"


def ending(refusal: Refusal, client: Client, request_id: str, sent: SentSoFar) -> bytes:
    """Final words are a text delta and a regular end, which every client shows and none repeats. Where a tool call is
    under way that end would run it, and where a retry makes sense the client should know: then an error frame."""
    completion = sent_as(ChatSent, sent)
    if has_no_room(completion):
        return b""
    if money_has_run_out(refusal):
        return truncated(completion, lambda sent: _out_of_tokens(refusal, request_id, sent))
    return boundary(completion) + _stopped(refusal, request_id, completion)


def _stopped(refusal: Refusal, request_id: str, sent: ChatSent) -> bytes:
    if sent.finished:
        return _DONE
    chunk = _chunk(request_id, sent)
    if refusal.retryable or sent.called_tools:
        error = openai_error(refusal, refusal.status, refusal.code.value)
        if not refusal.retryable:
            error["type"] = "invalid_request_error"
        first = data_event({"error": error})
    else:
        first = _text(refusal, chunk, sent)
    end = data_event({**chunk, "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
    return first + end + _DONE


def _out_of_tokens(refusal: Refusal, request_id: str, sent: ChatSent) -> bytes:
    """A regular end would run half of a tool call that is under way, so such a stream ends as an error."""
    if sent.finished or sent.called_tools:
        return _stopped(refusal, request_id, sent)
    chunk = _chunk(request_id, sent)
    end = data_event({**chunk, "choices": [{"index": 0, "delta": {}, "finish_reason": "length"}]})
    if sent.wants_usage:
        usage = {
            "prompt_tokens": sent.at.input_tokens,
            "completion_tokens": sent.at.output_tokens,
            "total_tokens": sent.at.input_tokens + sent.at.output_tokens,
        }
        end += data_event({**chunk, "choices": [], "usage": usage})
    return _text(refusal, chunk, sent) + end + _DONE


def _chunk(request_id: str, sent: ChatSent) -> dict[str, object]:
    """The fields that every chunk has."""
    return {
        "id": sent.id or f"chatcmpl-{request_id}",
        "object": "chat.completion.chunk",
        "created": sent.created,
        "model": sent.at.model,
    }


def _text(refusal: Refusal, chunk: dict[str, object], sent: ChatSent) -> bytes:
    words = {"role": "assistant", "content": behind_text(refusal, text=sent.at.produced > 0)}
    return data_event({**chunk, "choices": [{"index": 0, "delta": words, "finish_reason": None}]})
