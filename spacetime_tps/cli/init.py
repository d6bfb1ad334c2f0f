"""spacetime-tps init: two structure files in, a system folder out."""

from __future__ import annotations

import math
from pathlib import Path

import click

from spacetime_tps.cli.options import trust_option
from spacetime_tps.errors import UserError
from spacetime_tps.parallel import WorkerPool, available_cores
from spacetime_tps.preparation.init import SOLVENTS, Wishes, prepare
from spacetime_tps.units import parse_quantity
from spacetime_tps.untrusted.trust import trusted

_SHORTEST_NM, _LONGEST_NM = 0.3, 10.0


@click.command("init")
@click.argument("a", type=click.Path(path_type=Path))
@click.argument("b", type=click.Path(path_type=Path))
@click.option("-o", "--output", required=True, type=click.Path(path_type=Path), help="Folder of the new system.")
@click.option("--forcefield", multiple=True, help="OpenMM force field file (repeatable); default: amber14.")
@click.option("--prmtop", type=click.Path(path_type=Path), help="Amber topology; A and B may be inpcrd or rst7 files.")
@click.option("--system", "openmm_system", type=click.Path(path_type=Path), help="Serialised OpenMM System (XML).")
@click.option("--chain", multiple=True, metavar="ID", help="Take this chain of the files only (repeatable).")
@click.option(
    "--solvent",
    type=click.Choice(list(SOLVENTS)),
    help="water: a periodic box of it; kept: the box, water and ions of the files. Default: vacuum without charged "
    "groups, else gbn2.",
)
@click.option("--padding", default="1 nm", show_default=True, help="Of a box of water: least distance to an image.")
@click.option(
    "--ionic-strength", type=click.FloatRange(0, 5), default=0.0, show_default=True, help="Of its salt [mol/l]."
)
@click.option("--cutoff", default="0.9 nm", show_default=True, help="Of PME, in a periodic box.")
@click.option("--temperature", default="300 K", show_default=True, help="With its unit.")
@click.option("--ph", type=click.FloatRange(0, 14), default=7.0, show_default=True, help="For missing hydrogens.")
@click.option("--torsion", multiple=True, metavar="NAME", help="Take this torsion in any case, such as chi1_3.")
@click.option("--chi", is_flag=True, help="Side-chain torsions count like those of the backbone.")
@click.option(
    "--minutes",
    type=click.FloatRange(0.05, 1e5),
    default=8.0,
    show_default=True,
    help="Of sampling, on all cores here; sets the lengths that are written.",
)
@click.option("--seed", type=click.IntRange(0, 9 * 10**18), default=0, show_default=True, help="Of the short runs.")
@click.option("--workers", type=click.IntRange(1, 1024), help="Worker processes; default: one for each core.")
@click.option("--overwrite", is_flag=True, help="Prepare the folder anew.")
@trust_option
def command(
    a: Path,
    b: Path,
    output: Path,
    forcefield: tuple[str, ...],
    prmtop: Path | None,
    openmm_system: Path | None,
    chain: tuple[str, ...],
    solvent: str | None,
    padding: str,
    ionic_strength: float,
    cutoff: str,
    temperature: str,
    ph: float,
    torsion: tuple[str, ...],
    chi: bool,
    minutes: float,
    seed: int,
    workers: int | None,
    overwrite: bool,
) -> None:
    """Prepare a system from structures A and B of its states (PDB, mmCIF; with --prmtop Amber coordinates, too)."""
    kelvin = _quantity("--temperature", temperature, "temperature")
    lengths = [_quantity(name, text, "length") for name, text in (("--padding", padding), ("--cutoff", cutoff))]
    if not 0 < kelvin < 1e4:
        raise UserError(f"--temperature is {temperature}, expected more than 0 and less than 10000 K.")
    for name, length in zip(("--padding", "--cutoff"), lengths, strict=True):
        if not _SHORTEST_NM <= length <= _LONGEST_NM:
            raise UserError(f"{name} is {length:g} nm, expected {_SHORTEST_NM:g} to {_LONGEST_NM:g} nm.")
    for name, value, most in (("--minutes", minutes, 1e5), ("--ph", ph, 14.0), ("--ionic-strength", ionic_strength, 5)):
        if not math.isfinite(value) or value > most:
            raise UserError(f"{name} is {value}, expected a number up to {most:g}.")
    wishes = Wishes(
        forcefield=forcefield or None,
        prmtop=prmtop,
        openmm_system=openmm_system,
        chains=chain,
        solvent=solvent,
        padding=lengths[0],
        ionic_strength=ionic_strength,
        cutoff=lengths[1],
        temperature_k=kelvin,
        ph=ph,
        torsions=torsion,
        with_chi=chi,
        minutes=minutes,
        seed=seed,
    )
    with WorkerPool(workers or available_cores()) as pool:
        words = prepare(a, b, output, wishes, overwrite, pool)
    click.echo("\n".join(f"- {sentence}" for sentence in words))
    trust = " --trust" if trusted() else ""
    run = f"spacetime-tps run {output} -o runs/{output.resolve().name}{trust}"
    click.echo(f"system  {output / 'system.yaml'}\nnext    {run}")


def _quantity(option: str, text: str, dimension: str) -> float:
    try:
        return parse_quantity(text, dimension)
    except ValueError as error:
        raise UserError(f"{option}: {error}.") from error
