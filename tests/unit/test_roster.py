"""Whoever empties a machine waits for those who signed in there, and for nobody else."""

import multiprocessing
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

from chillflow.roster import PATIENCE, Roster


def test_who_signed_in_is_present_until_it_signs_off(tmp_path: Path) -> None:
    roster = Roster(tmp_path)
    assert roster.present() == set()
    roster.sign_in()
    assert Roster(tmp_path).present() == {os.getpid()}
    roster.sign_off()
    roster.sign_off()
    assert roster.present() == set()


def test_the_dead_are_not_waited_for(tmp_path: Path) -> None:
    child = multiprocessing.get_context("spawn").Process(target=Roster(tmp_path).sign_in)
    child.start()
    child.join(60)
    assert child.exitcode == 0
    assert Roster(tmp_path).present() == set()
    assert Roster(tmp_path).empty(60.0, print) == set()


def test_nobody_is_asked_to_leave_where_nobody_is(tmp_path: Path) -> None:
    assert Roster(tmp_path).empty(60.0, print) == set()
    assert not Roster(tmp_path).leaving()


def test_all_are_asked_to_leave_and_waited_for(tmp_path: Path) -> None:
    code = (
        "import sys, time; from pathlib import Path; from chillflow.roster import Roster\n"
        "roster = Roster(Path(sys.argv[1])); roster.sign_in(); print(flush=True)\n"
        "while not roster.leaving(): time.sleep(0.01)\n"
        "roster.sign_off(); sys.stdin.read()"
    )
    command = [sys.executable, "-c", code, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as working:
        assert working.stdout is not None
        working.stdout.readline()
        said: list[str] = []
        assert Roster(tmp_path).empty(60.0, said.append) == set()
        assert said == [f"1 asked to leave: {working.pid}"]
        assert working.poll() is None


def test_who_does_not_leave_is_named(tmp_path: Path) -> None:
    roster = Roster(tmp_path)
    roster.sign_in()
    assert roster.empty(0.3, print) == {os.getpid()}
    assert not roster.leaving()


def test_a_request_whose_process_was_killed_counts_for_a_while(tmp_path: Path) -> None:
    roster = Roster(tmp_path)
    roster.sign_in()
    request = tmp_path / socket.gethostname() / "leave"
    request.touch()
    assert roster.leaving()
    long_ago = time.time() - PATIENCE - 1
    os.utime(request, (long_ago, long_ago))
    assert not roster.leaving()


def test_a_folder_that_cannot_be_written_is_no_roster(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    roster = Roster(tmp_path / "file")
    roster.sign_in()
    assert roster.present() == set()
    assert not roster.leaving()
    roster.sign_off()
