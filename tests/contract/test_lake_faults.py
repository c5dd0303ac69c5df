"""A storage that refuses: one clear sentence with the remedy, and the month before stays as it was."""

import contextlib
import errno
import os
import resource
import socket
import subprocess
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from chillflow.errors import LakeUnavailable
from chillflow.stores.folders import diagnose, shown
from chillflow.stores.lake import Lake
from tests.fix_s3 import S3Server
from tests.lake_samples import MONTH, manifest, name, publish, rows, stage

NOBODY = 65534


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 1 MB."""
    folder = tmp_path / "small disk"
    folder.mkdir()
    mounting = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(mounting, capture_output=True).returncode != 0:
        pytest.skip("only root may mount a small disk")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


@pytest.fixture
def plain_user() -> Iterator[None]:
    """This process without root's rights."""
    user = os.geteuid()
    if user == 0:
        os.seteuid(NOBODY)
    yield
    os.seteuid(user)


@pytest.fixture
def file_size_limit() -> Iterator[None]:
    """No file may grow past 64 kB."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (65_536, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.fixture
def guarded_bucket(s3: S3Server, bucket: str) -> Iterator[str]:
    """A bucket on a server that asks for credentials it knows."""
    _let_in(s3, 0)
    yield bucket
    _let_in(s3, 1_000_000)


def _let_in(server: S3Server, requests: int) -> None:
    """How many requests the server takes from anybody."""
    url = f"http://{server.address}/moto-api/reset-auth"
    plain = {"Content-Type": "text/plain"}
    urllib.request.urlopen(urllib.request.Request(url, str(requests).encode(), plain, method="POST")).close()


def _fill(ballast: Path) -> None:
    with ballast.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while file.write(bytes(4096)):
            pass


def test_a_full_disk(small_disk: Path) -> None:
    lake = Lake(small_disk)
    before = publish(lake, {"trips": rows("trips", 100)}, 1)
    with pytest.raises(LakeUnavailable, match=r"trips-00000\.parquet: no space is left on the disk; make room"):
        stage(lake, {"trips": rows("trips", 20_000)}, 2)
    assert [path.name for path in small_disk.rglob("*") if path.is_file()] == ["manifest.json", "trips-00000.parquet"]
    assert lake.manifests() == [before]
    after = publish(lake, {"trips": rows("trips", 10)}, 2)
    assert lake.manifests() == [after]


def test_a_disk_that_fills_up_before_the_manifest(small_disk: Path) -> None:
    lake = Lake(small_disk)
    before = publish(lake, {"trips": rows("trips", 100)}, 1)
    made = manifest(stage(lake, {"trips": rows("trips", 100)}, 2))
    _fill(small_disk / "ballast")
    with pytest.raises(LakeUnavailable, match=r"manifest\.json: no space is left on the disk"):
        lake.commit(made)
    assert lake.manifests() == [before]
    (small_disk / "ballast").unlink()
    lake.commit(made)
    assert lake.manifests() == [made]


@pytest.mark.usefixtures("file_size_limit")
def test_a_file_size_limit(tmp_path: Path) -> None:
    with pytest.raises(LakeUnavailable, match=r"trips-00000\.parquet: a file would pass the size limit .*ulimit"):
        stage(Lake(tmp_path), {"trips": rows("trips", 5000)})
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_a_folder_without_the_right_to_write(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    lake = Lake(tmp_path / "lake")
    made = publish(lake, {"trips": rows("trips", 5)})
    folder = tmp_path / "lake" / "yellow" / str(MONTH) / name()
    folder.chmod(0)
    request.addfinalizer(lambda: folder.chmod(0o700))
    request.getfixturevalue("plain_user")
    with pytest.raises(LakeUnavailable, match="permission denied; give this user the right"):
        stage(lake, {"trips": rows("trips", 5)})
    with pytest.raises(LakeUnavailable, match="permission denied; give this user the right"):
        list(lake.read_file(made.files[0]))


def test_a_file_where_a_folder_should_be(tmp_path: Path) -> None:
    (tmp_path / "lake").write_text("mine")
    lake = Lake(tmp_path / "lake")
    for act in (lambda: stage(lake, {"trips": rows("trips", 5)}), lake.manifests, lambda: lake.manifest("a", MONTH)):
        with pytest.raises(LakeUnavailable, match="a part of its path is a file, not a folder; choose another"):
            act()


def test_a_missing_bucket(s3: S3Server) -> None:
    lake = Lake(s3.uri("never-made/lake"))
    for act in (lambda: stage(lake, {"trips": rows("trips", 5)}), lake.manifests, lambda: lake.manifest("a", MONTH)):
        with pytest.raises(LakeUnavailable, match="the bucket does not exist; create it") as caught:
            act()
        assert "hush" not in str(caught.value)


def test_wrong_credentials(s3: S3Server, guarded_bucket: str) -> None:
    lake = Lake(s3.uri(f"{guarded_bucket}/lake", "intruder:guess"))
    for act in (lambda: stage(lake, {"trips": rows("trips", 5)}), lake.manifests, lambda: lake.manifest("a", MONTH)):
        with pytest.raises(LakeUnavailable, match=r"(access denied|access key is unknown); check AWS_") as caught:
            act()
        assert "guess" not in str(caught.value)


def test_a_storage_that_does_not_answer() -> None:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        port = held.getsockname()[1]
        lake = Lake(f"s3://a:hush@bucket/lake?endpoint_override=127.0.0.1:{port}&scheme=http&region=us-east-1")
        with pytest.raises(LakeUnavailable, match="does not answer; check the network") as caught:
            lake.manifest("yellow", MONTH)
    assert "hush" not in str(caught.value)


@pytest.mark.parametrize("uri", ["ftp://host/lake", "s3://", "s3://a b/c", "s3://bucket/lake?colour=red"])
def test_a_uri_that_no_filesystem_has(uri: str) -> None:
    with pytest.raises(LakeUnavailable, match=r"write a path, file:///path, s3://bucket/prefix or gs://bucket"):
        Lake(uri).manifests()


@pytest.mark.parametrize(
    ("uri", "words"),
    [
        ("/data/a lake", "/data/a lake"),
        ("file:///data/a%20lake", "file:///data/a lake"),
        ("s3://key:se%2Fcret@bucket/a%20b?endpoint_override=x&scheme=http", "s3://bucket/a b"),
        ("gs://anonymous@bucket/x", "gs://bucket/x"),
    ],
)
def test_a_place_is_shown_without_its_secrets(uri: str, words: str) -> None:
    assert shown(uri) == words
    assert repr(Lake(uri)) == f"Lake({words!r})"


def test_faults_nobody_thought_of_still_say_what_they_are() -> None:
    assert diagnose(OSError(errno.EMFILE, "..")) == ("Too many open files", "check the disk and the path")
    odd = OSError("When reading: AWS Error TEAPOT during GetObject operation: short and stout")
    assert diagnose(odd) == (
        "the storage says TEAPOT",
        "check the network and the endpoint_override in the URI, and run again",
    )
    assert diagnose(OSError("Couldn't deserialize thrift")) is None
