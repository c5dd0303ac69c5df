"""The DuckDB query that curation is measured beside does the same work, on a month with every fault planted."""

import pyarrow.parquet as pq
import pytest

from chillflow import curation, kpis, tlc
from chillflow.months import Month

pytest.importorskip("duckdb")

from benchmarks import curate as benchmark


def test_the_peer_finds_the_same_by_rule_and_the_same_measures(tmp_path):
    sample, month = tmp_path / "sample.parquet", tmp_path / "month" / benchmark.NAME
    pq.write_table(benchmark.sample(tmp_path), sample)
    benchmark.tile(sample, month, 20_000, 40_000)

    with month.open("rb") as file:
        (block,) = tlc.inspect(file, str(month), "yellow").blocks
        curated = curation.curate(tlc.read(file, block), Month.parse(benchmark.MONTH))
    measures = kpis.merge([kpis.partial(curated.trips, curated.adjustments)])
    pq.write_table(kpis.to_table(measures), tmp_path / "kpis.parquet")
    peer = benchmark.duckdb_run(month, tmp_path / "duckdb", 1)

    rejects = {rule.name for rule in curation.REJECTS}
    assert {name: count for name, count in curated.counts.items() if name in rejects} == peer.counts
    assert len(peer.counts) > 10
    assert benchmark.measured(tmp_path / "kpis.parquet") == peer.sums
