"""Source files in folders and buckets: facts, listing, reading."""

import datetime as dt
import hashlib
import json
import os
from pathlib import Path

import pytest

from chillflow.errors import SourceError, SourceMissing, SourceUnreadable
from chillflow.jobs.parts import Work
from chillflow.jobs.plan import plan_month
from chillflow.months import Month
from chillflow.stores.folders import Folder
from chillflow.stores.lake import Lake
from chillflow.stores.sources import SIDECAR, checksum, list_files, open_input, stat
from tests.fix_s3 import S3Server
from tests.tlc_samples import MODERN, parquet, published

FILE = "yellow_tripdata_2019-01.parquet"
DATA = b"PAR1" + bytes(range(256)) * 40 + b"PAR1"
NOON = 1_750_000_000


@pytest.fixture
def folder_uri(lake_uri: str) -> str:
    """A folder with one source file in it, and other things."""
    folder = Folder(lake_uri)
    folder.write(FILE, DATA)
    folder.write("readme.txt", b"mine")
    folder.write("deeper/other.parquet", b"PAR1")
    return lake_uri


def within(folder: str, name: str) -> str:
    path, mark, query = folder.partition("?")
    return f"{path}/{name}{mark}{query}"


def test_a_folder_lists_its_files_so_that_they_open(folder_uri: str) -> None:
    assert list_files(folder_uri) == [within(folder_uri, FILE)]
    with open_input(list_files(folder_uri)[0]) as file:
        assert file.read() == DATA


def test_a_file_has_size_time_and_checksum(folder_uri: str) -> None:
    uri = within(folder_uri, FILE)
    facts = stat(uri)
    assert facts.size == len(DATA)
    assert facts.modified is not None
    assert facts.modified.tzinfo is dt.UTC
    assert facts.path.endswith(f"of trips/{FILE}")
    assert "hush" not in facts.path
    assert checksum(uri) == hashlib.sha256(DATA).hexdigest()


def test_an_object_has_an_etag_of_its_content(s3: S3Server, bucket: str) -> None:
    for name, data in {"a": DATA, "b": DATA, "c": DATA[::-1]}.items():
        Folder(s3.uri(bucket)).write(name, data)
    tags = [stat(s3.uri(f"{bucket}/{name}")).etag for name in "abc"]
    assert tags[0] == tags[1] == hashlib.md5(DATA).hexdigest() != tags[2]


def test_a_missing_file_is_named_with_the_remedy(folder_uri: str) -> None:
    uri = within(folder_uri, "yellow_tripdata_2019-02.parquet")
    for look in (open_input, stat, checksum, list_files):
        with pytest.raises(SourceMissing, match=r"2019-02\.parquet does not exist; fetch it with") as caught:
            look(uri)
        assert "hush" not in str(caught.value)


def test_a_folder_is_no_file_and_a_file_no_folder(folder_uri: str) -> None:
    with pytest.raises(SourceUnreadable, match="deeper cannot be read: it is a folder; name the file in it"):
        open_input(within(folder_uri, "deeper"))


def test_a_missing_bucket_is_named(s3: S3Server) -> None:
    with pytest.raises(SourceUnreadable, match="s3://never-made/x cannot be read: the bucket does not exist"):
        list_files(s3.uri("never-made/x"))


def test_an_unreadable_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(DATA)
    with pytest.raises(SourceUnreadable, match="file, not a folder"):
        list_files(tmp_path / "file")
    with pytest.raises(SourceUnreadable, match="Arrow cannot open it"):
        stat("ftp://host/file.parquet")


NOTE = {"url": "https://city/f.parquet", "size": len(DATA), "etag": '"e1"', "sha256": "a" * 64, "last_modified": "?"}


class TestNoteOfOrigin:
    """The note that a download leaves beside its file."""

    def noted(self, folder: Path, note: bytes, age: int = 0) -> Path:
        file = folder / FILE
        file.write_bytes(DATA)
        (folder / f"{FILE}{SIDECAR}").write_bytes(note)
        os.utime(file, (NOON, NOON))
        os.utime(f"{file}{SIDECAR}", (NOON - age, NOON - age))
        return file

    def test_it_tells_etag_url_and_checksum(self, tmp_path: Path) -> None:
        facts = stat(self.noted(tmp_path, json.dumps(NOTE).encode()))
        assert (facts.etag, facts.url, facts.sha256) == ('"e1"', "https://city/f.parquet", "a" * 64)
        assert facts.modified == dt.datetime.fromtimestamp(NOON, dt.UTC)

    def test_it_is_no_source_file_itself(self, tmp_path: Path) -> None:
        file = self.noted(tmp_path, json.dumps(NOTE).encode())
        assert list_files(tmp_path) == [str(file)]

    @pytest.mark.parametrize(
        ("note", "age"),
        [
            (b"", 0),
            (b"[]", 0),
            (b"\xff", 0),
            (json.dumps(NOTE | {"size": 5}).encode(), 0),
            (json.dumps(NOTE | {"etag": 7}).encode(), 0),
            (json.dumps(NOTE).encode(), 1),
        ],
        ids=["empty", "a list", "no text", "other size", "other type", "older than the file"],
    )
    def test_it_counts_only_if_it_is_of_this_very_file(self, tmp_path: Path, note: bytes, age: int) -> None:
        facts = stat(self.noted(tmp_path, note, age))
        assert (facts.size, facts.etag, facts.url, facts.sha256) == (len(DATA), None, None, None)


def test_a_month_in_a_store_is_read_without_telling_its_credentials(s3: S3Server, bucket: str) -> None:
    month = Month(2019, 3)
    table = published(MODERN)
    Folder(s3.uri(bucket)).write("yellow_tripdata_2019-03.parquet", parquet(table))
    plan = plan_month(s3.uri(bucket), "yellow", month, stat(s3.uri(f"{bucket}/yellow_tripdata_2019-03.parquet")))
    work = Work.of(plan, (0,), Lake("nowhere").stage("yellow", month, "20190101T000000Z-a"), {})
    assert sum(len(raw) for _, raw in work.read()) == len(table)

    for name in ("fare_amount", "tpep_pickup_datetime"):
        Folder(s3.uri(bucket)).write("yellow_tripdata_2019-03.parquet", parquet(table.drop_columns([name])))
        with pytest.raises(SourceError) as caught:
            next(work.read())
        assert f"s3://{bucket}/yellow_tripdata_2019-03.parquet" in str(caught.value)
        with pytest.raises(SourceError) as again:
            plan_month(s3.uri(bucket), "yellow", month, plan.source)
        assert not any("hush" in str(error.value) for error in (caught, again))


def test_an_address_that_arrow_does_not_know_is_not_cited_with_its_credentials() -> None:
    for uri in ("s3://key:hush@bucket/x?endpoint_overide=a&secret=hush", "s4://key:hush@bucket/x", "s3://key:hush@/x"):
        with pytest.raises(SourceUnreadable) as caught:
            list_files(uri)
        assert "hush" not in str(caught.value)
