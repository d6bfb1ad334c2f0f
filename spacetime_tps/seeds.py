"""Random streams that depend on (seed, stage, index) alone, never on the number of workers or the order of work."""

from __future__ import annotations

import hashlib
import json

import numpy as np


def seed_sequence(seed: int, *keys: str | int) -> np.random.SeedSequence:
    """Independent entropy for a named piece of work, for example ``seed_sequence(seed, "paths", 7)``."""
    text = json.dumps([seed, *keys], default=int)  # NumPy would pad a list of numbers with zeros
    return np.random.SeedSequence(int.from_bytes(hashlib.sha256(text.encode()).digest()))


def generator(seed: int, *keys: str | int) -> np.random.Generator:
    """NumPy generator of that stream."""
    return np.random.default_rng(seed_sequence(seed, *keys))


def openmm_seed(seed: int, *keys: str | int) -> int:
    """Positive int32 for OpenMM, where 0 would mean "choose at random"."""
    return int(seed_sequence(seed, *keys).generate_state(1)[0] % (2**31 - 1)) + 1


def torch_seed(seed: int, *keys: str | int) -> int:
    """Seed of that stream for ``torch.Generator.manual_seed``."""
    return int(seed_sequence(seed, *keys).generate_state(1, np.uint64)[0]) >> 1
