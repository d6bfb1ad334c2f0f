"""What chains of shooting moves did: their steps, the paths they keep, and where they stand, as arrays and as files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np

from spacetime_tps.errors import DamagedFileError
from spacetime_tps.files import read_arrays, write_arrays
from spacetime_tps.shooting.moves import ShootingState
from spacetime_tps.shooting.path import ShotPath, pack, unpack


@dataclass(frozen=True)
class Steps:
    """The Monte Carlo steps of some chains; every field has shape (n_chains, n_steps, ...).

    Attributes:
        accepted: whether the step changed the path.
        move, reason: as in ``Info``.
        new_frames: made by the trial.
        length: frames of the path after the step.
        oldest: step that made the oldest frame of that path.
        max_free_energy: of that path.
        displacement: of that path, shape (n_chains, n_steps, n_cv).
    """

    accepted: np.ndarray
    move: np.ndarray
    reason: np.ndarray
    new_frames: np.ndarray
    length: np.ndarray
    oldest: np.ndarray
    max_free_energy: np.ndarray
    displacement: np.ndarray

    @classmethod
    def joined(cls, parts: Sequence[Steps], axis: int) -> Steps:
        """Steps of more chains (axis 0) or further steps of the same (axis 1)."""
        return cls(**{f.name: np.concatenate([getattr(p, f.name) for p in parts], axis=axis) for f in fields(cls)})


@dataclass(frozen=True)
class Block:
    """What a block leaves.

    Attributes:
        states: of the chains at its end.
        steps: its steps.
        kept: paths of the chains at regular steps, chain by chain.
        force_evaluations: what it cost.
    """

    states: list[ShootingState]
    steps: Steps
    kept: list[list[ShotPath]]
    force_evaluations: int

    @classmethod
    def joined(cls, parts: Sequence[Block]) -> Block:
        """The same block of more chains."""
        return cls(
            states=[state for part in parts for state in part.states],
            steps=Steps.joined([part.steps for part in parts], axis=0),
            kept=[paths for part in parts for paths in part.kept],
            force_evaluations=sum(part.force_evaluations for part in parts),
        )

    def save(self, file: Path) -> None:
        """Write to an ``.npz`` file."""
        arrays: dict[str, np.ndarray] = {f"steps.{f.name}": getattr(self.steps, f.name) for f in fields(Steps)}
        arrays |= {f"state.{name}": value for name, value in pack([state.path for state in self.states]).items()}
        arrays |= {f"kept.{name}": value for name, value in pack([p for row in self.kept for p in row]).items()}
        done, each = (np.array(value) for value in (self.states[0].steps, [len(row) for row in self.kept]))
        write_arrays(file, done=done, each=each, force_evaluations=np.array(self.force_evaluations), **arrays)

    @classmethod
    def load(cls, file: Path) -> Block:
        """Read a file written by ``save``.

        Raises:
            DamagedFileError: the file is damaged.
        """
        data = read_arrays(file)
        try:
            parts: dict[str, dict[str, np.ndarray]] = {"steps": {}, "state": {}, "kept": {}}
            for name, value in data.items():
                if "." in name:
                    parts[name.split(".")[0]][name.split(".")[1]] = value
            states = [ShootingState(path, int(data["done"])) for path in unpack(parts["state"])]
            kept, each = iter(unpack(parts["kept"])), data["each"].tolist()
            rows = [[next(kept) for _ in range(size)] for size in each]
            return cls(states, Steps(**parts["steps"]), rows, int(data["force_evaluations"]))
        except (KeyError, TypeError, ValueError, IndexError, StopIteration) as error:
            raise DamagedFileError(f"{file} is damaged; run 'shoot' again with --overwrite.") from error
