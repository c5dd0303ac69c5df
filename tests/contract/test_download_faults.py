"""Downloads from a site that fails: cut connections, refusals, throttling, silence."""

import re
import socket
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import pytest

from chillflow.download import Pace, fetch_month
from chillflow.errors import DownloadFailed, MonthUnpublished, Throttled
from chillflow.months import Month
from chillflow.stores.sources import SIDECAR, stat
from tests.download_samples import BROKEN, DATA, DROPPED, NAME, NEWER, SURE, Download, download
from tests.fix_site import FORBIDDEN, OK, Answer, Site, site

__all__ = ["download", "site"]


class TestResuming:
    """A connection that ends before the file does."""

    @pytest.mark.parametrize("ending", ["closed", "reset"])
    def test_the_next_try_goes_on_where_it_ended(self, download: Download, site: Site, ending: str) -> None:
        site.script[NAME] = [Answer(cut=300_000, ending=ending)]
        download()
        first, second = site.asked(NAME)
        assert first.range is None
        begin = re.fullmatch(r"bytes=(\d+)-", second.range or "")
        assert begin
        assert 0 < int(begin[1]) <= 300_000
        assert second.headers["If-Range"] == site.etag(NAME)
        assert download.is_done()
        assert download.waits == [1.0]

    def test_the_next_run_goes_on_where_the_last_ended(self, download: Download, site: Site) -> None:
        site.script[NAME] = [DROPPED, BROKEN, BROKEN, BROKEN]
        download.fails(DownloadFailed, "tried 4 times: the server answers 500 Internal Server Error; .* goes on")
        size = download.part.stat().st_size
        assert 0 < size <= 300_000
        assert not download.target.exists()
        download()
        assert download.ranges[-1] == f"bytes={size}-"
        assert download.is_done()

    def test_a_silent_server_is_left_and_asked_again(self, download: Download, site: Site) -> None:
        download.reads = 0.3
        site.script[NAME] = [Answer(cut=300_000, ending="silent"), Answer(status=500, ending="silent", claimed=10)]
        download()
        assert None not in download.ranges[1:]
        assert download.is_done()

    def test_a_server_that_stays_silent_is_named(self, download: Download, site: Site) -> None:
        download.reads = 0.1
        site.always = Answer(cut=0, ending="silent")
        download.fails(DownloadFailed, "tried 4 times: the server fell silent")
        assert download.left == set()

    def test_a_file_that_changed_in_between_is_begun_again(self, download: Download, site: Site) -> None:
        site.script[NAME] = [DROPPED, BROKEN, BROKEN, BROKEN]
        download.fails(DownloadFailed, "500")
        site.files[NAME] = NEWER
        download()
        assert download.is_done(NEWER)
        assert stat(download.target).etag == site.etag(NAME)

    def test_even_if_the_server_does_not_check(self, download: Download, site: Site) -> None:
        site.script[NAME] = [DROPPED, BROKEN, BROKEN, BROKEN]
        download.fails(DownloadFailed, "500")
        site.files[NAME] = NEWER
        site.script[NAME] = [Answer(checks_if_range=False)]
        download()
        assert download.ranges[-2:] == [download.ranges[-2], None]
        assert download.is_done(NEWER)

    def test_even_if_it_is_shorter_than_the_part_now(self, download: Download, site: Site) -> None:
        site.script[NAME] = [DROPPED, BROKEN, BROKEN, BROKEN]
        download.fails(DownloadFailed, "500")
        site.files[NAME] = NEWER[:100_000] + b"PAR1"
        site.always = Answer(checks_if_range=False)
        download()
        assert download.is_done(NEWER[:100_000] + b"PAR1")

    def test_a_file_that_came_back_to_what_is_here_leaves_no_part(self, download: Download, site: Site) -> None:
        download()
        site.files[NAME] = NEWER
        site.script[NAME] = [DROPPED, BROKEN, BROKEN, BROKEN]
        download.fails(DownloadFailed, "500")
        site.files[NAME] = DATA
        assert download().seconds is None
        assert download.is_done()

    def test_tries_count_only_while_nothing_comes(self, download: Download, site: Site) -> None:
        site.script[NAME] = [Answer(cut=70_000) for _ in range(5)]
        download()
        assert len(download.waits) == 5
        assert download.is_done()

    def test_a_server_without_ranges_sends_all_of_it_again(self, download: Download, site: Site) -> None:
        site.script[NAME] = [DROPPED, Answer(ranges=False)]
        download()
        assert download.ranges[1] is not None
        assert download.is_done()

    def test_a_date_serves_where_the_etag_is_weak(self, download: Download, site: Site) -> None:
        site.etags = False
        site.headers = {"ETag": 'W/"1"', "Last-Modified": "Fri, 01 Mar 2019 12:00:00 GMT"}
        site.script[NAME] = [DROPPED]
        download()
        assert site.asked(NAME)[1].headers["If-Range"] == "Fri, 01 Mar 2019 12:00:00 GMT"
        assert download.is_done()

    def test_what_cannot_be_told_apart_is_not_joined(self, download: Download, site: Site) -> None:
        site.etags, site.headers = False, {}
        site.script[NAME] = [DROPPED]
        download()
        assert download.ranges == [None, None]
        assert download.is_done()

    def test_a_part_of_another_address_is_not_joined(self, download: Download, site: Site) -> None:
        site.script[NAME] = [DROPPED, BROKEN, BROKEN, BROKEN]
        download.fails(DownloadFailed, "500")
        download(url=f"{site.url}/mirror/")
        assert download.ranges[-1] is None
        assert download.is_done()

    def test_a_file_that_always_ends_early_is_given_up(self, download: Download, site: Site) -> None:
        site.always = Answer(cut=100_000, ranges=False)
        download.fails(DownloadFailed, "tried 4 times: the connection was cut")
        assert len(site.asked(NAME)) == 4


class TestRefusals:
    """403, 404, 429, 5xx."""

    def test_an_unpublished_month_is_told_from_a_throttled_one(self, download: Download, site: Site) -> None:
        del site.files[NAME]
        download.fails(MonthUnpublished, "is not published; months appear about two months late")
        assert (download.waits, download.left) == ([], set())
        assert [request.range for request in site.asked(SURE)] == ["bytes=0-3"]

    def test_a_missing_month_is_unpublished(self, download: Download, site: Site) -> None:
        site.script[NAME] = [Answer(404)]
        download.fails(MonthUnpublished, "is not published")

    def test_throttling_passes(self, download: Download, site: Site) -> None:
        site.script[NAME] = [FORBIDDEN, FORBIDDEN]
        site.script[SURE] = [FORBIDDEN, FORBIDDEN]
        download()
        assert download.waits == [1.0, 2.0]
        assert download.is_done()

    def test_throttling_that_stays_is_named(self, download: Download, site: Site) -> None:
        site.always = FORBIDDEN
        download.fails(Throttled, "refused 4 times .*403 Forbidden, to other months too.* in some minutes")
        assert download.waits == [1.0, 2.0, 4.0]

    def test_the_sure_month_is_compared_with_another(self, site: Site, tmp_path: Path) -> None:
        site.files = {"green_tripdata_2019-02.parquet": DATA}
        with pytest.raises(MonthUnpublished):
            fetch_month(site.url, "green", Month(2019, 1), tmp_path)

    @pytest.mark.parametrize("status", [408, 500, 502, 503, 504])
    def test_a_servers_trouble_passes(self, download: Download, site: Site, status: int) -> None:
        site.script[NAME] = [Answer(status), Answer(status), OK]
        download()
        assert download.waits == [1.0, 2.0]
        assert download.is_done()

    @pytest.mark.parametrize("status", [429, 503, 403])
    def test_the_server_says_how_long_to_wait(self, download: Download, site: Site, status: int) -> None:
        soon = format_datetime(datetime.now(UTC) + timedelta(seconds=100), usegmt=True)
        site.script[SURE] = [FORBIDDEN, FORBIDDEN, FORBIDDEN]
        site.script[NAME] = [Answer(status, headers={"Retry-After": text}) for text in ("7", soon, "soon")]
        download()
        assert (download.waits[0], download.waits[2]) == (7.0, 4.0)
        assert 90 < download.waits[1] <= 100
        assert download.is_done()

    def test_nobody_waits_for_an_hour(self, download: Download, site: Site) -> None:
        site.always = Answer(429, headers={"Retry-After": "3600"})
        download.fails(Throttled, "refused once .*429 Too Many Requests")
        assert download.waits == []

    def test_other_refusals_are_not_tried_again(self, download: Download, site: Site) -> None:
        site.always = Answer(401)
        download.fails(DownloadFailed, "tried once: the server answers 401 Unauthorized; check the address")
        assert len(site.requests) == 1

    def test_waits_differ_by_chance(self) -> None:
        luck = iter([0.0, 1.0, 0.5, 0.5])
        pace = Pace(first_wait=2.0, longest_backoff=10.0, dice=lambda: next(luck))
        assert [pace.backoff(failures) for failures in (1, 1, 2, 9)] == [1.0, 2.0, 3.0, 7.5]


class TestNoSite:
    def test_a_closed_port_is_named(self, download: Download) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        with pytest.raises(DownloadFailed, match="tried 4 times: the connection was refused or cut"):
            download(url=f"http://127.0.0.1:{port}")
        assert download.waits == [1.0, 2.0, 4.0]

    @pytest.mark.parametrize("url", ["http://", "http://127.0.0.1:port/"])
    def test_a_broken_address_is_not_tried_again(self, download: Download, url: str) -> None:
        with pytest.raises(DownloadFailed, match="tried once"):
            download(url=url)
        assert download.waits == []

    def test_a_password_is_never_shown(self, download: Download, site: Site) -> None:
        url = site.url.replace("http://", "http://me:hush@")
        download(url=url)
        assert site.asked(NAME)[0].headers["Authorization"].startswith("Basic ")
        assert "hush" not in (download.folder / f"{NAME}{SIDECAR}").read_text()
        assert download(url=url).seconds is None
        site.always = Answer(401)
        with pytest.raises(DownloadFailed) as caught:
            download(url=url)
        assert "hush" not in str(caught.value)
