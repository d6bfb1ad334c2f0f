"""The files that a run is given: where they come from, and where the run keeps its copies."""

from __future__ import annotations

import glob
import os
from collections import Counter
from pathlib import Path
from typing import Any

from spacetime_tps.config import MoleculeConfig, RunConfig, TrajectoriesConfig
from spacetime_tps.errors import UserError
from spacetime_tps.untrusted.forcefield import files_beside

INPUTS = "inputs"


def input_files(config: RunConfig, source: Path) -> list[str]:
    """Files that a run needs, relative to the folder of the system file; those of OpenMM itself lie elsewhere."""
    files = [state.pdb for state in (config.states.a, config.states.b)] + [config.reference]
    used = [given.pdb for given in config.collective_variables.values() if not isinstance(given, list)]
    known = {os.path.normpath(source / file) for file in files if file is not None}
    for file in used:
        path = os.path.normpath(source / file)
        files += [] if path in known else [file]
        known.add(path)
    if isinstance(config.system, MoleculeConfig):
        files += [config.system.prmtop, config.system.openmm_system]
        files += [file for file in config.system.forcefield or [] if (source / file).is_file()]
    return [file for file in files if file is not None]


def copies_of(config: RunConfig, source: Path) -> list[str]:
    """Where the files lie in a run folder, in the order of ``input_files``."""
    return [_copy_of(file) for file in input_files(config, source)]


def contents_of(config: RunConfig, source: Path) -> dict[str, bytes]:
    """What a run folder gets: names there and contents, with the files that force fields include.

    Raises:
        UserError: two files would get one name.
    """
    contents = {
        copy: (source / original).read_bytes()
        for original, copy in zip(input_files(config, source), copies_of(config, source), strict=True)
    }
    forcefields = config.system.forcefield or [] if isinstance(config.system, MoleculeConfig) else []
    for file in (source / name for name in forcefields if (source / name).is_file()):
        for included in files_beside(file):
            name = f"{INPUTS}/{included.relative_to(file.parent.resolve()).as_posix()}"
            content = included.read_bytes()
            if contents.setdefault(name, content) != content:
                raise UserError(f"{file} includes {included}, and another input is called {name}; rename one of them.")
    for name in contents:
        _check_fits_a_line(name)
    return contents


def _check_fits_a_line(name: str) -> None:
    """A run folder lists its files one on each line, as UTF-8.

    Raises:
        UserError: the name does not fit.
    """
    if name.splitlines() != [name] or name != name.encode(errors="replace").decode():
        raise UserError(f"The input file {name.removeprefix(f'{INPUTS}/')!r} has a line break in its name; rename it.")


def _copy_of(file: str) -> str:
    """Where an input file lies in a run folder."""
    return f"{INPUTS}/{os.path.basename(file)}"


def with_inputs(config: RunConfig, source: Path) -> RunConfig:
    """The configuration with its files under ``inputs/``, so that a run folder can be moved.

    Trajectories stay where they are: they may be large, and only sampling reads them.
    """
    states = {}
    for key, state in (("a", config.states.a), ("b", config.states.b)):
        pdb = _copy_of(state.pdb) if state.pdb else None
        states[key] = state.model_copy(update={"pdb": pdb})
    copies = Counter(copies_of(config, source))
    if twice := [copy for copy, count in copies.items() if count > 1]:
        raise UserError(f"Two input files are called {os.path.basename(twice[0])}; rename one of them.")
    reference = _copy_of(config.reference) if config.reference else None
    variables = {
        name: given if isinstance(given, list) else given.model_copy(update={"pdb": _copy_of(given.pdb)})
        for name, given in config.collective_variables.items()
    }
    changes: dict[str, Any] = {
        "collective_variables": variables,
        "states": config.states.model_copy(update=states),
        "reference": reference,
    }
    if isinstance(config.system, MoleculeConfig):
        described: dict[str, Any] = {
            key: _copy_of(file)
            for key in ("prmtop", "openmm_system")
            if (file := getattr(config.system, key)) is not None
        }
        own = dict(zip(input_files(config, source), copies_of(config, source), strict=True))
        if config.system.forcefield is not None:
            described["forcefield"] = [own.get(file, file) for file in config.system.forcefield]
        changes["system"] = config.system.model_copy(update=described)
    if isinstance(config.sampling, TrajectoriesConfig):
        files = {key: [_absolute(source, f) for f in getattr(config.sampling, key)] for key in ("files", "weights")}
        changes["sampling"] = config.sampling.model_copy(update=files)
    return config.model_copy(update=changes)


def _absolute(source: Path, pattern: str) -> str:
    """A pattern of file names from the folder of the system file, whose own name is none."""
    return pattern if os.path.isabs(pattern) else os.path.join(glob.escape(str(source.resolve())), pattern)
