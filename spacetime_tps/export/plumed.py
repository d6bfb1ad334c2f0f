"""Input for PLUMED: the moving restraint of annealed paths, and a path collective variable along the geodesic."""

from __future__ import annotations

import numpy as np

from spacetime_tps.representations import Torsions

_LOCALITY = 2.3
"""LAMBDA times the mean squared distance of neighbouring nodes (Branduardi, Gervasio and Parrinello 2007)."""


def plumed_input(
    torsions: Torsions, natural: np.ndarray, steps: int, centers: np.ndarray, kt: float, atoms: np.ndarray
) -> str:
    """What reproduces the restraint of an annealed path, up to a constant, and a path variable.

    With c = cos and s = sin of a torsion, (c - a)^2 + (s - b)^2 = 1 + a^2 + b^2 - 2 (a c + b s): harmonic restraints of
    one strength kappa on both, at a = kT eta_c / kappa and b = kT eta_s / kappa, are -kT (eta_c c + eta_s s) up to what
    does not depend on the molecule. MOVINGRESTRAINT moves a and b linearly from point to point.

    Args:
        torsions: that are restrained.
        natural: eta at equal steps of the path, shape (n_points, n_parameters).
        steps: integration steps of the whole path.
        centers: nodes of the path variable [rad], shape (n_nodes, n_torsions).
        kt: thermal energy [kJ/mol].
        atoms: number, from one, that each atom of the system has in PLUMED, shape (n_atoms,).
    """
    lines = [
        "# Units of PLUMED: nm, ps, kJ/mol. The restraint is that of the annealed paths up to a constant that changes",
        "# along the way, and so does the work that PLUMED reports. Numbers of atoms are those of topology.pdb.",
    ]
    names = [f"t{k + 1}" for k in range(torsions.n_torsions)]
    for name, label, four in zip(names, torsions.block_names, torsions.quadruples, strict=True):
        lines.append(f"# {name} is {label}")
        lines.append(f"{name}: TORSION ATOMS={','.join(str(atoms[i]) for i in four)}")
        lines.append(f"{name}c: CUSTOM ARG={name} FUNC=cos(x) PERIODIC=NO")
        lines.append(f"{name}s: CUSTOM ARG={name} FUNC=sin(x) PERIODIC=NO")
    arguments = ",".join(f"{name}{part}" for name in names for part in "cs")
    stiffness = kt * float(np.linalg.norm(natural.reshape(len(natural), -1, 2), axis=-1).max())
    strength = ",".join([f"{stiffness:.6f}"] * natural.shape[1])
    lines += ["moving: MOVINGRESTRAINT ...", f"  ARG={arguments}"]
    numbers = np.rint(np.linspace(0, steps, len(natural))).astype(int)
    for k, (step, eta) in enumerate(zip(numbers, natural, strict=True)):
        at = ",".join(f"{value:.6f}" for value in kt * eta / stiffness)
        lines.append(f"  STEP{k}={step} AT{k}={at} KAPPA{k}={strength}")
    lines.append("...")
    nodes = torsions.features_of_angles(centers)
    letters = ",".join(f"v{i}" for i in range(nodes.shape[1]))
    for k, node in enumerate(nodes):
        squares = "+".join(f"(v{i}-({value:.6f}))^2" for i, value in enumerate(node))
        lines.append(f"d{k + 1}: CUSTOM ARG={arguments} VAR={letters} FUNC={squares} PERIODIC=NO")
    locality = _LOCALITY / float(np.square(np.diff(nodes, axis=0)).sum(axis=-1).mean())
    distances = ",".join(f"d{k + 1}" for k in range(len(nodes)))
    lines.append(f"path: FUNCPATHMSD ARG={distances} LAMBDA={locality:.6f}")
    lines.append(f"PRINT ARG={','.join(names)},path.s,path.z,moving.bias FILE=COLVAR STRIDE=100")
    return "\n".join(lines) + "\n"
