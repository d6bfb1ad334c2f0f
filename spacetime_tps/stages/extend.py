"""Take in the torsions that a representation lacks: those that lag or that windows do not forget, or named ones."""

from __future__ import annotations

from spacetime_tps.analysis.windows import remembered
from spacetime_tps.config import MetadynamicsConfig, RunConfig, TorsionsConfig, validate
from spacetime_tps.errors import UserError, shown_value
from spacetime_tps.settings import read_yaml
from spacetime_tps.stages.folder import RunFolder
from spacetime_tps.topology import labels_in

AUTO = "auto"
_LARGE_DEG, _SIGNIFICANT = 30.0, 3.0
"""Hysteresis and its ratio to its error beyond which ``auto`` takes a torsion in."""


def with_torsions(folder: RunFolder, wanted: tuple[str, ...]) -> tuple[RunConfig, list[str]]:
    """The stored configuration with more torsions in its representation, and their names.

    Every heavy-atom torsion was recorded with the samples, so that nothing is sampled anew. The reference surface is
    over the old variables and left out.

    Args:
        folder: of a run; for ``auto`` of a finished one.
        wanted: ``auto``, or torsions as ``hysteresis`` in the summary names them (``1:O-1:C-2:N-2:CA``).

    Raises:
        UserError: the run is not that far, or a torsion is none.
    """
    config = folder.config()
    folder.check()
    if not isinstance(config.representation, TorsionsConfig):
        raise UserError(
            f"The run in {folder.path} is represented by {config.representation.kind}; torsions can be added to a "
            "representation by torsions alone."
        )
    if not folder.finished("sample"):
        raise UserError(f"The run in {folder.path} has no samples yet; run it first, then add torsions with --resume.")
    names = [name for name in wanted if name != AUTO]
    if AUTO in wanted:
        names += _lagging(folder)
    settings = read_yaml(folder / "config.yaml")
    variables, represented = settings["collective_variables"], settings["representation"]["torsions"]
    added = []
    for name in names:
        atoms = labels_in(name)
        if name not in variables and not _four_different(atoms):
            raise UserError(
                f"--add-torsion {shown_value(name)} is no torsion: expected auto, a collective variable of the run "
                f"({', '.join(config.torsions)}), or four different atoms as in 1:O-1:C-2:N-2:CA."
            )
        known = next((key for key, four in variables.items() if four in (atoms, atoms[::-1])), None)
        label = name if name in variables else known or "t_" + "_".join(atom.replace(":", "") for atom in atoms)
        if label not in variables:
            variables[label] = atoms
        if label not in represented:
            represented.append(label)
            added.append(label)
    if not added:
        return config, []
    if isinstance(config.sampling, MetadynamicsConfig):
        settings["sampling"]["bias"] = config.sampling.bias or list(config.representation.torsions)
    settings["reference"] = None
    settings["geodesic"]["channel"] = None
    return validate(settings, f"{folder / 'config.yaml'} with --add-torsion"), added


def _four_different(labels: list[str]) -> bool:
    """Whether they are those of four atoms, each with a residue and a name."""
    return len(set(labels)) == len(labels) == 4 and all(all(label.split(":")) for label in labels)


def _lagging(folder: RunFolder) -> list[str]:
    """One about each bond that none of the representation turns about."""
    if not folder.finished("export"):
        raise UserError(f"The run in {folder.path} is not finished: what lags is unknown; finish it or name a torsion.")
    summary = folder.record("export")["summary"]["paths"]
    lagging = [
        row["name"]
        for row in summary["hysteresis"]
        if row["difference_deg"] > _LARGE_DEG and row["difference_deg"] > _SIGNIFICANT * (row["error_deg"] or 0.0)
    ]
    slow = remembered(folder.record("windows")["summary"])
    config, found = folder.config(), []
    assert isinstance(config.representation, TorsionsConfig)
    bonds = {frozenset(config.torsions[name][1:3]) for name in config.representation.torsions}
    for name in [*lagging, *slow]:
        if (bond := frozenset(labels_in(name)[1:3])) not in bonds:
            bonds.add(bond)
            found.append(name)
    return found
