"""What time a pod goes by: the control plane's, whatever becomes of its own clock, of answers and of fleet servers."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataplane.link.clock import ALARM_MS, FleetClock
from dataplane.telemetry import logs

START = 1_800_000_000_000
MINUTES = 60_000


class World:
    """True time, the clocks of a pod, and what fleet servers believe."""

    def __init__(self) -> None:
        self.true = START
        self.own_is_off = 0
        self.clock = FleetClock(lambda: self.true + self.own_is_off, lambda: self.true - START + 77_000)

    @property
    def boot(self) -> int:
        return self.true - START + 77_000

    def hears(self, *, off: int = 0, there: int = 5, back: int = 5) -> None:
        """A question and its answer, by a server whose clock is `off`."""
        asked_at = self.boot
        self.true += there
        told = self.true + off
        self.true += back
        self.clock.heard(told, asked_at, self.boot)

    def lives(self, heartbeats: int = 1, *, off: int = 0) -> None:
        for _ in range(heartbeats):
            self.true += 5_000
            self.hears(off=off)

    def error(self) -> int:
        return self.clock.at_ms() - self.true


@pytest.fixture
def world() -> World:
    return World()


def test_before_the_first_answer_a_pod_goes_by_its_own_clock(world: World):
    world.own_is_off = 4_000
    assert world.clock.at_ms() == world.clock.wall_ms() == START + 4_000
    assert world.clock.ahead_ms() == 0


@pytest.mark.parametrize("step", [-600_000, 600_000, 86_400_000, -5_001])
@pytest.mark.parametrize("when", ["before the first answer", "later"])
def test_a_wall_clock_that_is_wrong_or_stepped_is_not_noticed_and_told(world: World, step: int, when: str):
    if when == "later":
        world.hears()
        assert world.clock.ahead_ms() == 0
    world.own_is_off = step
    if when != "later":
        world.hears()
    assert abs(world.error()) <= 10
    world.lives()
    assert abs(world.error()) <= 10
    assert world.clock.wall_ms() == world.clock.at_ms()
    assert abs(world.clock.ahead_ms() - step) <= 10


def test_without_contact_time_goes_on_by_the_clock_that_nobody_sets(world: World):
    world.hears()
    world.own_is_off = -600_000
    world.true += 3_600_000
    assert abs(world.error()) <= 10


def test_the_answer_that_took_least_decides_and_a_late_one_changes_nothing(world: World):
    world.hears(there=1, back=1)
    assert abs(world.error()) <= 2
    world.true += 5_000
    world.hears(there=3_900, back=0)
    assert abs(world.error()) <= 10
    world.true += 5_000
    world.hears(there=0, back=3_900)
    assert abs(world.error()) <= 10


@given(st.lists(st.tuples(st.integers(0, 4_000), st.integers(0, 4_000)), min_size=1, max_size=30))
def test_however_long_answers_take_the_error_is_within_the_quickest_ones_round_trip(trips: list[tuple[int, int]]):
    world = World()
    for there, back in trips:
        world.hears(there=there, back=back)
        world.true += 5_000
    elapsed = sum(there + back + 5_000 for there, back in trips)
    assert abs(world.error()) <= min(there + back for there, back in trips) / 2 + elapsed * 0.0005 + 3


@pytest.mark.parametrize("step", [-600_000, 600_000, 20_000, -20_000])
def test_a_step_of_the_fleets_clock_is_followed_once_a_second_heartbeat_tells_of_it(world: World, step: int):
    world.hears()
    world.lives(off=step)
    assert abs(world.error()) <= 15
    world.lives(off=step)
    assert abs(world.error() - step) <= 15


def test_one_server_that_goes_wrong_among_others_is_not_followed_while_the_connection_flaps(world: World):
    world.hears()
    for _ in range(20):
        world.hears(off=-600_000)
        world.hears(off=-600_000)  # Welcome and HoldWelcome, in one moment
        world.true += 500
        world.hears()
        world.true += 500
    assert abs(world.error()) <= 15


def test_what_has_expired_stays_expired_when_the_fleets_clock_goes_back(world: World):
    world.own_is_off = 7_000  # so that nothing bears the fleet out
    world.hears()
    expired_at = world.clock.wall_ms()
    for _ in range(110):
        world.lives(off=-600_000)
        assert world.clock.wall_ms() >= expired_at
    assert abs(world.error() + 600_000) <= 600  # windows are the fleet's
    world.lives(12, off=-600_000)
    assert world.clock.wall_ms() == world.clock.at_ms() > expired_at  # time goes on once the fleet has caught up


def test_a_server_that_was_far_ahead_is_forgotten_when_the_pods_own_clock_bears_the_next_one_out(world: World):
    world.lives(3, off=86_400_000)
    assert world.clock.wall_ms() - world.true > 86_000_000
    world.lives(3)
    assert abs(world.clock.wall_ms() - world.true) <= 15


def test_no_message_without_a_time_and_none_from_the_future_counts(world: World):
    world.clock.heard(0, world.boot - 5, world.boot)
    world.clock.heard(START + 600_000, world.boot + 5, world.boot)
    assert world.clock.at_ms() == START


def test_beyond_five_seconds_there_is_an_alarm_once_and_one_word_when_it_is_over(
    world: World, monkeypatch: pytest.MonkeyPatch
):
    told: list[tuple[str, int]] = []
    monkeypatch.setattr(logs, "error", lambda event, **facts: told.append((event, facts["ahead_ms"])))
    monkeypatch.setattr(logs, "info", lambda event, **facts: told.append((event, facts["ahead_ms"])))
    world.own_is_off = ALARM_MS - 20
    world.lives(3)
    assert told == []
    world.own_is_off = ALARM_MS + 20
    world.lives(3)
    assert [event for event, _ in told] == ["clock_wrong"]
    world.own_is_off = 0
    world.lives(3)
    assert [event for event, _ in told] == ["clock_wrong", "clock_right"]
