"""A system: what is simulated, its two states, its representation, and where its files are."""

from __future__ import annotations

import importlib.resources
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import openmm
from openmm import app

from spacetime_tps import plugins
from spacetime_tps.collective_variables import RMSD, CollectiveVariables, Measure, NativeContacts
from spacetime_tps.config import (
    CartesianConfig,
    ComponentsConfig,
    MoleculeConfig,
    NamedTorsionsConfig,
    NativeContactsConfig,
    Preset,
    RMSDConfig,
    RunConfig,
    StateConfig,
    ToyConfig,
    validate,
)
from spacetime_tps.dynamics import MolecularDynamics
from spacetime_tps.errors import DamagedFileError, UserError
from spacetime_tps.files import read_arrays
from spacetime_tps.inputs import ANY_BYTES, regular_file
from spacetime_tps.molecules import (
    box_of,
    check_same_molecule,
    check_whole,
    openmm_system,
    read_pdb_file,
    torsion_atoms,
)
from spacetime_tps.potentials import POTENTIALS, FreeEnergySurface, Potential
from spacetime_tps.representations import (
    AtomAxes,
    Cartesian,
    Components,
    Identity,
    Molecular,
    TorsionAxes,
    Torsions,
)
from spacetime_tps.representations.fitting import FITTED, read_fit
from spacetime_tps.settings import apply_override, merge, read_yaml
from spacetime_tps.states import Axes, Region, State, build_regions, build_state
from spacetime_tps.structures import check_same_hands, check_structure
from spacetime_tps.topology import chosen_atoms, solute_atoms

ENDS = "ends.npz"
"""Structures that sampling found at the bottom of either state, in a run folder."""
_OVERLAP_PROBES = 100_000
_SAME_BOX_NM = 1e-3
_FEWEST_SUPERPOSED = 3


@dataclass(frozen=True)
class Molecule:
    """The atoms of a system and how they move."""

    topology: app.Topology
    dynamics: MolecularDynamics

    @cached_property
    def solute(self) -> np.ndarray:
        """Indices of the atoms that are neither water nor ions, shape (n,)."""
        return solute_atoms(self.topology)

    @property
    def solvated(self) -> bool:
        """Whether there are others."""
        return len(self.solute) < self.topology.getNumAtoms()


@dataclass(frozen=True)
class System:
    """Everything the stages need to know of what they work on.

    Attributes:
        config: the resolved configuration.
        representation: features, restraint and chart; of a kind that is fitted to samples, the torsions until then.
        variables: the collective variables in which states are defined.
        states: state A and state B.
        structures: one frame in each state, shape (2, n_atoms, 3) [nm] or (2, d): those of the system file, or once
            sampling has looked for it the bottom of each.
        energy_unit: ``kJ/mol`` or ``kT``; ``kt`` is the thermal energy in it.
        molecule: for a molecule.
        potential: for an analytic potential; its energies divide by ``potential_kt``.
        reference: the reference free-energy surface, over the representation's own variables.
        avoided: what the paths shall keep out of, over the representation's own variables.
        waypoints: what the geodesic shall pass through, over the same.
    """

    config: RunConfig
    representation: Molecular | Identity
    variables: CollectiveVariables
    states: tuple[State, State]
    structures: np.ndarray
    energy_unit: str
    kt: float
    molecule: Molecule | None = None
    potential: Potential | None = None
    potential_kt: float = 1.0
    reference: FreeEnergySurface | None = None
    avoided: State | None = None
    waypoints: tuple[Region, ...] = ()
    given: np.ndarray | None = None
    """Structures of the system file, where ``structures`` are those that sampling found."""

    @property
    def molecular(self) -> Molecular:
        """The representation of a molecule."""
        assert not isinstance(self.representation, Identity)
        return self.representation

    @property
    def torsions(self) -> Torsions:
        """Of a molecule: in which it is read where a frame or a posterior lies."""
        return self.molecular.torsions

    @property
    def center_names(self) -> list[str]:
        """The variables that ``representation.center`` returns."""
        return self.torsions.block_names if self.molecule is not None else self.variables.names

    @property
    def turning(self) -> dict[int, str]:
        """Columns and names of the angles that bound both states: the way around them is the channel of a path."""
        both = sorted(set(self.states[0].columns) & set(self.states[1].columns))
        return {column: self.variables.names[column] for column in both if column < self.variables.n_angles}

    @property
    def represented(self) -> list[int]:
        """Columns of the collective variables that are ``torsions``."""
        return [self.variables.names.index(name) for name in self.torsions.block_names]

    @property
    def recorded_atoms(self) -> np.ndarray:
        """Atoms whose positions the representation needs of every sample, shape (n,)."""
        wanted = self.config.representation
        if self.molecule is None or not isinstance(wanted, CartesianConfig):
            return np.zeros(0, dtype=int)
        return chosen_atoms(self.molecule.topology, wanted.atoms)

    def in_states(self, variables: np.ndarray) -> np.ndarray:
        """Whether collective variables, shape (..., n_cv), lie in A and in B, shape (..., 2)."""
        return np.stack([state.contains(variables) for state in self.states], axis=-1)

    @property
    def time_unit(self) -> str:
        """Of physical times: ``ps``, or ``reduced units``."""
        return "ps" if self.molecule is not None else "reduced units"

    @property
    def suffix(self) -> str:
        """Ending of the energy keys in summaries: ``kj_mol`` or ``kt``."""
        return "kj_mol" if self.energy_unit == "kJ/mol" else "kt"


# --- finding the configuration ------------------------------------------------------------------


def systems_folder() -> Path:
    """The folder of the systems that come with the package: in the wheel, or beside the package in a checkout."""
    shipped = Path(str(importlib.resources.files("spacetime_tps"))) / "shipped_systems"
    return shipped if shipped.is_dir() else Path(__file__).resolve().parent.parent / "systems"


def find_system_file(name: str) -> Path:
    """The YAML file of a system given as a name, a folder or a file.

    Raises:
        UserError: there is no such system.
    """
    given = Path(name)
    candidates = [given, given / "system.yaml"]
    if given.name == name:
        candidates.append(systems_folder() / name / "system.yaml")
    for candidate in candidates:
        if candidate.is_file():
            return candidate
    if name in plugins.known(plugins.SYSTEMS):
        return _file_of(name, plugins.load(plugins.SYSTEMS, name))
    known = sorted(path.parent.name for path in systems_folder().glob("*/system.yaml"))
    known += plugins.known(plugins.SYSTEMS)
    raise UserError(
        f"There is no system {name!r}: it is neither a folder with a system.yaml, nor a YAML file, nor one of "
        f"the systems that come with the package or others ({', '.join(known)})."
    )


def _file_of(name: str, folder: Any) -> Path:
    """The YAML file in the folder that a plugin names, or that its function returns."""
    found = Path(folder() if callable(folder) else folder) / "system.yaml"
    if not found.is_file():
        raise UserError(f"The plugin system {name!r} has no file {found}.")
    return found


UNFINISHED = "unfinished"
"""Key of a system file while ``init`` replaces what lies beside it."""


def load_config(
    file: Path, preset: Preset | None = None, seed: int | None = None, overrides: tuple[str, ...] = ()
) -> RunConfig:
    """Read a system file, lay its preset and the overrides over it, and validate the whole.

    Raises:
        UserError: anything in it is wrong.
    """
    settings = read_yaml(file)
    if UNFINISHED in settings:
        raise UserError(f"{file} is not whole: 'init' was interrupted there; run 'init' again with --overwrite.")
    presets: Any = settings.pop("presets", {})
    if not isinstance(presets, dict) or not isinstance(presets.get("quick", {}), dict) or set(presets) - {"quick"}:
        raise UserError(f"{file}: presets should hold the section quick and nothing else, not {presets!r}.")
    if preset == "quick":
        settings = merge(_quickened(settings), presets.get("quick", {}))
    if preset is not None:
        settings["preset"] = preset
    if seed is not None:
        settings["seed"] = seed
    for assignment in overrides:
        apply_override(settings, assignment)
    return validate(_with_defaults(settings), f"{file} with --set" if overrides else str(file))


def _with_defaults(settings: dict[str, Any]) -> dict[str, Any]:
    """With what a kind of sampling takes for granted in other sections, unless the settings say otherwise."""
    sampling = settings.get("sampling")
    kind = sampling.get("kind") if isinstance(sampling, dict) else None
    given = read_yaml(Path(__file__).parent / "defaults.yaml").get(str(kind), {})
    return merge(given, settings)


def _quickened(settings: dict[str, Any]) -> dict[str, Any]:
    """With the package's preset quick, for the kind of system and of sampling."""
    quick = read_yaml(Path(__file__).parent / "quick.yaml")
    system, given = (settings[key] if isinstance(settings.get(key), dict) else {} for key in ("system", "sampling"))
    sampling = dict(quick["sampling"].get(str(given.get("kind")), {}))
    if given.get("flatten", {}) is None:
        sampling.pop("flatten", None)
    changed = merge(quick["all"], quick["molecule" if system.get("kind") == "molecule" else "potential"])
    return merge(settings, {**changed, "sampling": sampling} if sampling else changed)


# --- building the system ------------------------------------------------------------------------


def load_system(config: RunConfig, folder: Path) -> System:
    """Build the system; the file names in ``config`` are relative to ``folder``.

    Raises:
        UserError: a file is missing or unfit, a state does not hold its own structure, or ``geodesic.channel`` names
            no way between them.
    """
    if isinstance(config.system, MoleculeConfig):
        system = _load_molecule(config, config.system, folder)
    else:
        system = _load_toy(config, config.system, folder)
    if (label := config.geodesic.channel) is not None:
        start, end = system.representation.features(system.structures)
        system.representation.named_channel(label, start, end, config.geodesic.log_snr_end)
    return system


def _load_toy(config: RunConfig, toy: ToyConfig, folder: Path) -> System:
    potential = POTENTIALS[toy.kind]() if toy.kind in POTENTIALS else plugins.load(plugins.POTENTIALS, toy.kind)()
    names = ["x", "y", "z"][: potential.dimension]
    if len(toy.box) != potential.dimension:
        raise UserError(f"system.box should hold {potential.dimension} (low, high) pairs, not {len(toy.box)}.")
    variables = CollectiveVariables(names, None)
    structures = np.array([_point(state, potential.dimension) for state in (config.states.a, config.states.b)])
    return System(
        config=config,
        representation=Identity(potential.dimension),
        variables=variables,
        states=_states(config, variables, structures),
        structures=structures,
        energy_unit="kT",
        kt=1.0,
        potential=potential,
        potential_kt=toy.kt,
        reference=_reference(config, folder, names, 1.0),
        **_guides(config, variables.axes),
    )


def _point(state: StateConfig, dimension: int) -> list[float]:
    if state.point is None or len(state.point) != dimension:
        raise UserError(f"The point of state {state.name!r} should have {dimension} coordinates.")
    return state.point


def _load_molecule(config: RunConfig, molecule: MoleculeConfig, folder: Path) -> System:
    topology, first = _read_pdb(folder, config.states.a)
    other, second = _read_pdb(folder, config.states.b)
    check_same_molecule(f"{config.states.a.pdb} and {config.states.b.pdb}", topology, other)
    structures = np.stack([first, second])
    quadruples = np.array([torsion_atoms(topology, name, atoms) for name, atoms in config.torsions.items()])
    variables = _variables(config, topology, quadruples.reshape(-1, 4), folder)
    names = variables.names
    assert isinstance(config.representation, NamedTorsionsConfig)
    chosen = config.representation.torsions
    torsions = Torsions(chosen, [quadruples[names.index(name)] for name in chosen])
    described = openmm_system(molecule, topology, folder, str(config.states.a.pdb))
    if described.usesPeriodicBoundaryConditions():
        _check_boxes(config, topology, other, structures)
    _check_ends(config, topology, structures, folder)
    dynamics = MolecularDynamics(
        system_xml=openmm.XmlSerializer.serialize(described),
        temperature_k=molecule.temperature,
        time_step_ps=molecule.dynamics.time_step,
        friction_per_ps=molecule.dynamics.friction,
    )
    found = _bottoms(folder, structures)
    return System(
        config=config,
        representation=_representation(config.representation, torsions, topology, folder / FITTED),
        variables=variables,
        states=_states(config, variables, structures),
        structures=found,
        given=None if found is structures else structures,
        energy_unit="kJ/mol",
        kt=dynamics.kt,
        molecule=Molecule(topology, dynamics),
        reference=_reference(config, folder, chosen, dynamics.kt),
        **_guides(config, Axes.alike(chosen, "angle")),
    )


def _check_ends(config: RunConfig, topology: app.Topology, structures: np.ndarray, folder: Path) -> None:
    """Both end structures have to be possible, and of one chirality."""
    files = [str(folder / str(state.pdb)) for state in (config.states.a, config.states.b)]
    for file, positions in zip(files, structures, strict=True):
        check_structure(topology, positions, file)
    check_same_hands(topology, structures, files)


def _bottoms(folder: Path, structures: np.ndarray) -> np.ndarray:
    """What sampling found at the bottom of either state, if it has looked for it, else the structures themselves."""
    if not (folder / ENDS).is_file():
        return structures
    found = read_arrays(folder / ENDS, ("structures",))["structures"]
    if found.shape != structures.shape or not np.isfinite(found).all():
        raise DamagedFileError(
            f"{folder / ENDS} does not hold two structures of this molecule; draw the samples again with --overwrite."
        )
    return found


def _variables(config: RunConfig, topology: app.Topology, quadruples: np.ndarray, folder: Path) -> CollectiveVariables:
    """The torsions and, after them, the others."""
    names, measures = list(config.torsions), []
    for name, given in config.collective_variables.items():
        if isinstance(given, list):
            continue
        names.append(name)
        other, native = read_pdb_file(folder / given.pdb, f"of the collective variable {name!r}, {folder / given.pdb},")
        check_same_molecule(f"{config.states.a.pdb} and {given.pdb}", topology, other)
        check_structure(topology, native, str(folder / given.pdb))
        measures.append(_measure(name, given, topology, native))
    return CollectiveVariables(names, quadruples, tuple(measures))


def _measure(
    name: str, given: RMSDConfig | NativeContactsConfig, topology: app.Topology, native: np.ndarray
) -> Measure:
    if isinstance(given, RMSDConfig):
        atoms = chosen_atoms(topology, given.atoms)
        if len(atoms) < _FEWEST_SUPERPOSED:
            raise UserError(f"The collective variable {name!r} superposes {len(atoms)} atoms; it needs three or more.")
        return RMSD(atoms, native[atoms])
    residues = np.array([atom.residue.index for atom in topology.atoms()])
    contacts = NativeContacts.of(native, chosen_atoms(topology, "heavy"), residues, given.cutoff, given.apart)
    if not len(contacts.pairs):
        raise UserError(
            f"The collective variable {name!r} finds no contact within {given.cutoff:g} nm between residues "
            f"{given.apart} or more apart in {given.pdb}; raise its cutoff or lower apart."
        )
    return contacts


def _representation(wanted: NamedTorsionsConfig, torsions: Torsions, topology: app.Topology, fitted: Path) -> Molecular:
    """What the configuration asks for; of a kind that is fitted, the torsions as long as there is no such file."""
    if isinstance(wanted, CartesianConfig):
        atoms = chosen_atoms(topology, wanted.atoms)
        missing = [
            name
            for name, four in zip(torsions.block_names, torsions.quadruples, strict=True)
            if not np.isin(four, atoms).all()
        ]
        if missing:
            raise UserError(
                f"representation.atoms {wanted.atoms!r} leave out atoms of the torsion {missing[0]!r}; take others, or "
                "leave it out of representation.torsions."
            )
        size = 3 * len(atoms)
        found = read_fit(fitted, {"reference": (len(atoms), 3), "axes": (size, size - 6)})
        return torsions if found is None else Cartesian(torsions, atoms, AtomAxes(**found))
    if isinstance(wanted, ComponentsConfig):
        size, count = 2 * torsions.n_torsions, wanted.count
        found = read_fit(fitted, {"offset": (size,), "axes": (size, count), "inverse": (count, size)})
        return torsions if found is None else Components(torsions, TorsionAxes(**found))
    return torsions


def _check_boxes(config: RunConfig, first: app.Topology, second: app.Topology, structures: np.ndarray) -> None:
    """Periodic end structures have to share their box and hold whole molecules."""
    files = [str(state.pdb) for state in (config.states.a, config.states.b)]
    boxes = [box_of(topology) for topology in (first, second)]
    if (boxes[0] is None) != (boxes[1] is None) or (
        boxes[0] is not None and boxes[1] is not None and np.abs(boxes[0] - boxes[1]).max() > _SAME_BOX_NM
    ):
        raise UserError(
            f"{files[0]} and {files[1]} have different periodic boxes; volume is constant: give both one box."
        )
    for file, positions in zip(files, structures, strict=True):
        check_whole(first, positions, file)


def _states(config: RunConfig, variables: CollectiveVariables, structures: np.ndarray) -> tuple[State, State]:
    a, b = (build_state(state, variables.axes) for state in (config.states.a, config.states.b))
    values = variables(structures)
    for k, (state, other) in enumerate(((a, b), (b, a))):
        source = (config.states.a, config.states.b)[k]
        shown = variables.told(values[k])
        what = source.pdb or f"the point {source.point}"
        if not state.contains(values[k]):
            raise UserError(
                f"State {state.name!r} does not hold its own structure, {what} ({shown}); "
                "correct the state's regions or give another structure."
            )
        if other.contains(values[k]):
            raise UserError(f"{what} ({shown}) lies in both states; make the states disjoint.")
    spans = np.full(len(variables.names), np.abs(values).max() + 2.0)
    spans[: variables.n_angles] = np.pi
    probes = np.random.default_rng(0).uniform(-spans, spans, (_OVERLAP_PROBES, len(spans)))
    if np.any(a.contains(probes) & b.contains(probes)):
        raise UserError(f"The states {a.name!r} and {b.name!r} overlap; make them disjoint.")
    return a, b


def _guides(config: RunConfig, axes: Axes) -> dict[str, Any]:
    """What a geodesic shall avoid and pass through, over the representation's variables."""
    avoided = build_regions(config.geodesic.avoid, "geodesic.avoid", axes)
    waypoints = build_regions(config.geodesic.waypoints, "geodesic.waypoints", axes)
    return {"avoided": State("avoided region", avoided) if avoided else None, "waypoints": waypoints}


def _reference(config: RunConfig, folder: Path, names: list[str], kt: float) -> FreeEnergySurface | None:
    if config.reference is None:
        return None
    file = regular_file(folder / config.reference, "The reference surface", ANY_BYTES)
    try:
        surface = FreeEnergySurface.load(file)
    except DamagedFileError as error:
        raise UserError(
            f"The reference surface {file} is damaged or no npz archive; make it with scripts/build_reference.py or "
            "remove the key 'reference' from the system file."
        ) from error
    if list(surface.names) != list(names):
        raise UserError(
            f"The reference surface {config.reference} is over {', '.join(surface.names)}, but the representation "
            f"is over {', '.join(names)}; make a new one with scripts/build_reference.py or remove 'reference'."
        )
    if not abs(surface.kt - kt) <= 1e-6 * kt:
        raise UserError(
            f"The reference surface {config.reference} is for kT = {surface.kt:.5g}, the system has {kt:.5g}; "
            "make a new one with scripts/build_reference.py or remove 'reference'."
        )
    return surface


def read_structure(path: Path, system: System) -> np.ndarray:
    """Positions [nm], shape (n_atoms, 3), of a PDB file of the system's molecule.

    Raises:
        UserError: the file is missing, malformed or of another molecule, or the system is no molecule.
    """
    if system.molecule is None:
        raise UserError(f"{system.config.name} is an analytic potential and has no PDB files.")
    topology, positions = read_pdb_file(path, str(path))
    own = system.config.states.a.pdb
    check_same_molecule(f"{own} and {path}", system.molecule.topology, topology)
    check_structure(topology, positions, str(path))
    check_same_hands(topology, (system.structures[0], positions), (str(own), str(path)))
    return positions


def _read_pdb(folder: Path, state: StateConfig) -> tuple[app.Topology, np.ndarray]:
    assert state.pdb is not None
    path = folder / state.pdb
    return read_pdb_file(path, f"of state {state.name!r}, {path},")
