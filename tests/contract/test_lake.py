"""The lake keeps its promises on every filesystem: a folder, a file URI, S3."""

import json
import os
import pickle
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from chillflow.errors import LakeCorrupt, LakeTooNew, MonthNotCurated
from chillflow.manifests import KINDS, FileEntry, Kind, encode
from chillflow.months import Month
from chillflow.stores.folders import Folder
from chillflow.stores.lake import ROW_GROUP, SCHEMAS, Lake, parquet
from tests.lake_samples import BEGAN, DAY, KPIS, MONTH, manifest, name, publish, rows, stage

MANIFEST = f"yellow/{MONTH}/manifest.json"


def everything(seed: int = 0) -> dict[Kind, pa.Table]:
    """A month's tables of every kind."""
    return {**{kind: rows(kind, 50, seed) for kind in SCHEMAS}, "kpis": KPIS}


def whole(lake: Lake, kind: Kind = "trips", service: str = "yellow", month: Month = MONTH) -> pa.Table:
    return pa.concat_tables(lake.read(service, month, kind, verify=True))


def attempts(lake_uri: str, month: Month = MONTH) -> list[str]:
    """The attempt folders of a yellow month, by name."""
    found = Folder(lake_uri).entries(f"yellow/{month}")
    return [path.rpartition("/")[2] for path, size in found if size is None]


def test_what_is_committed_reads_back_equal(lake: Lake) -> None:
    tables = everything()
    publish(lake, tables)
    for kind, table in tables.items():
        read = whole(lake, kind)
        assert read.schema.equals(table.schema), kind
        assert read.equals(table), kind


def test_readers_can_skip_rows_by_time_and_zone() -> None:
    group = pq.ParquetFile(pa.BufferReader(parquet(rows("trips", 50)))).metadata.row_group(0)
    columns = [group.column(number) for number in range(group.num_columns)]
    told = {column.path_in_schema for column in columns if column.is_stats_set and column.statistics.has_min_max}
    assert told == {"pickup_at", "dropoff_at", "pickup_zone_id", "dropoff_zone_id"}


def test_columns_are_read_alone_and_in_the_order_asked_for(lake: Lake) -> None:
    tables = everything()
    publish(lake, tables)
    columns = ["total_amount", "trip_id", "pickup_at"]
    read = pa.concat_tables(lake.read("yellow", MONTH, "trips", columns))
    assert read.equals(tables["trips"].select(columns))
    assert pa.concat_tables(lake.read("yellow", MONTH, "kpis", ("pickups",))).equals(KPIS.select(["pickups"]))


def test_parts_come_in_their_order_a_row_group_at_a_time(lake: Lake) -> None:
    parts = [rows("adjustments", ROW_GROUP + 1), rows("adjustments", 3, seed=1), rows("adjustments", 0)]
    attempt = lake.stage("green", MONTH, name())
    files = [attempt.write("adjustments", part, table) for part, table in enumerate(parts)]
    lake.commit(manifest(tuple(reversed(files))))
    read = list(lake.read("green", MONTH, "adjustments"))
    assert [len(table) for table in read] == [ROW_GROUP, 1, 3, 0]
    assert pa.concat_tables(read).equals(pa.concat_tables(parts))


def test_staged_files_are_invisible_until_the_commit(lake: Lake) -> None:
    made = manifest(stage(lake, everything()))
    assert lake.manifest("yellow", MONTH) is None
    assert lake.manifests() == []
    with pytest.raises(MonthNotCurated, match="yellow 2019-01 is not in the lake; curate it first with `chillflow"):
        lake.read("yellow", MONTH, "trips")
    lake.commit(made)
    assert lake.manifest("yellow", MONTH) == made
    assert lake.manifests() == [made]


def test_a_rerun_replaces_the_whole_month(lake: Lake) -> None:
    publish(lake, everything(seed=1), 1)
    later = publish(lake, {"trips": rows("trips", 7, seed=2)}, 2)
    assert lake.manifest("yellow", MONTH) == later
    assert len(whole(lake)) == 7
    assert list(lake.read("yellow", MONTH, "quarantine")) == []


def test_a_reader_that_began_before_a_rerun_ends_with_what_it_began(lake: Lake) -> None:
    before = rows("trips", ROW_GROUP + 5, seed=1)
    publish(lake, {"trips": before}, 1)
    reading = lake.read("yellow", MONTH, "trips")
    first = next(reading)
    publish(lake, {"trips": rows("trips", 7, seed=2)}, 2)
    assert pa.concat_tables([first, *reading]).equals(before)


def test_committing_again_changes_nothing(lake: Lake) -> None:
    made = publish(lake, everything())
    lake.commit(made)
    assert lake.manifests() == [made]
    assert whole(lake).equals(everything()["trips"])


def test_a_part_written_again_replaces_itself(lake: Lake) -> None:
    attempt = lake.stage("yellow", MONTH, name())
    attempt.write("trips", 0, rows("trips", 90))
    entry = attempt.write("trips", 0, rows("trips", 5))
    lake.commit(manifest((entry,)))
    assert whole(lake).equals(rows("trips", 5))


def test_the_same_rows_give_the_same_bytes(lake: Lake) -> None:
    first, second = (stage(lake, everything(), number) for number in (1, 2))
    assert [entry.sha256 for entry in first] == [entry.sha256 for entry in second]


def test_months_are_listed_by_service_and_month_whatever_else_lies_there(lake: Lake, lake_uri: str) -> None:
    places = [("yellow", Month(2019, 2)), ("yellow", Month(2018, 11)), ("green", Month(2020, 1))]
    for service, month in places:
        publish(lake, {"trips": rows("trips", 1)}, service=service, month=month)
    Folder(lake_uri).write("notes.txt", b"mine")
    Folder(lake_uri).write("yellow/notes/manifest.json", b"mine")
    Folder(lake_uri).write("yellow/2019-03/notes.txt", b"mine")
    assert [(told.service, told.month) for told in lake.manifests()] == [
        ("green", "2020-01"),
        ("yellow", "2018-11"),
        ("yellow", "2019-02"),
    ]


def test_a_month_without_rows_is_a_month(lake: Lake) -> None:
    made = publish(lake, {})
    assert lake.manifest("yellow", MONTH) == made
    assert list(lake.read("yellow", MONTH, "trips")) == []


def test_an_empty_table_is_a_file_without_rows(lake: Lake) -> None:
    publish(lake, {"quarantine": rows("quarantine", 0)})
    assert sum(len(table) for table in lake.read("yellow", MONTH, "quarantine", verify=True)) == 0


def test_lakes_and_attempts_travel_by_pickle(lake: Lake) -> None:
    attempt = pickle.loads(pickle.dumps(lake.stage("yellow", MONTH, name())))
    entry = pickle.loads(pickle.dumps(attempt.write("trips", 0, rows("trips", 5))))
    pickle.loads(pickle.dumps(lake)).commit(manifest((entry,)))
    assert whole(lake).equals(rows("trips", 5))


@pytest.mark.parametrize("harm", ["gone", "shorter", "longer"])
def test_a_commit_refuses_files_that_are_not_there_whole(lake: Lake, lake_uri: str, harm: str) -> None:
    before = publish(lake, {"trips": rows("trips", 3)}, 1)
    made = manifest(stage(lake, everything(), 2))
    _harm(Folder(lake_uri), made.files[0], harm)
    with pytest.raises(LakeCorrupt, match=r"trips-00000\.parquet is damaged: \d+ of \d+ bytes; .*--force"):
        lake.commit(made)
    assert lake.manifest("yellow", MONTH) == before


@pytest.mark.parametrize(
    ("harm", "why"),
    [("gone", "it is gone"), ("shorter", "bytes where"), ("longer", "bytes where"), ("no Parquet", "magic bytes")],
)
def test_a_damaged_file_is_named(lake: Lake, lake_uri: str, harm: str, why: str) -> None:
    made = publish(lake, everything())
    _harm(Folder(lake_uri), made.of("trips")[0], harm)
    with pytest.raises(LakeCorrupt, match=rf"trips-00000\.parquet is damaged: .*{why}"):
        list(lake.read("yellow", MONTH, "trips"))
    assert whole(lake, "quarantine").equals(everything()["quarantine"])


def test_a_flipped_bit_anywhere_is_found(lake: Lake, lake_uri: str) -> None:
    made = publish(lake, {"trips": rows("trips", 2000)})
    folder, entry = Folder(lake_uri), made.files[0]
    data = folder.read(entry.path)
    assert data is not None
    for place in range(0, len(data), len(data) // 23):
        folder.write(entry.path, data[:place] + bytes([data[place] ^ 4]) + data[place + 1 :])
        with pytest.raises(LakeCorrupt, match="SHA-256"):
            whole(lake)
    middle = len(data) // 2  # in a page, where even a reader that does not verify sees it
    folder.write(entry.path, data[:middle] + bytes([data[middle] ^ 4]) + data[middle + 1 :])
    with pytest.raises(LakeCorrupt, match=r"checksum|CRC"):
        list(lake.read("yellow", MONTH, "trips"))


def test_a_file_with_other_rows_than_the_manifest_names_is_refused(lake: Lake, lake_uri: str) -> None:
    made = publish(lake, {"trips": rows("trips", 50)})
    told = json.loads(encode(made))
    told["files"][0]["rows"] = told["trips"] = told["rows_in"] = 51
    Folder(lake_uri).write(MANIFEST, json.dumps(told).encode())
    with pytest.raises(LakeCorrupt, match="50 rows where the manifest names 51"):
        whole(lake)


def test_a_file_of_another_kind_is_refused(lake: Lake) -> None:
    entry = lake.stage("yellow", MONTH, name()).write("kpis", 0, KPIS)
    lake.commit(manifest((FileEntry("trips", entry.path, entry.rows, entry.bytes, entry.sha256),)))
    with pytest.raises(LakeCorrupt, match="has no column trip_id"):
        whole(lake)


@pytest.mark.parametrize("data", [b"", b"{}", b"<Error/>", encode(manifest(()))[:-9]])
def test_a_manifest_that_cannot_be_read_is_named(lake: Lake, lake_uri: str, data: bytes) -> None:
    publish(lake, everything())
    Folder(lake_uri).write(MANIFEST, data)
    for look in (lambda: lake.manifest("yellow", MONTH), lake.manifests, lambda: lake.read("yellow", MONTH, "trips")):
        with pytest.raises(LakeCorrupt, match=f"{MANIFEST} is damaged: it is no manifest"):
            look()


def test_a_manifest_in_the_wrong_month_is_refused(lake: Lake, lake_uri: str) -> None:
    made = publish(lake, everything())
    Folder(lake_uri).write("yellow/2019-02/manifest.json", encode(made))
    with pytest.raises(LakeCorrupt, match=r"2019-02/manifest\.json is damaged: it is of yellow 2019-01"):
        lake.manifest("yellow", Month(2019, 2))


def test_a_month_written_by_a_later_version_is_refused(lake: Lake, lake_uri: str) -> None:
    made = publish(lake, everything())
    Folder(lake_uri).write(MANIFEST, json.dumps(json.loads(encode(made)) | {"format": 2, "new": 1}).encode())
    with pytest.raises(LakeTooNew, match="has format 2"):
        lake.manifest("yellow", MONTH)


def test_only_the_schema_of_its_kind_is_written(lake: Lake) -> None:
    attempt = lake.stage("yellow", MONTH, name())
    with pytest.raises(ValueError, match="trips has the columns"):
        attempt.write("trips", 0, rows("quarantine", 5))
    with pytest.raises(ValueError, match="'mine' is no name of an attempt"):
        lake.stage("yellow", MONTH, "mine")


def test_a_sweep_removes_what_no_manifest_names_and_nothing_else(lake: Lake, lake_uri: str) -> None:
    publish(lake, everything(1), 1)
    stage(lake, everything(2), 2)
    made = publish(lake, everything(3), 3)
    stage(lake, everything(4), 4, month=Month(2019, 2))
    strays = Folder(lake_uri)
    strays.write(f"yellow/{MONTH}/{name(3)}/trips-00099.parquet", b"of a retry")
    for other in ("notes/file", "99999999T999999Z-a/file", "notes.txt"):
        strays.write(f"yellow/{MONTH}/{other}", b"somebody's")
    swept = lake.sweep(DAY, now=BEGAN + 2 * DAY)
    assert swept.left_alone == ()
    assert swept.removed == (
        f"yellow/{MONTH}/{name(1)}",
        f"yellow/{MONTH}/{name(2)}",
        f"yellow/{MONTH}/{name(3)}/trips-00099.parquet",
        f"yellow/2019-02/{name(4)}",
    )
    assert attempts(lake_uri) == [name(3), "99999999T999999Z-a", "notes"]
    assert attempts(lake_uri, Month(2019, 2)) == []
    assert lake.manifests() == [made]
    for kind in KINDS:
        assert whole(lake, kind).equals(everything(3)[kind])
    assert lake.sweep(DAY, now=BEGAN + 2 * DAY).removed == ()


def test_a_sweep_spares_a_job_at_work_and_the_readers_of_the_month_before(lake: Lake, lake_uri: str) -> None:
    publish(lake, everything(1), 1)
    later = BEGAN + 3 * DAY
    replaced = publish(lake, everything(2), 2, written_at=later)
    assert lake.sweep(DAY, now=later + DAY / 2).removed == ()
    at_work = lake.stage("yellow", MONTH, name(3, began=later + DAY))
    entry = at_work.write("trips", 0, rows("trips", 4))
    assert lake.sweep(DAY, now=later + 1.5 * DAY).removed == (f"yellow/{MONTH}/{name(1)}",)
    assert lake.manifests() == [replaced]
    lake.commit(manifest((entry,)))
    assert whole(lake).equals(rows("trips", 4))


def test_a_sweep_leaves_months_alone_that_it_cannot_read(lake: Lake, lake_uri: str) -> None:
    publish(lake, everything(1), 1)
    publish(lake, everything(2), 2)
    stage(lake, everything(3), 3, month=Month(2019, 2))
    Folder(lake_uri).write(MANIFEST, b"{")
    swept = lake.sweep(DAY, now=BEGAN + 2 * DAY)
    assert swept.removed == (f"yellow/2019-02/{name(3)}",)
    assert [type(fault) for fault in swept.left_alone] == [LakeCorrupt]
    assert attempts(lake_uri) == [name(1), name(2)]


def test_an_empty_lake_is_no_error(lake: Lake) -> None:
    assert lake.manifests() == []
    assert lake.manifest("yellow", MONTH) is None
    assert lake.sweep(DAY, now=BEGAN).removed == ()


def test_a_relative_path_means_the_same_in_every_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    lake = Lake("lake")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    publish(lake, everything())
    assert Lake(tmp_path / "lake").manifests() == lake.manifests() != []


def test_commits_and_files_are_on_the_disk_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    steps: list[tuple[str, str]] = []
    sync, replace = os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda fd: (steps.append(("sync", os.readlink(f"/proc/self/fd/{fd}"))), sync(fd)))
    monkeypatch.setattr(os, "replace", lambda a, b: (steps.append(("rename", os.fspath(b))), replace(a, b)))
    publish(Lake(tmp_path), {"trips": rows("trips", 3), "quarantine": rows("quarantine", 3)})
    month = f"{tmp_path}/yellow/{MONTH}"
    told = [(step, _plain(path)) for step, path in steps if path.startswith(str(tmp_path))]
    folders = [("sync", str(tmp_path / "yellow")), ("sync", str(tmp_path))]
    assert told == [
        ("sync", f"{month}/{name()}/trips-00000.parquet"),
        ("rename", f"{month}/{name()}/trips-00000.parquet"),
        ("sync", f"{month}/{name()}/quarantine-00000.parquet"),
        ("rename", f"{month}/{name()}/quarantine-00000.parquet"),
        *[("sync", f"{month}/{name()}"), ("sync", month), *folders],
        ("sync", f"{month}/{name()}/manifest.json"),
        ("rename", f"{month}/manifest.json"),
        *[("sync", month), *folders],
    ]


def _plain(path: str) -> str:
    """The name that a partial file is going to have."""
    folder, _, file = path.rpartition("/")
    if not file.endswith(".partial"):
        return path
    return f"{folder}/{'.'.join(file.split('.')[1:3])}"


def _harm(folder: Folder, entry: FileEntry, harm: str) -> None:
    data = folder.read(entry.path)
    assert data is not None
    if harm == "gone":
        folder.remove(entry.path)
    else:
        harmed = {"shorter": data[:-1], "longer": data + b"\0", "no Parquet": bytes(len(data))}
        folder.write(entry.path, harmed[harm])
