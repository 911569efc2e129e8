"""Windows divide time without a gap or an overlap, in any zone; their names say which is which."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataplane.core.money.windows import (
    ANCHORS,
    WindowKind,
    WindowRule,
    anchor_of,
    known_zone,
    window_at,
    window_named,
)

HOUR = 3_600_000
ENDING = [WindowKind.MINUTE, WindowKind.HOUR, WindowKind.DAY, WindowKind.WEEK, WindowKind.MONTH]
# Clocks that change at midnight, by half an hour, that skipped a day, and the usual ones.
ZONES = [
    *(
        "UTC",
        "Europe/Berlin",
        "America/New_York",
        "Asia/Kolkata",
        "Australia/Lord_Howe",
        "Pacific/Apia",
        "Africa/Cairo",
    ),
    *("America/Havana", "Asia/Beirut", "Pacific/Chatham", "America/Sao_Paulo", "no/such_zone", ""),
]
rules = st.builds(WindowRule, st.sampled_from(ENDING), st.sampled_from(ZONES), st.integers(-1, 33), st.integers(0, 2))
instants = st.integers(
    int(datetime(2008, 1, 1, tzinfo=UTC).timestamp() * 1000), int(datetime(2036, 1, 1, tzinfo=UTC).timestamp() * 1000)
)


def window_key(rule: WindowRule, at_ms: int) -> str:
    return window_at(rule, at_ms).key


def bounds(rule: WindowRule, at_ms: int) -> tuple[int, int]:
    window = window_at(rule, at_ms)
    return window.starts_ms, window.ends_ms


def ms(*at: int, zone: str = "UTC", fold: int = 0) -> int:
    return int(datetime(*at, tzinfo=ZoneInfo(zone), fold=fold).timestamp() * 1000)  # type: ignore[arg-type, misc]


@given(rules, instants)
def test_every_instant_is_in_its_window_and_the_next_one_starts_where_it_ends(rule, at):
    window = window_at(rule, at)
    assert window.starts_ms <= at < window.ends_ms
    assert window.contains(at)
    after = window_at(rule, window.ends_ms)
    assert after.starts_ms == window.ends_ms
    assert after.key != window.key
    assert window_at(rule, window.ends_ms - 1) == window_at(rule, window.starts_ms) == window


@given(rules, instants, instants)
def test_instants_share_a_name_exactly_when_they_share_a_window(rule, one, other):
    assert (window_key(rule, one) == window_key(rule, other)) == (window_at(rule, one).contains(other))


@given(st.sampled_from([WindowKind.TOTAL, WindowKind.MANUAL]), instants)
def test_a_window_without_an_end_holds_for_ever_until_somebody_resets_it(kind, at):
    window = window_at(WindowRule(kind), at)
    assert (window.key, window.ends_ms) == (kind.value, 0)
    assert window.contains(at)
    assert window_key(WindowRule(kind, resets=3), at) == f"{kind}#3"
    assert bounds(WindowRule(kind), at)[1] == 0


def test_a_day_is_named_after_the_date_and_the_zone():
    at = ms(2026, 11, 24, 23, 30)
    assert window_key(WindowRule(WindowKind.DAY), at) == "day:2026-11-24@UTC"
    assert window_key(WindowRule(WindowKind.DAY, "Europe/Berlin"), at) == "day:2026-11-25@Europe/Berlin"
    assert window_key(WindowRule(WindowKind.DAY, "Europe/Berlin", 6), at) == "day:2026-11-24T06@Europe/Berlin"
    assert window_key(WindowRule(WindowKind.DAY, resets=2), at) == "day:2026-11-24@UTC#2"
    assert window_key(WindowRule(WindowKind.MINUTE), at) == "minute:2026-11-24T23:30Z@UTC"


def test_days_have_23_or_25_hours_when_clocks_change():
    berlin = WindowRule(WindowKind.DAY, "Europe/Berlin")
    start, end = bounds(berlin, ms(2026, 3, 29, 12, zone="Europe/Berlin"))
    assert (start, end - start) == (ms(2026, 3, 28, 23), 23 * HOUR)
    start, end = bounds(berlin, ms(2026, 10, 25, 2, 30, zone="Europe/Berlin", fold=1))
    assert (start, end - start) == (ms(2026, 10, 24, 22), 25 * HOUR)


def test_a_day_whose_midnight_is_skipped_starts_with_the_change():
    start, end = bounds(WindowRule(WindowKind.DAY, "Africa/Cairo"), ms(2026, 4, 24, 12, zone="Africa/Cairo"))
    assert (start, end - start) == (ms(2026, 4, 23, 22), 23 * HOUR)


@pytest.mark.parametrize(
    ("zone", "anchor", "changes_at"),
    [
        ("Antarctica/Troll", 1, ms(2027, 3, 28, 1)),  # 01:00 is 03:00
        ("Antarctica/Troll", 2, ms(2027, 3, 28, 1)),
        ("Pacific/Chatham", 3, ms(2027, 9, 25, 14)),  # 02:45 is 03:45
        ("Australia/Lord_Howe", 2, ms(2027, 10, 2, 15, 30)),  # 02:00 is 02:30
        ("Europe/Berlin", 2, ms(2027, 3, 28, 1)),
        ("Africa/Cairo", 0, ms(2027, 4, 29, 22)),
    ],
)
def test_a_day_whose_hour_is_skipped_starts_with_the_change_wherever_in_it_the_hour_is(zone, anchor, changes_at):
    window = window_at(WindowRule(WindowKind.DAY, zone, anchor), changes_at)
    assert window.starts_ms == changes_at
    local = datetime.fromtimestamp(changes_at // 1000, ZoneInfo(zone))
    assert window.key.startswith(f"day:{local.date()}")


def first_reached(local: datetime, zone: ZoneInfo) -> int:
    """The first second at which the clocks of a zone show this time, or a later one: by going through a day of them."""
    around = int(local.replace(tzinfo=UTC).timestamp())
    step = 900  # clocks change on whole quarters of an hour
    return next(
        at
        for at in range(around - 16 * 3600, around + 16 * 3600, step)
        if datetime.fromtimestamp(at, zone).replace(tzinfo=None) >= local
    )


@pytest.mark.parametrize("zone", sorted({*ZONES[:-2], "Antarctica/Troll", "Africa/Casablanca", "America/Nuuk"}))
def test_around_every_change_of_the_clocks_windows_begin_when_their_name_says(zone):
    clocks = ZoneInfo(zone)
    days = [datetime(2024, 1, 1, 12, tzinfo=UTC) + timedelta(days=number) for number in range(7 * 366)]
    changes = [
        day
        for day in days
        if day.astimezone(clocks).utcoffset() != (day + timedelta(days=1)).astimezone(clocks).utcoffset()
    ]
    for day in changes:
        for kind, (lowest, highest, _) in ANCHORS.items():
            for anchor in range(lowest, highest + 1):
                window = window_at(WindowRule(kind, zone, anchor), int((day - timedelta(days=1)).timestamp()) * 1000)
                while window.starts_ms < int((day + timedelta(days=2)).timestamp()) * 1000:
                    named = datetime.fromisoformat(window.key.split(":")[1].split("@")[0].split("T")[0])
                    begins = first_reached(named.replace(hour=anchor if kind is WindowKind.DAY else 0), clocks)
                    assert window.starts_ms == begins * 1000, window
                    after = window_at(WindowRule(kind, zone, anchor), window.ends_ms)
                    assert after.starts_ms == window.ends_ms
                    window = after


def test_a_day_that_a_zone_left_out_has_no_window():
    apia = WindowRule(WindowKind.DAY, "Pacific/Apia")
    window = window_at(apia, ms(2011, 12, 29, 12, zone="Pacific/Apia"))
    assert window.key == "day:2011-12-29@Pacific/Apia"
    assert window_key(apia, window.ends_ms) == "day:2011-12-31@Pacific/Apia"


def test_a_month_that_starts_on_the_31st_starts_on_the_last_day_of_a_shorter_one():
    rule = WindowRule(WindowKind.MONTH, anchor=31)
    starts = [datetime.fromtimestamp(ms(2027, 1, 31) // 1000, UTC)]
    for _ in range(4):
        starts.append(datetime.fromtimestamp(bounds(rule, int(starts[-1].timestamp()) * 1000)[1] // 1000, UTC))
    assert [(at.month, at.day) for at in starts] == [(1, 31), (2, 28), (3, 31), (4, 30), (5, 31)]
    assert window_key(rule, ms(2028, 2, 29)) == "month:2028-02-29@UTC"


def test_weeks_start_on_the_day_that_was_chosen():
    at = ms(2026, 11, 24)  # a Tuesday
    assert window_key(WindowRule(WindowKind.WEEK), at) == "week:2026-11-23@UTC"
    assert window_key(WindowRule(WindowKind.WEEK, anchor=3), at) == "week:2026-11-18@UTC"


def test_hours_follow_the_zone_where_it_is_half_an_hour_off():
    start, end = bounds(WindowRule(WindowKind.HOUR, "Asia/Kolkata"), ms(2026, 11, 24, 12, 10, zone="Asia/Kolkata"))
    assert (start, end - start) == (ms(2026, 11, 24, 12, zone="Asia/Kolkata"), HOUR)


@pytest.mark.parametrize("kind", list(ANCHORS))
def test_an_anchor_out_of_range_is_the_default(kind):
    lowest, highest, default = ANCHORS[kind]
    assert anchor_of(WindowRule(kind, anchor=highest)) == highest
    assert anchor_of(WindowRule(kind, anchor=highest + 1)) == anchor_of(WindowRule(kind, anchor=lowest - 1)) == default


def test_a_named_window_is_found_near_now_and_nowhere_else():
    rule, midnight = WindowRule(WindowKind.DAY), ms(2026, 11, 25)
    yesterday = window_at(rule, midnight - 1)
    assert window_named(rule, yesterday.key, midnight + 5_000, 10_000) == yesterday
    assert window_named(rule, yesterday.key, midnight + 50_000, 10_000) is None
    assert window_named(rule, window_key(rule, midnight), midnight - 5_000, 10_000) == window_at(rule, midnight)
    assert window_named(rule, "day:2026-11-25@Mars", midnight, 10_000) is None


def test_a_zone_that_this_machine_does_not_know_is_utc():
    assert not known_zone("no/such_zone")
    assert not known_zone("")
    assert not known_zone("../../etc/passwd")
    assert known_zone("Europe/Berlin")
    at = ms(2026, 11, 24, 5)
    assert bounds(WindowRule(WindowKind.DAY, "no/such_zone"), at) == bounds(WindowRule(WindowKind.DAY), at)


@pytest.mark.parametrize("kind", WindowKind)
def test_every_window_within_the_slack_is_found_by_its_name(kind: WindowKind):
    rule, near = WindowRule(kind), 1_767_225_600_000 + 37_000
    for off in range(-900_000, 900_001, 20_000):
        window = window_at(rule, near + off)
        assert window_named(rule, window.key, near, 900_000) == window
