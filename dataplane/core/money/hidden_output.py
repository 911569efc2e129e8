"""How fast models write, learnt from answers whose figures are the provider's: what one that hides its reasoning had
made when it was broken off can only be told from the time that it had."""

from __future__ import annotations

from typing import Final

# Tokens per second of which nothing is known yet: the faster reasoning models of today make 100 to 200.
FIRST_GUESS: Final = 150
# A shorter answer says more of the network than of the model.
LEAST_S: Final = 1.0
# Models that are remembered; beyond it all are forgotten and learnt anew.
REMEMBERED: Final = 4_096
_FASTEST: Final = 10_000.0  # no model; a clock that stood still
_NEW: Final = 0.125  # share of the newest in the running mean


class WritingSpeeds:
    """Running means of tokens of output per second, by model."""

    __slots__ = ("_means",)

    def __init__(self) -> None:
        self._means: dict[str, float] = {}

    def learn(self, model: str, tokens: int, seconds: float) -> None:
        """`tokens`: all output that was billed; `seconds`: from the request's writing to the answer's end."""
        if seconds < LEAST_S or tokens <= 0:
            return
        speed = min(tokens / seconds, _FASTEST)
        mean = self._means.get(model)
        if mean is None:
            if len(self._means) >= REMEMBERED:
                self._means.clear()
            mean = speed
        self._means[model] = mean + (speed - mean) * _NEW

    def written(self, model: str, seconds: float) -> int:
        """Tokens that it makes in that time."""
        return round(self._means.get(model, FIRST_GUESS) * max(seconds, 0.0))
