"""Langevin dynamics of a molecule in OpenMM: one Context, positions and velocities set for every trial.

LangevinMiddle steps are v += dt f/m; x += dt/2 v; Ornstein-Uhlenbeck on v; x += dt/2 v. What OpenMM calls the velocity
at x is therefore half a kick behind: v = u - dt f/(2 m) with u the velocity at the time of x. Written in (x, u) the
scheme is symmetric in time (BAOAB, Leimkuhler and Matthews 2013), and time is reversed by u -> -u; turning the sign of
v itself would start the reversed trajectory a whole kick off.
"""

from __future__ import annotations

import numpy as np

from spacetime_tps.collective_variables import CollectiveVariables
from spacetime_tps.dynamics import MolecularDynamics, phase_of
from spacetime_tps.shooting.engine import NOWHERE, OneByOne, Phase, Segment, membership
from spacetime_tps.shooting.path import ShotPath
from spacetime_tps.states import State

_CHUNK = 4
"""Frames between two looks at the states; what runs on past a state that was reached is dropped, and counted."""
_TOLERANCE = 1e-8


class MolecularEngine:
    """Unguided dynamics of a molecule, one trajectory after the other.

    Attributes:
        force_evaluations: of all trajectories so far.
    """

    def __init__(
        self,
        dynamics: MolecularDynamics,
        variables: CollectiveVariables,
        states: tuple[State, State],
        frame_every: int,
        seed: int,
    ):
        """``frame_every`` integration steps are one frame; ``seed`` is that of the thermostat."""
        self.force_evaluations = 0
        self._variables, self._states, self._frame_every = variables, states, frame_every
        self._context = dynamics.context(seed)
        system = self._context.getSystem()
        mass = np.array([system.getParticleMass(i)._value for i in range(system.getNumParticles())])
        inverse = np.divide(1.0, mass, out=np.zeros_like(mass), where=mass > 0)[:, None]
        self._half_kick = 0.5 * dynamics.time_step_ps * inverse
        self._thermal_speed = np.sqrt(dynamics.kt * inverse)

    def starts(self, frames: list[ShotPath], mixing: float, rng: np.random.Generator) -> tuple[Phase, Phase]:
        """See ``Engine.starts``; the velocities belong to the time of the positions while they are changed."""
        positions, forward, backward = [], [], []
        for frame in frames:
            placed, kick = self._place(frame.positions[0])
            positions.append(placed)
            velocity = frame.velocities[0] + kick
            if frame.backward[0]:
                velocity = -velocity
            if mixing < 1:
                noise = self._constrained(self._thermal_speed * rng.standard_normal(velocity.shape))
                velocity = mixing * velocity + np.sqrt(1 - mixing**2) * noise
            forward.append(velocity - kick)
            backward.append(-velocity - kick)
        return Phase(np.array(positions), np.array(forward)), Phase(np.array(positions), np.array(backward))

    def _place(self, positions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Move the molecule there and return its positions [nm] and half a kick [nm/ps], constraints obeyed."""
        self._context.setPositions(positions)
        self._context.applyConstraints(_TOLERANCE)
        state = self._context.getState(positions=True, forces=True)
        self.force_evaluations += 1
        kick = self._constrained(self._half_kick * state.getForces(asNumpy=True)._value)
        return state.getPositions(asNumpy=True)._value, kick

    def _constrained(self, velocities: np.ndarray) -> np.ndarray:
        """The part of velocities that the constraints at the present positions allow."""
        self._context.setVelocities(velocities)
        self._context.applyVelocityConstraints(_TOLERANCE)
        return self._context.getState(velocities=True).getVelocities(asNumpy=True)._value

    def integrate(self, starts: Phase, limits: np.ndarray, stop: bool) -> list[Segment]:
        """See ``Engine.integrate``."""
        rows = zip(starts.positions, starts.velocities, limits, strict=True)
        return [self._trajectory(positions, velocities, int(limit), stop) for positions, velocities, limit in rows]

    def trajectories(self, stop: bool) -> OneByOne:
        """See ``Engine.trajectories``."""
        return OneByOne(self, stop)

    def _trajectory(self, positions: np.ndarray, velocities: np.ndarray, limit: int, stop: bool) -> Segment:
        self._context.setPositions(positions)
        self._context.setVelocities(velocities)
        parts, where = [self._look(0)], np.full(1, NOWHERE)
        done = 0
        while done < limit:
            look = self._look(min(_CHUNK, limit - done))
            where = membership(*(state.contains(look[2]) for state in self._states))
            length = int(np.argmax(where != NOWHERE)) + 1 if stop and where.any() else len(where)
            parts.append(tuple(part[:length] for part in look))
            where = where[:length]
            done += length
            if stop and where[-1] != NOWHERE:
                break
        frames, speeds, variables = (np.concatenate(column) for column in zip(*parts, strict=True))
        return Segment(frames, speeds, variables, int(where[-1]))

    def _look(self, frames: int) -> tuple[np.ndarray, ...]:
        """Positions, velocities and collective variables of the next frames."""
        shape = (frames, self._context.getSystem().getNumParticles(), 3)
        positions, velocities = np.empty(shape), np.empty(shape)
        integrator = self._context.getIntegrator()
        for k in range(frames):
            integrator.step(self._frame_every)
            positions[k], velocities[k] = phase_of(self._context)
        self.force_evaluations += frames * self._frame_every
        return positions, velocities, self._variables(positions)
