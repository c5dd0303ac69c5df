"""Downloads: what arrives, what is verified, what is not fetched again, and the disk it goes to."""

import errno
import fcntl
import hashlib
import json
import os
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from chillflow.download import Watcher, fetch_month
from chillflow.errors import DownloadBusy, DownloadFailed, FolderUnwritable
from chillflow.partial import Partial
from chillflow.stores.sources import SIDECAR, stat
from tests.download_samples import DATA, DROPPED, MONTH, NAME, NEWER, Download, download
from tests.fix_site import Answer, Site, site

__all__ = ["download", "site"]


def test_a_month_arrives_whole_with_a_note_of_its_origin(download: Download, site: Site) -> None:
    fetched = download()
    assert fetched.seconds is not None
    assert download.is_done()
    note = json.loads((download.folder / f"{NAME}{SIDECAR}").read_bytes())
    moment = datetime.fromisoformat(note.pop("fetched"))
    assert timedelta() <= datetime.now(UTC) - moment < timedelta(minutes=5)
    assert note == {
        "url": f"{site.url}/{NAME}",
        "size": len(DATA),
        "etag": site.etag(NAME),
        "last_modified": "Fri, 01 Mar 2019 12:00:00 GMT",
        "sha256": hashlib.sha256(DATA).hexdigest(),
    }
    facts = stat(download.target)
    assert (facts.url, facts.etag, facts.sha256) == (note["url"], note["etag"], note["sha256"])


def test_the_watcher_is_told_of_every_byte_and_every_wait(download: Download, site: Site) -> None:
    class Witness(Watcher):
        def __init__(self) -> None:
            self.seen: list[tuple[int, int | None]] = []
            self.waited: list[tuple[float, str]] = []

        def moved(self, done: int, total: int | None) -> None:
            self.seen.append((done, total))

        def waits(self, seconds: float, why: str) -> None:
            self.waited.append((seconds, why))

    site.script[NAME] = [DROPPED]
    download(witness := Witness())
    assert witness.seen == sorted(witness.seen)
    assert witness.seen[-1] == (len(DATA), len(DATA))
    assert witness.waited == [(1.0, "the connection was cut")]


class TestAgain:
    """A month that was fetched before."""

    def test_nothing_comes_if_nothing_changed(self, download: Download, site: Site) -> None:
        download()
        before = download.target.stat().st_mtime_ns
        again = download()
        assert (again.size, again.seconds) == (len(DATA), None)
        assert site.asked(NAME)[-1].headers["If-None-Match"] == site.etag(NAME)
        assert download.target.stat().st_mtime_ns == before
        assert download.is_done()

    def test_a_file_that_changed_at_its_source_comes_again(self, download: Download, site: Site) -> None:
        download()
        site.files[NAME] = NEWER
        assert download().seconds is not None
        assert download.is_done(NEWER)
        assert stat(download.target).etag == site.etag(NAME)

    def test_a_file_that_was_changed_here_comes_again(self, download: Download) -> None:
        download()
        download.target.write_bytes(DATA[:1000])
        download()
        assert download.is_done()

    def test_a_file_of_unknown_origin_comes_again(self, download: Download) -> None:
        download.folder.mkdir()
        download.target.write_bytes(NEWER)
        download()
        assert download.is_done()

    def test_a_file_of_another_address_comes_again(self, download: Download, site: Site) -> None:
        download()
        assert download(url=f"{site.url}/mirror").seconds is not None
        assert stat(download.target).url == f"{site.url}/mirror/{NAME}"

    def test_a_file_stays_while_its_successor_is_damaged(self, download: Download, site: Site) -> None:
        download()
        site.files[NAME] = b"<html>sorry</html>"
        download.fails(DownloadFailed, "begins with b'<html>sorry")
        assert download.is_done()


class TestVerification:
    """A file counts only as a whole."""

    def test_a_length_that_is_too_short_is_noticed(self, download: Download, site: Site) -> None:
        site.script[NAME] = [Answer(claimed=200_000)]
        download()
        assert download.is_done()
        site.files[NAME], site.always = NEWER, Answer(claimed=200_000)
        download.fails(DownloadFailed, "it does not end as a Parquet file does")
        assert download.is_done()

    def test_a_length_that_is_too_long_is_noticed(self, download: Download, site: Site) -> None:
        site.always = Answer(claimed=len(DATA) + 5, ranges=False)
        download.fails(DownloadFailed, "the connection was cut")
        assert not download.target.exists()

    def test_a_page_under_the_files_name_is_noticed(self, download: Download, site: Site) -> None:
        page = Answer(body=b"<?xml version='1.0'?><Error>slow down</Error>")
        site.script[NAME] = [page]
        download()
        assert download.is_done()
        site.files[NAME], site.always = NEWER, page
        download.fails(DownloadFailed, r"no Parquet file, it begins with b\"<\?xml version='1.0'")
        assert download.is_done()

    @pytest.mark.parametrize("body", [b"", b"PAR1", b"PAR1PAR1"])
    def test_next_to_nothing_is_noticed(self, download: Download, site: Site, body: bytes) -> None:
        site.always = Answer(body=body)
        download.fails(DownloadFailed, "does not end as a Parquet file does")
        assert download.left == set()


class TestDisk:
    def test_a_full_disk_is_named(self, download: Download) -> None:
        download.folder.mkdir()
        download.part.symlink_to("/dev/full")
        download.fails(FolderUnwritable, "no space is left on the disk; free some space, or choose another folder")
        assert not download.target.exists()

    def test_a_folder_that_cannot_be_made_is_named(self, site: Site, tmp_path: Path) -> None:
        (tmp_path / "file").touch()
        with pytest.raises(FolderUnwritable, match="file/raw: not a directory"):
            fetch_month(site.url, "green", MONTH, tmp_path / "file" / "raw")

    @pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
    def test_a_protected_folder_is_named(self, download: Download) -> None:
        download.folder.mkdir(mode=0o500)
        download.fails(FolderUnwritable, os.strerror(errno.EACCES).lower())

    def test_a_download_has_its_part_for_itself(self, download: Download) -> None:
        with Partial(download.target):
            download.fails(DownloadBusy, "is being downloaded by another process")
        download()
        assert download.is_done()

    @pytest.mark.parametrize(
        "ends", [Path.unlink, lambda path: path.rename(path.with_name(NAME))], ids=["gone", "done"]
    )
    def test_a_part_that_another_process_ended_is_left_alone(
        self, download: Download, ends: Callable[[Path], object], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        lock = fcntl.flock

        def late(descriptor: int, how: int) -> None:
            ends(download.part)
            lock(descriptor, how)

        monkeypatch.setattr(fcntl, "flock", late)
        download.fails(DownloadBusy, "by another process")
