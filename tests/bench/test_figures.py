"""What the bench makes of its measurements: ratios of the same round, added times, verdicts."""

from __future__ import annotations

import math
import threading
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from tests.bench import profile, report, soak
from tests.bench.accounting import Tree
from tests.bench.generator import Load
from tests.bench.loads import SATURATION
from tests.bench.systems.system import System
from tests.bench.turns import Slice, Taken


def slice_(
    cpu_us: float,
    *,
    whole: dict[int, int] | None = None,
    harness: float = 0.5,
    failed: int = 0,
    control_us: float = 0.0,
) -> Slice:
    load = Load(2.0, 100, failed, 0, 0, 0, 0, 0, {"200": 100}, whole=Counter(whole or {}))
    shares = {"system_share": 0.5, "harness_share": harness}
    return Slice(load, 100, cpu_us * 100 / 1e6, settled=True, control_cpu_s=control_us * 100 / 1e6, **shares)


def taken(**slices: list[Slice]) -> Taken:
    return Taken(SATURATION[0], dict(slices))


def test_a_ratio_compares_what_was_measured_in_the_same_round() -> None:
    # The machine was three times slower in the second round, for both.
    row = taken(nginx=[slice_(10), slice_(30), slice_(10)], pod=[slice_(40), slice_(120), slice_(50)])
    assert row.ratio("pod") == pytest.approx(4.0)


def test_without_the_anchor_there_is_no_ratio() -> None:
    assert taken(pod=[slice_(40)]).ratio("pod") is None


def test_the_control_plane_counts_per_request_and_not_as_the_pods() -> None:
    row = taken(nginx=[slice_(10)] * 2, **{"pod-3": [slice_(40, control_us=390), slice_(40, control_us=330)]})
    rows = {each["system"]: each for each in report.cost_rows([row])}
    assert rows["pod-3"]["control_us"] == pytest.approx(360)
    assert rows["pod-3"]["cpu_us"] == pytest.approx(40)
    assert rows["nginx"]["control_us"] is None
    head, _, anchor, pod, *_ = report.cost_table([row]).splitlines()
    at = head.split(" | ").index("control plane's")
    assert [line.split(" | ")[at] for line in (anchor, pod)] == ["–", "360"]


def test_a_pod_has_settled_when_the_control_plane_has_booked_what_it_reported() -> None:
    waiting = [3, 1, 0]

    class Metrics(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(f"# HELP x\naigateway_spool_records {waiting.pop(0)}\n".encode())

        def log_message(self, format: str, *values: object) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Metrics) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        idle = Tree(1 << 30)  # no such process: it uses nothing
        assert System("pod-3", server.server_port, idle, {}, control=(idle,)).settle(20.0)
        server.shutdown()
    assert waiting == []


def test_a_rate_that_the_harness_limited_is_shown_as_at_least() -> None:
    row = taken(nginx=[slice_(10, harness=0.99)], pod=[slice_(40)])
    bound = {each["system"]: each["harness_bound"] for each in report.cost_rows([row])}
    assert bound == {"nginx": True, "pod": False}
    assert "≥ 50" in report.cost_table([row])


def test_added_times_are_those_above_direct() -> None:
    row = taken(
        direct=[slice_(1, whole={100: 500}), slice_(1, whole={200: 500})],
        nginx=[slice_(10, whole={300: 1_000})],
        pod=[slice_(10, whole={500: 950, 9_100: 50})],
    )
    rows = {each["system"]: each for each in report.added_rows([row], "whole")}
    assert rows["nginx"]["p50"] == 200
    assert rows["pod"]["p50"] == 400
    assert rows["pod"]["p99.9"] == 8_900


def test_a_percentile_of_too_few_is_not_shown() -> None:
    row = taken(direct=[slice_(1, whole={100: 80})])
    [floor] = report.added_rows([row], "whole")
    assert floor["p50"] == 100
    assert math.isnan(floor["p99"])


def test_failed_answers_are_summed_over_the_rounds() -> None:
    assert taken(pod=[slice_(1, failed=2), slice_(1, failed=3)]).failed("pod") == 5


MEMORY, SOAK_S = 83_000_000, 30 * 60
HEAP_STEP = 132 * 1024


def soaked(bytes_per_request: float, *, rises_at: float = SOAK_S, rises_by: int = 0) -> dict[str, float]:
    """Figures of half an hour in which a heap grew in its steps and memory went up and down by 80 KB besides."""
    samples = []
    for number in range(int(SOAK_S / soak.SAMPLE_S)):
        at = number * soak.SAMPLE_S
        grown = int(bytes_per_request * soak.RATE * at) // HEAP_STEP * HEAP_STEP
        warming = -20_000_000 if at < 60 else 0
        samples.append((at, MEMORY + warming + grown + 40_000 * (number % 3 - 1) + (rises_by if at >= rises_at else 0)))
    return soak.growth(samples, SOAK_S)


def test_what_a_pod_loads_in_its_warm_up_is_no_slope() -> None:
    assert soaked(0)["% per hour"] == pytest.approx(0, abs=0.05)


def test_a_leak_of_a_kilobyte_per_hundred_requests_shows() -> None:
    assert soaked(10.24)["% per hour"] == pytest.approx(100 * 10.24 * soak.RATE * 3600 / MEMORY, rel=0.2)


def test_another_level_late_in_the_run_is_no_slope_but_is_seen() -> None:
    figures = soaked(0, rises_at=SOAK_S * 0.9, rises_by=500_000)
    assert figures["% per hour"] == pytest.approx(0, abs=0.2)
    assert figures["MB at most"] == pytest.approx((MEMORY + 540_000) / 1e6)


def test_a_slope_is_the_median_of_all_pairs() -> None:
    assert soak.slope([*((at, 10 + 2 * at) for at in range(9)), (9, 99)]) == 2.0
    assert soak.slope([(1, 5)]) == 0.0


RAW = """main (a.py:1);Runner.run (asyncio/runners.py:118);serve (p.py:10);read (r.py:5) 30
main (a.py:1);Runner.run (asyncio/runners.py:118);serve (p.py:10);read (r.py:6) 10
main (a.py:1);Runner.run (asyncio/runners.py:118);serve (p.py:11) 40
main (a.py:1);Runner.run (asyncio/runners.py:118) 20
run (threading.py:5);wait (threading.py:9) 900
"""


def test_a_profile_shares_what_a_unit_took_among_functions_and_lines() -> None:
    told = profile.report(profile.stacks(RAW), 50.0, 3)
    own, whole, lines = told.split("\n\n")[1:]
    assert "| 20.00 | 40.00 | serve (p.py) |" in own
    assert "| 10.00 | 10.00 | (the loop itself) |" in own
    assert "| 40.00 | 20.00 | serve (p.py) |" in whole
    assert "| 15.00 | read (r.py:5) |" in lines


def test_a_function_that_calls_itself_is_counted_once_per_stack() -> None:
    told = profile.report([(("walk (w.py:1)", "walk (w.py:2)"), 4)], 8.0, 3)
    assert "| 8.00 | 8.00 | walk (w.py) |" in told
