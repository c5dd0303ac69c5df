"""The demo deletes what a demo made, and nothing else."""

from pathlib import Path

import pytest

from chillflow import demo
from chillflow.errors import DemoFailed


def test_files_that_are_not_the_demos_stay(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("dear")
    with pytest.raises(DemoFailed, match="holds files that are not the demo's"):
        demo._make_room(tmp_path)
    assert (tmp_path / "mine").read_text() == "dear"


def test_a_new_folder_is_the_demos(tmp_path: Path) -> None:
    demo._make_room(tmp_path / "demo")
    assert [entry.name for entry in (tmp_path / "demo").iterdir()] == [demo.MARK]
