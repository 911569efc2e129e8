"""Metrics: all in the catalogue, labels from closed sets, nothing that a client invents is remembered."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataplane.core.errors import Code
from dataplane.telemetry.metrics import CATALOGUE, MOST_CONFIGURED, PREFIX, MetricKind, Metrics, render_table


def lines(metrics: Metrics, name: str) -> list[str]:
    exposed = metrics.exposition().decode().splitlines()
    return [line for line in exposed if line.startswith(PREFIX + name)]


def test_every_metric_of_the_catalogue_is_exposed_with_its_meaning():
    exposed = Metrics("1.2.3").exposition().decode()
    for metric in CATALOGUE:
        assert f"# HELP {PREFIX}{metric.name} {metric.meaning}" in exposed
    assert f'{PREFIX}build_info{{version="1.2.3"}} 1.0' in exposed


def test_the_table_of_the_documentation_names_every_metric():
    rows = render_table().splitlines()[2:]
    assert [row.split("`")[1] for row in rows] == [PREFIX + metric.name for metric in CATALOGUE]


def test_names_say_their_unit_and_histograms_have_bounds():
    for metric in CATALOGUE:
        assert metric.name.endswith("_total") is (metric.kind is MetricKind.COUNTER)
        if metric.kind is MetricKind.HISTOGRAM:
            assert metric.name.endswith("_seconds")
            assert list(metric.buckets) == sorted(metric.buckets)


KNOWN = {value for metric in CATALOGUE for values in metric.labels.values() for value in values}
inventions = st.text().filter(lambda text: not text or text not in KNOWN)


@given(st.lists(st.tuples(inventions, inventions, inventions, inventions), max_size=30))
def test_no_client_can_make_a_pod_remember_names(invented):
    metrics = Metrics("1")
    for labels in invented:
        metrics.count("requests_total", *labels)
    assert len(lines(metrics, "requests_total")) <= 2  # "other" in every label, or the empty code
    total = sum(float(line.rsplit(" ", 1)[1]) for line in lines(metrics, "requests_total"))
    assert total == len(invented)


def test_known_values_are_counted_under_their_names():
    metrics = Metrics("1")
    metrics.count("requests_total", "openai_chat", "codex", "refused", str(Code.SPOOL_FULL), by=3)
    [line] = lines(metrics, "requests_total")
    assert line.endswith('{client="codex",code="spool_full",dialect="openai_chat",outcome="refused"} 3.0')


def test_providers_are_told_apart_up_to_a_bound():
    metrics = Metrics("1")
    for number in range(2 * MOST_CONFIGURED):
        metrics.count("provider_refusals_total", "anthropic", f"prov_{number}")
    metrics.count("provider_refusals_total", "anthropic", "prov_0")
    found = lines(metrics, "provider_refusals_total{")
    assert len(found) == MOST_CONFIGURED + 1
    assert f'{PREFIX}provider_refusals_total{{provider="prov_0",provider_kind="anthropic"}} 2.0' in found
    [other] = [line for line in found if 'provider="other"' in line]
    assert other.endswith(f" {MOST_CONFIGURED}.0")


def test_a_gauge_can_ask_at_every_scrape():
    metrics, values = Metrics("1"), [1.0, 2.0]
    metrics.gauge_from("spool_records", lambda: values.pop(0))
    assert [lines(metrics, "spool_records")[0].split()[1] for _ in range(2)] == ["1.0", "2.0"]


def test_a_metric_that_is_not_in_the_catalogue_cannot_be_counted():
    with pytest.raises(KeyError):
        Metrics("1").count("made_up_total")
