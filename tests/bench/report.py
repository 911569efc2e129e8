"""What was measured, as tables for people and as JSON for comparisons."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from tests.bench.generator import Histogram, percentile
from tests.bench.streams import Held
from tests.bench.systems import System
from tests.bench.turns import ANCHOR, Taken

FLOOR = "direct"  # no system in between
PERCENTILES = {"p50": 0.5, "p99": 0.99, "p99.9": 0.999}

Row = dict[str, Any]


def _number(value: float | None, digits: int = 1) -> str:
    if value is None or math.isnan(value):
        return "–"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.{digits}f}"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [f"| {' | '.join(head)} |", "|" + "---|" * len(head)]
    return "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in rows)])


# ---- closed loops --------------------------------------------------------------------------------------------------


def cost_rows(taken: Sequence[Taken]) -> list[Row]:
    rows = []
    for row in taken:
        for name, slices in row.slices.items():
            rows.append(
                {
                    "load": row.ask.slug,
                    "system": name,
                    "unit": row.ask.unit,
                    "cpu_us": row.median(name, lambda each: each.cpu_us),
                    "ratio": None if name == FLOOR else row.ratio(name),
                    "control_us": row.median(name, lambda each: each.control_us) or None,
                    "per_second": row.median(name, lambda each: each.per_second),
                    "share_of_core": row.median(name, lambda each: each.system_share),
                    "harness_bound": sum(each.harness_bound for each in slices) * 2 > len(slices),
                    "settled": all(each.settled for each in slices),
                    "failed": row.failed(name),
                    "rounds": [round(each.cpu_us, 2) for each in slices],
                }
            )
    return rows


def cost_table(taken: Sequence[Taken]) -> str:
    rows = cost_rows(taken)
    names = {row.ask.slug: f"{row.ask.name}, per {row.ask.unit}" for row in taken}
    dearest = {row["load"]: row["cpu_us"] for row in rows if row["system"] == "litellm"}
    cells = [
        [
            names[row["load"]],
            row["system"],
            _number(row["cpu_us"]) + ("" if row["settled"] else " …"),
            _number(row["ratio"]),
            _number(row["control_us"], 0),
            f"1/{dearest[row['load']] / row['cpu_us']:.0f}" if row["load"] in dearest and row["ratio"] else "–",
            ("≥ " if row["harness_bound"] else "") + _number(row["per_second"], 0),
            f"{100 * row['share_of_core']:.0f} %",
            str(row["failed"]),
        ]
        for row in rows
    ]
    head = (
        *("load", "system", "CPU µs", f"× {ANCHOR}", "control plane's", "of LiteLLM", "units/s", "of its core"),
        "failed",
    )
    notes = (
        "`pod-3` has everything on, three blocking budgets too; `pod-0` has no budget. `direct`: no system; the CPU "
        "is the mock's. ≥: generator and mock were the limit. …: work went on afterwards."
    )
    return f"{table(head, cells)}\n\n{notes}"


# ---- open loops ----------------------------------------------------------------------------------------------------


def _seen(histogram: Histogram, share: float) -> float:
    """NaN where there were too few for something to lie beyond."""
    return percentile(histogram, share) if histogram.total() * (1 - share) >= 1 else math.nan


def added_rows(taken: Sequence[Taken], histogram: str) -> list[Row]:
    """Percentiles of each system less those of `direct` in the same run, in microseconds."""
    rows = []
    for row in taken:
        if FLOOR not in row.slices:
            continue
        floor = row.histogram(FLOOR, histogram)
        for name in row.slices:
            own = row.histogram(name, histogram)
            values = {label: _seen(own, share) for label, share in PERCENTILES.items()}
            if name != FLOOR:
                values = {label: value - _seen(floor, PERCENTILES[label]) for label, value in values.items()}
            rows.append({"load": row.ask.slug, "system": name, "failed": row.failed(name), "of": histogram} | values)
    return rows


def added_table(taken: Sequence[Taken], histogram: str, what: str) -> str:
    names = {row.ask.slug: row.ask.name for row in taken}
    rows = added_rows(taken, histogram)
    anchors = {row["load"]: row["p50"] for row in rows if row["system"] == ANCHOR}
    cells = []
    for row in rows:
        anchor = anchors.get(row["load"])
        ratio = row["p50"] / anchor if anchor and row["system"] != FLOOR else None
        shown = [_number(row[label], 0) for label in PERCENTILES]
        cells.append([names[row["load"]], row["system"], *shown, _number(ratio), str(row["failed"])])
    return table((what, "system", *PERCENTILES, f"p50 × {ANCHOR}", "failed"), cells)


# ---- streams, starts -----------------------------------------------------------------------------------------------


def streams_table(held: Sequence[Held]) -> str:
    floor = {each.crowd: each for each in held if each.system == FLOOR}
    anchors = {each.crowd: each for each in held if each.system == ANCHOR}
    cells = []
    for each in held:
        anchor, base = anchors.get(each.crowd), floor.get(each.crowd)
        ratio = each.cpu_us_per_event / anchor.cpu_us_per_event if anchor and each.system != FLOOR else None
        added = [
            own - getattr(base, name) if base and each is not base else own
            for name in ("travelled_p50_us", "travelled_p99_us")
            for own in (getattr(each, name),)
        ]
        cells.append(
            [
                f"{each.crowd.count:,} × one event per {each.crowd.pace_ms} ms",
                each.system,
                _number(each.bytes_each / 1024),
                _number(each.cpu_us_per_event),
                _number(ratio),
                *(_number(value, 0) for value in added),
                str(each.failed),
            ]
        )
    head = ("streams", "system", "KB each", "CPU µs per event", f"× {ANCHOR}", "event + p50 µs", "+ p99 µs", "failed")
    return table(head, cells)


def starts_table(systems: Sequence[System]) -> str:
    cells = [[each.name, f"{each.start_s:.2f}"] for each in systems if each.name != FLOOR]
    return table(("system", "s from its start to its first answer"), cells)
