"""Nothing is lost: what a run did not write stays, and what it wrote goes only when something better is there.

The stages here write one number each, so that a run takes no time.
"""

from __future__ import annotations

import errno
import json
import logging
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
import pytest

from spacetime_tps import files, ownership
from spacetime_tps.config import RunConfig
from spacetime_tps.errors import DamagedFileError, UserError
from spacetime_tps.files import read_arrays, read_json, write_arrays, write_json, write_text
from spacetime_tps.run_log import logged
from spacetime_tps.stages import STAGES, RunFolder, shoot
from spacetime_tps.stages.context import Context, Stage, StageResult, run_stages
from spacetime_tps.stages.folder import REPORT, SUMMARY
from spacetime_tps.stages.shoot import FOLDER, WORK, _take_the_place
from spacetime_tps.systems import find_system_file, load_config
from tests.conftest import refusal, run_cli

SYSTEM = find_system_file("mueller_brown")
OUTPUT = {
    "sample": "samples.npz", "train": "denoiser.npz", "geodesic": "geodesic.npz", "paths": "paths.npz",
    "windows": "windows.npz", "transitions": "shots.npz", "export": "paths.csv",
}  # fmt: skip
SETTINGS = ("--workers", "1", "--set", "reference=null")
OLD_RUN = Path(__file__).resolve().parent.parent / "data/run_of_version_0_1"


def stage(name: str, number: float, fail: Callable[[], None] = lambda: None) -> Stage:
    def run(context: Context) -> StageResult:
        context.make_room()
        if name == "export":
            write_text(context.folder / "figures/work.png", f"{number}")
            fail()
            write_text(context.folder / OUTPUT[name], f"{number}")
        else:
            fail()
            write_arrays(context.folder / OUTPUT[name], number=np.array(number))
        return StageResult({"number": number})

    return run


def conclude(context: Context) -> None:
    write_json(context.folder / SUMMARY, context.folder.record("export")["summary"])
    write_text(context.folder / REPORT, "report")


def config_of(seed: int = 0, *overrides: str) -> RunConfig:
    return load_config(SYSTEM, seed=seed, overrides=("hardware.workers=1", "reference=null", *overrides))


def run(
    out: Path, number: float = 1.0, seed: int = 0, overwrite: bool = False, last: str = "export", *more: str
) -> RunFolder:
    folder = RunFolder(out)
    names = [name for name in OUTPUT if STAGES.index(name) <= STAGES.index(last)]
    with folder.locked():
        stored = folder.begin(config_of(seed, *more), SYSTEM.parent, resume=not overwrite, overwrite=overwrite)
        run_stages(folder, stored, {name: stage(name, number) for name in names}, conclude, lambda _: None)
    return folder


@pytest.fixture(scope="module")
def made_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run(tmp_path_factory.mktemp("once") / "run").path


@pytest.fixture
def folder(made_once: Path, tmp_path: Path) -> RunFolder:
    """A finished run whose numbers are all 1."""
    return RunFolder(Path(shutil.copytree(made_once, tmp_path / "run")))


def again(folder: RunFolder, name: str, number: float, fail: Callable[[], None] = lambda: None) -> None:
    with folder.locked(existing=True):
        run_stages(folder, folder.config(), {name: stage(name, number, fail)}, conclude, lambda _: None, again=True)


def contents(folder: Path) -> dict[str, bytes]:
    skipped = {"run.log", ".lock", "files.txt"}
    found = (path for path in folder.rglob("*") if path.is_file() and path.name not in skipped)
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in found}


@contextmanager
def disk_full_at(monkeypatch: pytest.MonkeyPatch, name: str) -> Iterator[None]:
    def full(temporary: Path, path: Path) -> None:
        if path.name == name:
            raise OSError(errno.ENOSPC, "No space left on device")
        return move(temporary, path)

    move = files._move
    with monkeypatch.context() as patch:
        patch.setattr(files, "_move", full)
        yield


# --- what belongs to others ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("flag", ["--overwrite", "--resume", None])
@pytest.mark.parametrize("mine", ["notes.txt", "inputs/a.pdb", "figures/mine.png", ".partial-notes", "deep/.partial-x"])
def test_a_folder_of_others_is_left_as_it_is(mine: str, flag: str | None, tmp_path: Path) -> None:
    out = tmp_path / "home"
    (out / mine).parent.mkdir(parents=True)
    (out / mine).write_text("mine")
    (out / "other.txt").write_text("mine, too")
    run(out / "runs/a", last="sample")
    (out / "runs/a/.partial-of-somebody").write_text("x")
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*")}
    said = refusal("run", "mueller_brown", "-o", out, *([] if flag is None else [flag]))
    assert "holds files that no run wrote" in said
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*")} == before


def test_overwrite_leaves_the_files_of_others_within_a_run(folder: RunFolder) -> None:
    (folder / "inputs").mkdir()
    for name in ("figures/mine.png", "inputs/mine.pdb", "stages/mine.json", "notes.txt", ".partial-mine"):
        (folder / name).write_text("mine")
    run(folder.path, 2.0, overwrite=True, last="sample")
    for name in ("figures/mine.png", "inputs/mine.pdb", "stages/mine.json", "notes.txt", ".partial-mine"):
        assert (folder / name).read_text() == "mine"
    assert read_arrays(folder / "samples.npz")["number"] == 2.0
    for name in ("geodesic.npz", "summary.json", "figures/work.png", "stages/export.json", ".previous"):
        assert not (folder / name).exists()


def test_a_file_of_others_in_the_way_is_refused_and_kept(tmp_path: Path) -> None:
    folder = run(tmp_path / "run", last="transitions")
    (folder / "figures").mkdir()
    (folder / "figures/work.png").write_text("mine")
    with pytest.raises(UserError, match=r"figures/work.png was not written by this run"):
        again(folder, "export", 1.0)
    assert (folder / "figures/work.png").read_text() == "mine"
    (folder / "summary.json").write_text("mine")
    with folder.locked(), pytest.raises(UserError, match=r"summary.json was not written by this run"):
        folder.begin(config_of(), SYSTEM.parent, resume=False, overwrite=True)
    assert read_arrays(folder / "samples.npz")["number"] == 1.0


def test_nothing_is_written_or_deleted_through_a_link(folder: RunFolder, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    shutil.move(folder / "figures", elsewhere)
    (folder / "figures").symlink_to(elsewhere)
    before = contents(folder.path)
    with pytest.raises(UserError, match="figures is a link that leads out of the run folder"):
        again(folder, "export", 2.0)
    with pytest.raises(UserError, match="figures is a link that leads out of the run folder"):
        run(folder.path, 3.0, overwrite=True)
    assert (elsewhere / "work.png").read_text() == "1.0"
    assert contents(folder.path) == before


def test_names_in_the_ledger_do_not_lead_out(tmp_path: Path) -> None:
    folder = run(tmp_path / "run", last="sample")
    (tmp_path / "mine.txt").write_text("mine")
    with (folder / "files.txt").open("a") as handle:
        handle.write(f"../mine.txt\n{tmp_path / 'mine.txt'}\n")
    run(folder.path, overwrite=True, last="sample")
    assert (tmp_path / "mine.txt").read_text() == "mine"


def test_only_the_temporary_files_of_this_run_are_cleared_away(tmp_path: Path) -> None:
    folder = run(tmp_path / "run", last="sample")
    own = f".partial-{folder.identity()['run'][:12]}-killed.npz"
    others = [".partial-mine.npz", "stages/.partial-mine", "mine/.partial-mine", f"mine/{own}"]
    (folder / "mine").mkdir()
    for name in (own, f"stages/{own}", *others):
        (folder / name).write_text("x")
    run(folder.path, last="sample")
    assert not (folder / own).exists()
    assert not (folder / f"stages/{own}").exists()
    assert all((folder / name).exists() for name in others)


# --- what is replaced ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("full", ["work.png", "paths.csv", "export.json", SUMMARY, REPORT])
def test_a_full_disk_while_exporting_loses_nothing(
    full: str, folder: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = contents(folder.path)
    with disk_full_at(monkeypatch, full), pytest.raises(OSError, match="No space left on device") as raised:
        again(folder, "export", 2.0)
    assert Path(raised.value.filename).name == full
    assert contents(folder.path) == before
    again(folder, "export", 2.0)
    assert read_json(folder / SUMMARY) == {"number": 2.0}
    assert not (folder / ".previous").exists()


@pytest.mark.parametrize("name", ["train", "paths"])
def test_a_stage_that_fails_leaves_it_and_later_ones_as_they_were(name: str, folder: RunFolder) -> None:
    before = contents(folder.path)

    def fail() -> None:
        assert not (folder / SUMMARY).exists()
        raise UserError("cannot")

    with pytest.raises(UserError, match="cannot"):
        again(folder, name, 2.0, fail)
    assert contents(folder.path) == before
    again(folder, name, 2.0)
    assert read_arrays(folder / OUTPUT[name])["number"] == 2.0
    assert not (folder / SUMMARY).exists()
    assert not folder.finished("windows")


class Killed(BaseException):
    pass


@contextmanager
def killed_at(step: int, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Nothing is renamed any more after so many renames."""
    left = step

    def counting(source: Path, target: Path) -> None:
        nonlocal left
        left -= 1
        if left < 0:
            raise Killed
        rename(source, target)

    rename = os.replace
    with monkeypatch.context() as patch, suppress(Killed):
        patch.setattr(os, "replace", counting)
        yield


@pytest.mark.parametrize("step", range(40))
def test_a_kill_at_any_rename_leaves_the_old_results_or_the_new(
    step: int, folder: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever is not done after the kill includes all tidying up; the next command does it."""
    old = contents(folder.path)
    with killed_at(step, monkeypatch):
        again(folder, "paths", 2.0)
    with folder.locked(existing=True):
        pass
    assert not (folder / ".previous").exists()
    if folder.finished("export"):
        assert contents(folder.path) == old
    else:
        assert read_arrays(folder / "paths.npz")["number"] == 2.0
        folder.check()


def test_a_list_of_files_that_lost_its_end_costs_no_results(folder: RunFolder) -> None:
    """The stage's record is a stranger then, and would pass for that of the new results."""
    whole = (folder / "files.txt").read_text().splitlines(keepends=True)
    for kept in range(len(whole)):
        (folder / "files.txt").write_text("".join(whole[:kept]))
        before = contents(folder.path)
        try:
            again(folder, "paths", 1.0)
        except (UserError, DamagedFileError):
            assert contents(folder.path) == before
        else:
            folder.check()


@pytest.mark.parametrize("full", ["run.json", "config.yaml"])
def test_a_new_run_that_cannot_begin_leaves_the_old_one(
    full: str, folder: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = contents(folder.path)
    with disk_full_at(monkeypatch, full), pytest.raises(OSError, match="No space"):
        run(folder.path, 2.0, overwrite=True)
    assert contents(folder.path) == before
    folder.check()


def test_an_earlier_run_goes_with_the_first_result_of_the_new_one(folder: RunFolder) -> None:
    """Sampling that fails brings it back, its identity too; a later stage that fails does not."""

    def fail() -> None:
        assert not (folder / "paths.npz").exists()
        raise UserError("cannot")

    def anew(*stages: tuple[str, Callable[[], None]]) -> None:
        with folder.locked():
            stored = folder.begin(config_of(3), SYSTEM.parent, False, True, until="stages/sample.json")
            made = {name: stage(name, 3.0, end) for name, end in stages}
            run_stages(folder, stored, made, conclude, lambda _: None)

    before = contents(folder.path)
    with pytest.raises(UserError, match="cannot"):
        anew(("sample", fail))
    assert contents(folder.path) == before
    folder.check()
    with pytest.raises(UserError, match="cannot"):
        anew(("sample", lambda: None), ("train", fail))
    assert folder.config().seed == 3
    assert read_arrays(folder / "samples.npz")["number"] == 3.0
    assert not (folder / "paths.npz").exists()
    assert not (folder / ".previous").exists()


def test_a_run_whose_files_cannot_be_deleted_stays_whole(folder: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder that is read-only, found in the middle of moving files away."""
    before = contents(folder.path)

    def refusing(source: Path, target: Path) -> None:
        if Path(source).parent.name == "figures" and Path(target).parent.parent.name == ".previous":
            raise PermissionError(errno.EROFS, "Read-only file system", str(source))
        rename(source, target)

    rename = os.replace
    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", refusing)
        with pytest.raises(OSError, match="Read-only"):
            run(folder.path, 2.0, overwrite=True)
    assert contents(folder.path) == before
    run(folder.path, 1.0, last="export")
    run(folder.path, 2.0, overwrite=True)
    assert read_json(folder / SUMMARY) == {"number": 2.0}


# --- what is not as it was left --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [*OUTPUT.values(), "stages/train.json", "figures/work.png", "config.yaml"])
def test_one_flipped_bit_is_noticed(name: str, folder: RunFolder) -> None:
    raw = bytearray((folder / name).read_bytes())
    raw[len(raw) // 2] ^= 1
    (folder / name).write_bytes(raw)
    with pytest.raises(UserError, match=Path(name).name.replace(".", r"\.")):
        folder.check()
    assert Path(name).name in refusal("report", folder.path)
    assert Path(name).name in refusal("run", "mueller_brown", "-o", folder.path, "--resume", *SETTINGS)


@pytest.mark.parametrize("name", [*OUTPUT.values(), "stages/train.json", "summary.json", "config.yaml", "run.json"])
def test_a_file_of_another_run_of_the_same_shape_is_refused(name: str, folder: RunFolder, tmp_path: Path) -> None:
    other = run(tmp_path / "other", 2.0)
    shutil.copy(other / name, folder / name)
    with folder.locked(existing=True) if name != "run.json" else other.locked(), pytest.raises(UserError):  # noqa: PT012
        folder.check()
        read_json(folder / SUMMARY)


@pytest.mark.parametrize("names", [("paths.npz",), ("paths.npz", "stages/paths.json"), ("stages/paths.json",)])
def test_an_older_result_of_the_same_run_is_refused(names: tuple[str, ...], folder: RunFolder, tmp_path: Path) -> None:
    """The files of two runs with one identity: a copy whose geodesic and paths were made anew."""
    older = RunFolder(Path(shutil.copytree(folder.path, tmp_path / "older")))
    again(folder, "geodesic", 2.0)
    again(folder, "paths", 2.0)
    for name in names:
        shutil.copy(older / name, folder / name)
    with pytest.raises(DamagedFileError, match="paths"):
        folder.check()


def test_a_record_of_other_settings_is_refused(tmp_path: Path) -> None:
    folder = run(tmp_path / "run", last="windows")
    other = RunFolder(Path(shutil.copytree(folder.path, tmp_path / "other")))
    with other.locked(existing=True):
        config = other.changed("paths", ["paths.count=6"])
        run_stages(other, config, {"paths": stage("paths", 1.0)}, again=True, say=lambda _: None)
    shutil.copy(other / "config.yaml", folder / "config.yaml")
    with pytest.raises(DamagedFileError, match="other settings than the stage 'paths' ran with"):
        folder.check()


def test_changed_inputs_are_refused(tmp_path: Path) -> None:
    folder = run(tmp_path / "run", 1.0, 0, False, "sample", f"reference={SYSTEM.parent / 'reference.npz'}")
    (file,) = (folder / "inputs").iterdir()
    file.write_bytes(file.read_bytes() + b"x")
    with pytest.raises(UserError, match=r"inputs/reference.npz is missing or was changed"):
        folder.config()


# --- versions --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("flag", ["--resume", "--overwrite"])
def test_a_run_of_version_0_1_is_refused_and_kept(flag: str, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(OLD_RUN, tmp_path / "old"))
    before = contents(copy)
    for said in (refusal("run", "mueller_brown", "-o", copy, flag), refusal("report", copy), refusal("export", copy)):
        assert "was written by version 0.1 of spacetime_tps" in said
        assert said.count(". ") == 0
    assert contents(copy) == before


def test_a_run_of_a_later_version_is_refused_and_kept(tmp_path: Path) -> None:
    folder = run(tmp_path / "run", last="sample")
    identity = json.loads((folder / "run.json").read_text())
    (folder / "run.json").write_text(json.dumps(identity | {"spacetime_tps": "9.1", "format": 7}))
    before = contents(folder.path)
    for flag in ("--resume", "--overwrite"):
        said = refusal("run", "mueller_brown", "-o", folder.path, flag)
        assert "was written by version 9.1 of spacetime_tps in the format 7, and this version reads format 2" in said
    assert contents(folder.path) == before


# --- the log ---------------------------------------------------------------------------------------------------------


def test_the_log_says_what_was_done_by_what_and_when(tmp_path: Path) -> None:
    folder = run(tmp_path / "run", seed=7, last="sample")
    run_cli("report", folder.path)
    lines = (folder / "run.log").read_text().splitlines()
    assert all(line[:4].isdigit() and line[19] == "Z" for line in lines)
    text = "\n".join(lines)
    for part in ("versions python", "numpy", "machine ", "seed 7", "INFO    sample: 0 s", "ended by UserError"):
        assert part in text


def test_a_log_that_cannot_be_written_stops_nothing(caplog: pytest.LogCaptureFixture) -> None:
    with logged(Path("/dev/full")):
        logging.getLogger("spacetime_tps.test").warning("a line")
    with logged(Path("/no/such/folder/run.log")):
        logging.getLogger("spacetime_tps.test").warning("another")
    assert [record.message for record in caplog.records] == ["a line", "another"]


@pytest.mark.parametrize("name", ["run.log", "files.txt", ".lock", "run.json"])
def test_bookkeeping_is_not_written_through_a_link(name: str, folder: RunFolder, tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    mine.write_text((folder / name).read_text())
    before = mine.read_text()
    (folder / name).unlink()
    (folder / name).symlink_to(mine)
    assert f"{name} is not a file that this run wrote" in refusal("export", folder.path, "--overwrite")
    assert mine.read_text() == before
    (folder / name).unlink()
    os.mkfifo(folder / name)
    assert f"{name} is not a file that this run wrote" in refusal("export", folder.path, "--overwrite")


@pytest.mark.parametrize("put", [lambda file, kept: file.symlink_to(kept), lambda file, _: os.mkfifo(file)])
@pytest.mark.parametrize("name", ["summary.json", "paths.npz", "stages/export.json", "config.yaml"])
def test_what_is_no_file_was_put_there_by_the_user(
    name: str, put: Callable[[Path, Path], None], folder: RunFolder, tmp_path: Path
) -> None:
    """Replacing the result would delete the user's link or pipe."""
    shutil.move(folder / name, tmp_path / "kept")
    put(folder / name, tmp_path / "kept")
    before = sorted(path.name for path in folder.path.rglob("*"))
    for words in (("paths", folder.path, "--overwrite"), ("export", folder.path, "--overwrite")):
        assert f"{name} is not a file, as this run wrote it" in refusal(*words)
    assert os.path.lexists(folder / name)
    assert not (folder / name).is_file() or (folder / name).is_symlink()
    assert sorted(path.name for path in folder.path.rglob("*")) == before


# --- a folder that somebody else prepared -----------------------------------------------------------------------------


def with_journal(folder: RunFolder, **changes: object) -> None:
    """Leave what a killed command would have left, but for some of it."""
    (folder / ".previous").mkdir(exist_ok=True)
    journal = {"names": [], "done": ["stages/none.json"], "noted": 10**6, "texts": {}, "renamed": []}
    (folder / ".previous/journal.json").write_text(json.dumps(journal | changes))


@pytest.mark.parametrize("done", [["stages/none.json"], ["config.yaml"]])
@pytest.mark.parametrize(
    "changes",
    [
        {"names": ["../../mine/file"]},
        {"names": ["notes.txt"]},
        {"texts": {"../mine/file": "theirs"}},
        {"texts": {"notes.txt": "theirs"}},
        {"renamed": [["refining", "../mine"]]},
        {"names": 1},
        {"texts": ["config.yaml"]},
        {"noted": "1"},
        {"renamed": [1]},
    ],
)
def test_a_journal_moves_writes_and_deletes_only_what_is_the_runs_own(
    changes: dict[str, object], done: list[str], folder: RunFolder, tmp_path: Path
) -> None:
    (tmp_path / "mine").mkdir()
    files = [tmp_path / "mine/file", folder / "notes.txt", folder / ".previous/notes.txt"]
    with_journal(folder, done=done, **changes)
    with (folder / "files.txt").open("a") as handle:
        handle.write("refining/file\n")
    for file in files:
        file.write_text("mine")
    assert "journal.json is damaged" in refusal("export", folder.path, "--overwrite")
    assert [file.read_text() for file in files] == ["mine"] * 3
    assert not (folder / "refining").exists()


def test_links_among_what_waits_lead_nowhere(folder: RunFolder, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/paths.json").write_text("mine")
    (folder / ".previous").mkdir()
    (folder / ".previous/stages").symlink_to(tmp_path / "mine")
    with pytest.raises(UserError, match="is a link that leads"):
        again(folder, "paths", 2.0)
    with_journal(folder, names=["stages/paths.json"], done=["config.yaml"])
    with pytest.raises(UserError, match=r"journal.json is damaged"):
        again(folder, "paths", 2.0)
    assert (tmp_path / "mine/paths.json").read_text() == "mine"
    assert folder.finished("export")


@pytest.mark.parametrize("name", [".partial-config.yaml", ".partial-run.json", ".previous/.partial-journal.json"])
def test_a_temporary_file_that_is_a_link_is_not_followed(name: str, folder: RunFolder, tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("mine")

    def fail() -> None:
        (folder / name).unlink(missing_ok=True)
        (folder / name).symlink_to(tmp_path / "mine")
        raise UserError("cannot")

    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).symlink_to(tmp_path / "mine")
    config = folder.changed("paths", ["paths.count=6"])
    with folder.locked(existing=True), pytest.raises(UserError, match="cannot"):
        run_stages(folder, config, {"paths": stage("paths", 2.0, fail)}, again=True, say=lambda _: None)
    run(folder.path, 2.0, overwrite=True, last="sample")
    assert (tmp_path / "mine").read_text() == "mine"


def test_a_refused_folder_is_not_put_in_order(folder: RunFolder, tmp_path: Path) -> None:
    """An earlier command was interrupted, and then a link was put in the way."""
    with_journal(folder, names=["paths.npz"])
    shutil.move(folder / "paths.npz", folder / ".previous/paths.npz")
    shutil.move(folder / "figures", tmp_path / "elsewhere")
    (folder / "figures").symlink_to(tmp_path / "elsewhere")
    before = contents(folder.path)
    assert "leads out of the run folder" in refusal("export", folder.path, "--overwrite")
    assert contents(folder.path) == before


@pytest.mark.parametrize("flags", [(), ("--overwrite",), ("--resume",)])
def test_the_parent_of_runs_is_called_that(flags: tuple[str, ...], folder: RunFolder) -> None:
    said = refusal("run", "mueller_brown", "-o", folder.path.parent, *flags)
    assert f"holds other runs ({folder.path.name}); choose a folder of its own" in said
    folder.check()


@pytest.mark.parametrize("other", [("--preset", "quick"), ("--set", "paths.count=7")])
def test_another_configuration_names_the_place_of_the_first_command(other: tuple[str, str], folder: RunFolder) -> None:
    said = refusal("run", "mueller_brown", "-o", folder.path, "--resume", "--seed", str(folder.config().seed), *other)
    assert ("--preset standard, not quick" if other[0] == "--preset" else "another configuration (") in said
    assert f"which stands in {folder / 'run.log'}" in said


def test_a_temporary_file_of_others_makes_a_folder_theirs(tmp_path: Path) -> None:
    (tmp_path / ".partial-notes").write_text("mine")
    assert "holds files that no run wrote" in refusal("run", "mueller_brown", "-o", tmp_path)


@pytest.mark.parametrize("changes", [{"run": 1}, {"run": "../../" * 6}, {"run": None}, {"inputs": ["a"]}])
def test_an_identity_that_is_none_is_refused(changes: dict[str, object], folder: RunFolder) -> None:
    content = json.loads((folder / "run.json").read_text()) | changes
    content.pop("sha256")
    (folder / "run.json").write_text(json.dumps(content | {"sha256": files.digest_of(content)}))
    assert "run.json is damaged" in refusal("export", folder.path, "--overwrite")


@pytest.mark.parametrize("given", ["no JSON", "[1]", "3"])
def test_arrays_that_say_nonsense_of_their_run_are_refused(given: str, folder: RunFolder) -> None:
    folder.config()
    held = {"number": np.array(1.0), "written_as": np.array(given)}
    np.savez(folder / "samples.npz", **held, sha256=np.array(files._digest(held)))
    with pytest.raises(DamagedFileError, match=r"samples.npz was not written by the run"):
        read_arrays(folder / "samples.npz")


def test_a_record_that_lists_no_files_is_refused(folder: RunFolder) -> None:
    with folder.locked(existing=True):
        write_json(folder / "stages/export.json", folder.record("export") | {"files": ["paths.csv"]})
    with pytest.raises(DamagedFileError, match=r"export.json is not as the stage 'export' left it"):
        folder.check()


def test_a_name_that_no_file_can_have_is_skipped(folder: RunFolder) -> None:
    with (folder / "files.txt").open("ab") as handle:
        handle.write(b"a\0b\n\xff\n/\n.\n")
    again(folder, "export", 2.0)
    assert folder.finished("export")


@pytest.mark.parametrize("name", ["shooting/blocks/block_0001.npz", "compare/line.npz", "refining/round_1/round.json"])
@pytest.mark.parametrize("stamped", [True, False])
def test_a_file_that_this_run_has_not_written_yet_is_not_taken_from_another(
    name: str, stamped: bool, folder: RunFolder, tmp_path: Path
) -> None:
    other = run(tmp_path / "other", 2.0, last="sample")
    write, read = (write_json, read_json) if name.endswith("json") else (write_arrays_of, read_arrays)
    with other.locked(existing=True) if stamped else open(os.devnull):
        write(other / name, {"number": 2.0})
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(other / name, folder / name)
    folder.config()
    with pytest.raises(DamagedFileError, match="another run" if stamped else "was not written by the run"):
        read(folder / name)


def write_arrays_of(file: Path, arrays: dict[str, float]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    write_arrays(file, **arrays)


# --- the ledger -------------------------------------------------------------------------------------------------------


def test_a_line_of_the_ledger_that_was_cut_off_costs_nothing(folder: RunFolder) -> None:
    """By a full disk or a kill; without a new line the next name would be lost, and its file would be a stranger's."""
    (folder / "fig").write_text("mine")
    with (folder / "files.txt").open("a") as handle:
        handle.write("fig")
    with folder.locked(existing=True):
        write_text(folder / "new.txt", "1")
        write_text(folder / "new.txt", "2")
    assert "new.txt" in folder.own()
    run(folder.path, 2.0, overwrite=True, last="sample")
    assert (folder / "fig").read_text() == "mine"


def test_a_name_with_a_line_break_does_not_claim_two_files(tmp_path: Path) -> None:
    given = tmp_path / "a\nnotes.npz"
    shutil.copy(SYSTEM.parent / "reference.npz", given)
    with pytest.raises(UserError, match=r"has a line break in its name; rename it"):
        run(tmp_path / "run", 1.0, 0, False, "sample", f"reference={json.dumps(str(given))}")
    assert not (tmp_path / "run/inputs").exists()


def test_a_full_disk_is_named_with_the_file_that_was_to_be_noted(
    folder: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, names: set[str]) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(ownership, "note", full)
    with folder.locked(existing=True), pytest.raises(OSError, match=r"new\.txt"):
        write_text(folder / "new.txt", "1")


# --- kills while earlier results are put back -------------------------------------------------------------------------


def opened_by_the_next_command(folder: RunFolder) -> None:
    with folder.locked(existing=True):
        pass


def of(number: float) -> dict[str, float]:
    return {f"{FOLDER}/{name}": number for name in ("settings.json", "summary.json", "topology.json", "trials.json")}


def numbers(folder: RunFolder, within: str) -> dict[str, float]:
    return {name: read_json(folder / name)["number"] for name in folder.own(within)}


def shot_again(folder: RunFolder) -> None:
    """Earlier results of ``shoot`` hold 1, and those beside them that are to replace them 2."""
    with folder.locked(existing=True):
        for name in of(1.0):
            write_json(folder / name, {"number": 1.0})
            write_json(folder / name.replace(FOLDER, WORK), {"number": 2.0})


@pytest.mark.parametrize("step", range(12))
def test_a_kill_while_shooting_takes_the_place_of_an_earlier_one_loses_neither(
    step: int, folder: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    shot_again(folder)
    with killed_at(step, monkeypatch), folder.locked(existing=True):
        _take_the_place(folder, folder / WORK)
    opened_by_the_next_command(folder)
    if numbers(folder, WORK):
        assert numbers(folder, FOLDER) == of(1.0)
        assert set(numbers(folder, WORK).values()) == {2.0}
        assert len(numbers(folder, WORK)) == 4
    else:
        assert numbers(folder, FOLDER) == of(2.0)


@pytest.mark.parametrize("step", range(9))
def test_a_kill_while_results_are_put_back_loses_neither(
    step: int, folder: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    shot_again(folder)
    with killed_at(7, monkeypatch), folder.locked(existing=True):
        _take_the_place(folder, folder / WORK)
    with killed_at(step, monkeypatch):
        opened_by_the_next_command(folder)
    opened_by_the_next_command(folder)
    assert numbers(folder, FOLDER) == of(1.0)
    assert set(numbers(folder, WORK).values()) == {2.0}
    assert len(numbers(folder, WORK)) == 4


@pytest.mark.parametrize("step", range(13))
def test_a_kill_while_results_are_put_back_keeps_settings_and_results_together(
    step: int, folder: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = contents(folder.path)

    def fail() -> None:
        raise Killed

    with monkeypatch.context() as patch, killed_at(1000, monkeypatch), folder.locked(existing=True):
        patch.setattr(folder.previous, "settle", lambda: None)
        config = folder.changed("paths", ["paths.count=6"])
        run_stages(folder, config, {"paths": stage("paths", 2.0, fail)}, again=True, say=lambda _: None)
    with killed_at(step, monkeypatch):
        opened_by_the_next_command(folder)
    opened_by_the_next_command(folder)
    folder.check()
    assert contents(folder.path) == before


def test_first_paths_say_which_annealed_paths_they_are_from(folder: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    """Chains that are resumed after ``paths`` ran anew are still those of the paths from which they began."""
    monkeypatch.setattr(shoot, "first_paths", lambda *_: ([], 0, "paths"))
    monkeypatch.setattr(shoot, "pack", lambda _: {})
    monkeypatch.setattr(shoot, "_shoot", lambda *_: None)
    before, config = folder.paths_digest(), config_of(0, "shooting.first=paths")
    with folder.locked(existing=True):
        shoot.shoot_in(folder, config, None, resume=False, overwrite=False)
    again(folder, "paths", 2.0)
    with folder.locked(existing=True):
        shoot.shoot_in(folder, config, None, resume=True, overwrite=False)
    assert folder.paths_digest() != before
    assert read_arrays(folder / shoot.FIRST_PATHS)["paths"] == before


def test_a_new_folder_that_was_refused_is_not_left_behind(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "run")
    with pytest.raises(UserError, match="cannot"), folder.locked():
        raise UserError("cannot")
    assert not folder.path.exists()
