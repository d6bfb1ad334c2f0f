from __future__ import annotations

import hashlib

import numpy as np
import pytest
import torch

from spacetime_tps.seeds import generator, openmm_seed, seed_sequence, torch_seed

KEYS = [(stage, index) for stage in ("sample", "paths", "walker", "frozen") for index in range(250)]


def test_openmm_seeds_are_positive_int32_and_distinct() -> None:
    seeds = [openmm_seed(seed, *key) for seed in (0, 1, 2**31) for key in KEYS]
    assert all(0 < seed < 2**31 for seed in seeds)  # 0 would mean "choose at random" to OpenMM
    assert len(set(seeds)) == len(seeds)


@pytest.mark.parametrize("state", [0, 2**31 - 1, 2**32 - 2, 2**32 - 1])
def test_openmm_seed_of_the_extreme_states(state: int, monkeypatch: pytest.MonkeyPatch) -> None:
    class Fixed:
        def generate_state(self, n: int) -> np.ndarray:
            return np.full(n, state, dtype=np.uint32)

    monkeypatch.setattr("spacetime_tps.seeds.seed_sequence", lambda seed, *keys: Fixed())
    assert 1 <= openmm_seed(0) <= 2**31 - 1


def test_torch_seeds_are_accepted_and_distinct() -> None:
    seeds = [torch_seed(3, *key) for key in KEYS]
    assert len(set(seeds)) == len(seeds)
    assert all(0 <= seed < 2**63 for seed in seeds)
    assert torch.Generator().manual_seed(seeds[0]).initial_seed() == seeds[0]


def test_generators_of_different_keys_are_uncorrelated() -> None:
    draws = np.array([generator(0, "paths", k).standard_normal(2000) for k in range(12)])
    correlation = np.corrcoef(draws) - np.eye(12)
    assert np.abs(correlation).max() < 4.5 / np.sqrt(2000)


def test_no_two_keys_share_a_stream() -> None:
    """NumPy pads a list of numbers with zeros, so that a list and one with a zero behind it are one seed."""
    keys = [
        *(
            ("walker",),
            ("walker", 0),
            ("walker", 0, 0),
            ("walker", 0, 1),
            (0, "walker"),
            ("walker", "0"),
            ("w", "alker"),
        ),
        *((), (0,), (0, 0), (2**32,), (0, 1), ("",), ("", "")),
    ]
    draws = {key: generator(5, *key).integers(0, 2**62) for key in keys}
    assert len(set(draws.values())) == len(keys)
    assert generator(5, np.int64(3)).integers(0, 2**62) == generator(5, 3).integers(0, 2**62)


def test_values_never_change() -> None:
    """Stored runs stand on these numbers: a change of them is a change of every result."""
    assert openmm_seed(0, "paths", 7) == 1568887024
    assert openmm_seed(12345, "walker", 0) == 1694254598
    assert torch_seed(0, "paths", 7) == 5370770899433793655
    assert torch_seed(1, "train") == 8242646116019732794
    assert generator(0, "x").integers(0, 2**31, 3).tolist() == [1858890092, 443606149, 1834009798]


def test_stream_is_numpys_of_the_digest_of_the_seed_and_the_key() -> None:
    expected = np.random.SeedSequence(int(hashlib.sha256(b'[9, "paths", 4]').hexdigest(), 16)).generate_state(4)
    assert seed_sequence(9, "paths", 4).generate_state(4).tolist() == expected.tolist()
