"""What jobs do beside their work, without a cluster: what they send to tasks, and what they say of leftovers."""

import pickle
from pathlib import Path

import pytest

from chillflow.curation import NO_PAIRS
from chillflow.jobs.curate import sweep
from chillflow.jobs.parts import Work
from chillflow.jobs.plan import MonthPlan
from chillflow.manifests import Source
from chillflow.months import Month
from chillflow.progress import Reporter
from chillflow.stores.lake import Lake
from chillflow.tlc import Block

MONTH = Month(2019, 1)


def work(row_groups: int) -> bytes:
    blocks = tuple(Block("/x.parquet", "yellow", group, group * 10_000, 0, 10_000) for group in range(row_groups))
    plan = MonthPlan("yellow", MONTH, "/x.parquet", Source("/x.parquet", 1), blocks)
    attempt = Lake("/lake").stage("yellow", MONTH, "20190101T000000Z-a")
    return pickle.dumps(Work.of(plan, (0,), attempt, dict.fromkeys(range(row_groups), NO_PAIRS)))


def test_a_task_is_told_of_its_own_blocks_alone() -> None:
    assert len(work(1_200)) == len(work(1))


def test_a_lake_that_cannot_be_swept_is_a_warning(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").touch()
    with Reporter() as reporter:
        sweep(Lake(tmp_path / "file"), reporter)
    assert "lake: warning: leftovers of earlier runs stay: cannot use" in capsys.readouterr().err


def test_a_month_that_is_left_alone_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "yellow" / "2019-01").mkdir(parents=True)
    (tmp_path / "yellow" / "2019-01" / "manifest.json").write_bytes(b"{")
    with Reporter() as reporter:
        sweep(Lake(tmp_path), reporter)
    said = capsys.readouterr().err
    assert "lake: warning: left alone: " in said
    assert "manifest.json is damaged" in said
