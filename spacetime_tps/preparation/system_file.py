"""The system file that ``init`` writes: settings with the reasons beside them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from openmm import app

from spacetime_tps.config import MoleculeConfig
from spacetime_tps.preparation.decisions import Decision
from spacetime_tps.preparation.plan import SamplingPlan
from spacetime_tps.preparation.torsions import Candidate
from spacetime_tps.systems import UNFINISHED
from spacetime_tps.topology import atom_labels

_FILES = "# Files that belong to it, which --overwrite replaces: "
HEADER = "# Prepared by 'spacetime-tps init'. Run it with 'spacetime-tps run' and the name of this folder."
_WORDS = {"null", "true", "false", "yes", "no", "on", "off", "y", "n"}
"""That YAML does not take for text."""
_FEW = 3
_SEARCH: dict[bool, list[str]] = {False: [], True: ["  points: 96", "  starts: 4"]}
"""Of the geodesic: with many torsions each curve costs more, and bends help less."""
_IN_WATER = [
    "  frames: 100  # of all atoms, water too",
    "  look_every: 50  # for transitions of the sampling; more often costs more than the dynamics on a GPU",
]


def files_that_belong_to(file: Path) -> set[str]:
    """Names of the files that ``init`` wrote in a folder, by its ``system.yaml``; none if it did not write that."""
    if not file.is_file():
        return set()
    lines = file.read_text(encoding="utf-8", errors="replace").splitlines()[:2]
    if lines[:1] != [HEADER]:
        return set()
    listed = lines[1].removeprefix(_FILES).split(", ") if len(lines) > 1 and lines[1].startswith(_FILES) else []
    return {file.name, *(name for name in listed if Path(name).name == name)}


def unfinished_yaml(written: Iterable[str]) -> str:
    """The text that stands in ``system.yaml`` while the files beside it are replaced; no verb takes it for a system.

    Args:
        written: names of the files that are replaced, and of those that replace them.
    """
    belonging = _FILES + ", ".join(sorted(written))
    return f"{HEADER}\n{belonging}\n{UNFINISHED}: true\n"


def system_yaml(
    name: str,
    topology: app.Topology,
    decision: Decision,
    plan: SamplingPlan,
    molecule: MoleculeConfig,
    files: tuple[str, str],
    written: Iterable[str],
) -> str:
    """The text of ``system.yaml``.

    Args:
        name: of the system.
        topology: of the prepared molecule.
        decision: torsions and states.
        plan: of the sampling.
        molecule: what describes it, and how it moves.
        files: prepared structures of A and B, as the file names them.
        written: names of all files that are written beside it.
    """
    labels = atom_labels(topology)
    return "\n".join(
        [
            HEADER,
            _FILES + ", ".join(sorted(written)),
            f"name: {quoted(name)}",
            "",
            "system:",
            "  kind: molecule",
            f"  temperature: {molecule.temperature:.12g} K",
            *_description(molecule),
            f"  nonbonded: {molecule.nonbonded}",
            *([f"  cutoff: {molecule.cutoff:.12g} nm"] if molecule.nonbonded == "pme" else []),
            "  constraints: hbonds",
            "  dynamics:",
            "    integrator: langevin_middle",
            f"    time_step: {1000 * molecule.dynamics.time_step:g} fs",
            f"    friction: {molecule.dynamics.friction:g} /ps",
            "",
            "# Four atoms each, as in the PDB files. These torsions differ between the end states or move within them.",
            "collective_variables:",
            *(_variable(candidate, labels) for candidate in decision.torsions),
            "",
            "# Each state is a box of the torsions that tell both apart: where free runs of 20 ps from its structure",
            "# stayed, 5 % at either side left out, and 15 degrees more.",
            "states:",
            *_state("a", "A", files[0], decision, 0),
            *_state("b", "B", files[1], decision, 1),
            "",
            "representation:",
            "  kind: torsions",
            f"  torsions: [{', '.join(quoted(candidate.name) for candidate in decision.torsions)}]",
            "",
            f"# {plan.why}",
            "sampling:",
            *(f"  {line}" for line in plan.lines),
            "",
            "denoiser: {}",
            "",
            "geodesic:",
            *_SEARCH[len(decision.torsions) > _FEW],
            "  low_variance: 10 deg",
            "  low_barrier: {weight: 1.0, softness_kt: 0.3}",
            "",
            "paths:",
            "  count: 16",
            *(_IN_WATER if molecule.nonbonded == "pme" else []),
            "",
        ]
    )


def _description(molecule: MoleculeConfig) -> list[str]:
    if molecule.forcefield is not None:
        return [f"  forcefield: [{', '.join(map(quoted, molecule.forcefield))}]"]
    if molecule.openmm_system is not None:
        return [f"  openmm_system: {quoted(molecule.openmm_system)}"]
    implicit = [] if molecule.implicit_solvent is None else [f"  implicit_solvent: {molecule.implicit_solvent}"]
    return [f"  prmtop: {quoted(str(molecule.prmtop))}", *implicit]


def quoted(text: str) -> str:
    """As YAML reads it back whatever is in it; what is plain stays plain."""
    return text if re.fullmatch(r"[A-Za-z][\w./-]*", text) and text.lower() not in _WORDS else json.dumps(text)


def _variable(candidate: Candidate, labels: list[str]) -> str:
    atoms = ", ".join(json.dumps(labels[k]) for k in candidate.atoms)
    return f"  {quoted(candidate.name)}: [{atoms}]"


def _state(key: str, name: str, file: str, decision: Decision, which: int) -> list[str]:
    lines = [f"  {key}:", f"    name: {name}", f"    pdb: {file}", "    any_of:"]
    mark = "      - "
    for variable, (low, width) in decision.bounds[which].items():
        start = round(float(np.rad2deg((low + np.pi) % (2 * np.pi) - np.pi)))
        lines.append(f"{mark}{quoted(variable)}: [{start} deg, {start + round(float(np.rad2deg(width)))} deg]")
        mark = "        "
    return lines
