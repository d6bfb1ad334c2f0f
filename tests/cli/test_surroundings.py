"""The command in surroundings that its libraries do not expect: one sentence, or no difference."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.conftest import command_line, run_cli


def run_in_shell(line: str, *words: str, folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """``line`` is a line of bash in which "$@" is the command."""
    return subprocess.run(
        ["bash", "-c", line, "bash", *command_line(*words)],
        capture_output=True,
        text=True,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), **environment},
        timeout=300,
        check=False,
    )


def test_a_working_folder_that_was_deleted_is_named(tmp_path: Path) -> None:
    """MKL cannot be loaded there, and would end the process with words of its own."""
    done = run_in_shell('mkdir gone; cd gone; rmdir ../gone; "$@"', "config", "mueller_brown", folder=tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "Error: The working folder has been deleted; change to one that exists.\n"


@pytest.mark.parametrize(
    "words",
    [
        ("x" * 5000,),
        ("--" + "x" * 5000,),
        ("config", "mueller_brown", "--seed", "x" * 5000),
        ("config", "mueller_brown", "--denoiser", "x" * 5000),
        ("config", "x" * 5000),
    ],
)
def test_what_is_wrong_is_not_repeated_at_its_full_length(words: tuple[str, ...]) -> None:
    done = run_cli(*words)
    assert done.returncode in (1, 2)
    assert len(done.stderr.splitlines()[-1]) < 1000
    assert done.stderr.splitlines()[-1].startswith("Error: ")
    assert "xxx...xxx" in done.stderr or "xxx" not in done.stderr


def test_no_window_system_is_asked_for(tmp_path: Path) -> None:
    """Matplotlib refuses to be imported with a backend that it does not know."""
    done = run_in_shell('"$@"', "doctor", folder=tmp_path, MPLBACKEND="nonsense")
    assert done.returncode == 0, done.stderr


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize("words", [("--version",), ("--help",), ("config", "mueller_brown")])
def test_output_that_cannot_be_written_is_one_sentence(words: tuple[str, ...], tmp_path: Path) -> None:
    done = run_in_shell('"$@" > /dev/full', *words, folder=tmp_path)
    assert done.returncode == 1
    assert done.stderr.startswith("Error: The disk is full: a file or standard output could not be written; free some")
    assert done.stderr.count("\n") == 1
