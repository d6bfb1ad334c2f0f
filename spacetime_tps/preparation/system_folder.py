"""The folder that ``init`` writes: what may be there already, and how the new system takes its place."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
from openmm import app

from spacetime_tps.config import checked_label
from spacetime_tps.errors import UserError, reason_of
from spacetime_tps.files import write_text
from spacetime_tps.molecules import pdb_text
from spacetime_tps.preparation.system_file import files_that_belong_to, unfinished_yaml
from spacetime_tps.systems import load_config, load_system


def check_folder(output: Path, inputs: Iterable[Path], overwrite: bool) -> None:
    """Refuse a folder that cannot become a system folder, before anything long begins.

    Args:
        output: that will be written.
        inputs: files that are read, which must not lie in it.
        overwrite: replace a system that an earlier call wrote there.

    Raises:
        UserError: it cannot.
    """
    try:
        name, inside = output.resolve().name, [file for file in inputs if file.resolve().parent == output.resolve()]
    except (OSError, RuntimeError) as error:
        raise UserError(f"{output} cannot be a folder ({reason_of(error)}); name another one.") from error
    if not name:
        raise UserError(f"{output} has no name of its own; name a folder with -o.")
    try:
        checked_label(name)
    except ValueError as error:
        raise UserError(
            f"The folder {str(output)!r} names the system, and {error}; name another one with -o."
        ) from error
    if inside:
        raise UserError(f"{inside[0]} lies in {output}, which init writes to; name another folder with -o.")
    if output.is_symlink() and not output.exists():
        raise UserError(f"{output} is a link to nothing; name another folder with -o.")
    if not output.exists():
        _check_room(output)
        return
    if not output.is_dir():
        raise UserError(f"{output} is a file; name a folder with -o.")
    present = {entry.name for entry in output.iterdir()}
    if foreign := sorted(present - files_that_belong_to(output / "system.yaml")):
        raise UserError(f"{output} holds files that init did not write ({foreign[0]}); name another folder.")
    if present and not overwrite:
        raise UserError(f"{output} is not empty; use --overwrite to prepare it anew, or name another folder.")


def _check_room(output: Path) -> None:
    """Preparation takes minutes: where its result goes has to be known before."""
    home = next(folder for folder in output.resolve().parents if folder.exists())
    try:
        with tempfile.TemporaryDirectory(prefix=".init-", dir=home):
            return
    except OSError as error:
        raise UserError(
            f"{output} cannot be made in {home} ({error.strerror}); name another folder with -o."
        ) from error


def write_folder(
    output: Path, topology: app.Topology, structures: np.ndarray, text: str, files: Mapping[str, Path]
) -> None:
    """Write a folder beside ``output``, read it back as ``run`` will, and only then put it in place.

    Args:
        output: the system folder.
        topology: of the molecule.
        structures: of A and B [nm], shape (2, n_atoms, 3).
        text: of ``system.yaml``.
        files: that describe the molecule, by their names in the folder.
    """
    output.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".init-", dir=output.parent) as temporary:
        made = Path(temporary) / "made"
        made.mkdir()
        for name, positions in zip(("a.pdb", "b.pdb"), structures, strict=True):
            write_text(made / name, pdb_text(topology, positions))
        for name, file in files.items():
            shutil.copyfile(file, made / name)
        write_text(made / "system.yaml", text)
        load_system(load_config(made / "system.yaml"), made)
        if output.is_dir() and not output.is_symlink() and not any(output.iterdir()):
            output.rmdir()  # so that a kill leaves no half of a system, which would look like somebody else's files
        if output.exists():
            _replace_files(output, made)
        else:
            made.rename(output)


def _replace_files(output: Path, made: Path) -> None:
    """Put the files of a new system in the place of an earlier one's.

    Whatever interrupts this, no file of one system is ever taken for a part of the other, and all files remain init's.
    """
    earlier, new = files_that_belong_to(output / "system.yaml"), {entry.name for entry in made.iterdir()}
    write_text(output / "system.yaml", unfinished_yaml({*earlier, *new} - {"system.yaml"}))
    for name in sorted({*earlier, *new} - {"system.yaml"}):
        if name in new:
            (made / name).replace(output / name)
        else:
            (output / name).unlink(missing_ok=True)
    (made / "system.yaml").replace(output / "system.yaml")
