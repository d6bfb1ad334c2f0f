"""What is simulated: a molecule or an analytic potential."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag, model_validator

from spacetime_tps import plugins
from spacetime_tps.config.base import FileName, Model, PlainNumber
from spacetime_tps.config.bounds import Within
from spacetime_tps.units import Length, Mass, Rate, Temperature, Time


class MolecularDynamicsConfig(Model):
    """Dynamics of a molecule; part of the definition of every result."""

    integrator: Literal["langevin_middle"] = "langevin_middle"
    time_step: Annotated[Time, Within("0.01 fs", "100 fs")]
    """Beyond 100 fs not even a coarse-grained model holds."""
    friction: Annotated[Rate, Within("1e-05 /ps", "10000 /ps")]


class MoleculeConfig(Model):
    """A molecule of the states' PDB files, and what describes it: one of force field, Amber topology, OpenMM System."""

    kind: Literal["molecule"]
    temperature: Annotated[Temperature, Within("1 K", "10000 K")]
    forcefield: Annotated[list[FileName], Field(min_length=1, max_length=100)] | None = None
    """OpenMM force field files: its own by their names, others relative to the system file."""
    prmtop: FileName | None = None
    """An Amber parameter-topology file."""
    openmm_system: FileName | None = None
    """A serialised OpenMM System; its own constraints hold."""
    implicit_solvent: Literal["hct", "obc1", "obc2", "gbn", "gbn2"] | None = None
    """With an Amber topology; a force field has files such as implicit/gbn2.xml."""
    nonbonded: Literal["no_cutoff", "pme"] = "no_cutoff"
    """``pme``: periodic, in the box of the states' PDB files, at constant volume; water and ions lie in these files."""
    cutoff: Annotated[Length, Within("0.1 nm", "10 nm")] = 0.9
    """Of PME in real space."""
    constraints: Literal["none", "hbonds"] = "hbonds"
    hydrogen_mass: Annotated[Mass, Within("1.007 Da", "12 Da")] | None = None
    """Taken from the neighbours of hydrogens, so that longer time steps hold; shooting and committors refuse it."""
    dynamics: MolecularDynamicsConfig

    @model_validator(mode="after")
    def _one_description(self) -> MoleculeConfig:
        given = [self.forcefield, self.prmtop, self.openmm_system]
        if sum(each is not None for each in given) != 1:
            raise ValueError("give one of forcefield, prmtop and openmm_system")
        if self.implicit_solvent is not None and self.prmtop is None:
            raise ValueError("implicit_solvent goes with prmtop; a forcefield has files such as implicit/gbn2.xml")
        if self.nonbonded == "pme" and self.implicit_solvent is not None:
            raise ValueError("implicit_solvent is no solvent for a periodic box; leave out one of them")
        if self.hydrogen_mass is not None and self.openmm_system is not None:
            raise ValueError("an openmm_system has its own masses; leave out hydrogen_mass")
        return self


class OverdampedConfig(Model):
    """Overdamped Langevin dynamics in reduced units: dx = -grad U dt + sqrt(2 kT dt) xi."""

    integrator: Literal["overdamped"] = "overdamped"
    time_step: Annotated[float, Within(1e-12, 1000)]


class ToyConfig(Model):
    """An analytic potential in reduced units."""

    kind: str
    """``mueller_brown``, ``double_well``, or the name of a potential that another package brings."""
    kt: Annotated[float, Within(1e-9, 1e9)]
    box: list[tuple[PlainNumber, PlainNumber]] = Field(min_length=1, max_length=100)
    """Region of the reference surface, one (low, high) pair a coordinate."""
    dynamics: OverdampedConfig

    @model_validator(mode="after")
    def _box_is_ordered(self) -> ToyConfig:
        if any(low >= high for low, high in self.box):
            raise ValueError("box should hold (low, high) pairs")
        return self


BUILT_IN_POTENTIALS = ("mueller_brown", "double_well")


def _kind_of_system(system: Any) -> str | None:
    kind = system.get("kind") if isinstance(system, dict) else getattr(system, "kind", None)
    if kind == "molecule":
        return "molecule"
    return "potential" if kind in BUILT_IN_POTENTIALS or kind in plugins.known(plugins.POTENTIALS) else None


SystemKind = Annotated[
    Annotated[MoleculeConfig, Tag("molecule")] | Annotated[ToyConfig, Tag("potential")],
    Discriminator(
        _kind_of_system,
        custom_error_type="unknown_kind",
        custom_error_message="kind should be molecule, mueller_brown, double_well or a potential of another package",
    ),
]
