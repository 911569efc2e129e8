"""Figures that a job tells while it runs on are not its last."""

from __future__ import annotations

import json

import pytest

from dataplane.core.usage import UsageClass, UsageSource, Why
from dataplane.dialects.dialect import Meter, Operation, RequestFacts
from dataplane.dialects.responses.meter import meter

FIGURES = {"input_tokens": 10, "output_tokens": 5, "total_tokens": 15}
RIGHT = {UsageClass.INPUT: 10, UsageClass.OUTPUT: 5}
FACTS = RequestFacts("gpt-5", None, False, 100, True, 50, "", input_tokens_estimate=50)


def met(operation: Operation, status: str) -> Meter:
    found = meter(operation, streaming=False, facts=FACTS)
    found.feed(json.dumps({"id": "resp_1", "status": status, "usage": FIGURES, "background": True}).encode())
    found.close()
    return found


@pytest.mark.parametrize("status", ["queued", "in_progress"])
def test_figures_of_a_job_that_runs_on_are_awaited(status: str) -> None:
    polled = met(Operation.RESPONSES_STORED, status)
    assert polled.goes_on
    assert polled.seen.source is UsageSource.NONE
    begun = met(Operation.RESPONSES, status)
    assert begun.goes_on
    assert begun.usage().why is Why.RUNS_ON


@pytest.mark.parametrize("status", ["completed", "incomplete", "failed", "cancelled"])
def test_figures_of_a_job_that_ended_are_seen(status: str) -> None:
    polled = met(Operation.RESPONSES_STORED, status)
    assert not polled.goes_on
    assert dict(polled.seen.units) == RIGHT


def test_the_last_event_has_the_last_figures_whatever_status_it_says() -> None:
    found = meter(Operation.RESPONSES, streaming=True, facts=FACTS)
    response = {"id": "resp_1", "status": "in_progress", "usage": FIGURES}
    found.feed(b"data: " + json.dumps({"type": "response.completed", "response": response}).encode() + b"\n\n")
    assert found.usage().source is UsageSource.PROVIDER
    assert dict(found.usage().units) == RIGHT
