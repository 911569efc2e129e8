"""What one attempt owes, however it ended: one decision, for everything that is not simply the provider's own figure.

A figure that nobody can know is estimated from below where the output was seen, and charged with what was set aside
where it was not: a hold is the most that a request was let in for.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from dataplane.core.usage import Outcome, Usage, UsageClass, UsageSource, Why

_WHY: Final = {Outcome.CLIENT_GONE: Why.CLIENT_GONE, Outcome.CUT: Why.CUT, Outcome.FAILED: Why.BROKEN}


class End(NamedTuple):
    """How an attempt that reached its provider ended.

    `status`: of the answer, 0 where none came. `streamed`: it was asked for as a stream. `hides`: the model bills
    output that its answer does not show. `written`: tokens of output that it had made by then, as learnt for the model.
    """

    outcome: Outcome
    status: int
    streamed: bool
    hides: bool
    written: int


class Owed(NamedTuple):
    """`held`: charged with what was set aside, whatever `usage` costs."""

    usage: Usage
    held: bool = False


def owed(usage: Usage, end: End) -> Owed:
    """`usage`: as the meter read it."""
    if end.status >= 400:
        # An error costs what the provider says that it costs.
        return Owed(usage if usage.source is UsageSource.PROVIDER else Usage())
    if not end.status:
        # It was written, and nothing came. A stream that shows all would have been stopped when nobody read it.
        if end.streamed and not end.hides:
            return Owed(usage._replace(why=Why.NO_ANSWER))
        return _held(usage, Why.NO_ANSWER)
    if usage.why is Why.RUNS_ON:
        # A job of which the figures are seen later.
        return _held(usage, Why.RUNS_ON)
    if usage.source is not UsageSource.METERED or usage.why is not Why.NO_FIGURES:
        # The provider's own; or figures that are none, for which what was seen stands.
        return Owed(usage)
    why = _WHY.get(end.outcome, Why.NO_FIGURES)
    if not end.hides:
        return Owed(usage._replace(why=why))
    if why is Why.NO_FIGURES:
        # It ended, and what it hides may be any part of what was set aside.
        return _held(usage, why)
    # Broken in the middle: no less than was seen, and as much as the model makes in that time.
    units = dict(usage.units)
    seen = units.get(UsageClass.OUTPUT, 0) + units.get(UsageClass.OUTPUT_REASONING, 0)
    if end.written > seen:
        hidden = end.written - seen
        units[UsageClass.OUTPUT_REASONING] = units.get(UsageClass.OUTPUT_REASONING, 0) + hidden
    return Owed(usage._replace(units=units, source=UsageSource.ESTIMATED, why=why))


def _held(usage: Usage, why: Why) -> Owed:
    return Owed(usage._replace(source=UsageSource.HELD, why=why), held=True)
