"""Without a terminal, progress is lines: each step's end, and now and then how far the others are."""

import pytest

from chillflow.progress import Reporter


def test_a_log_is_told_how_far_the_steps_are(capsys: pytest.CaptureFixture[str]) -> None:
    with Reporter(every=0) as reporter:
        reporter.begin("yellow 2019-01", "curate", 4)
        reporter.begin("yellow 2019-02", "curate", 8)
        reporter.advance("yellow 2019-01")
        reporter.reach("yellow 2019-02", 2, 8)
        reporter.advance("yellow 2019-01", 3)
        reporter.end("yellow 2019-01")
        reporter.advance("yellow 2019-02", 6)
    assert capsys.readouterr().err.splitlines() == [
        "yellow 2019-01 curate: 25 %",
        "yellow 2019-01 curate: 25 %",
        "yellow 2019-02 curate: 25 %",
        "yellow 2019-02 curate: 25 %",
    ]


def test_it_is_told_now_and_then_only(capsys: pytest.CaptureFixture[str]) -> None:
    with Reporter(every=3600) as reporter:
        reporter.begin("yellow 2019-01", "curate", 1000)
        for _ in range(1000):
            reporter.advance("yellow 2019-01")
    assert capsys.readouterr().err == ""


def test_a_step_that_tells_of_itself_is_not_told_of(capsys: pytest.CaptureFixture[str]) -> None:
    with Reporter(every=0) as reporter:
        reporter.begin("yellow 2019-01", "replay", 4, quiet=True)
        reporter.advance("yellow 2019-01")
        reporter.begin("yellow 2019-02", "curate", 4)
        reporter.advance("yellow 2019-02")
    assert capsys.readouterr().err.splitlines() == ["yellow 2019-02 curate: 25 %"]
