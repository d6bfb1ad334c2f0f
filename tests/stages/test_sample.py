"""What is biased under replica exchange, unasked."""

from __future__ import annotations

import pytest

from spacetime_tps.config import FlattenConfig, ReplicaExchangeConfig
from spacetime_tps.stages.sample import flattened
from spacetime_tps.systems import System, find_system_file, load_config, load_system


@pytest.fixture(scope="module")
def tetrapeptide() -> System:
    file = find_system_file("alanine_tetrapeptide")
    return load_system(load_config(file), file.parent)


def config(flatten: FlattenConfig | None) -> ReplicaExchangeConfig:
    given = {"kind": "replica_exchange", "highest_temperature": "700 K", "time": "1 ns"}
    return ReplicaExchangeConfig.model_validate(given).model_copy(update={"flatten": flatten})


def test_a_torsion_of_the_states_that_turns_is_biased(tetrapeptide: System) -> None:
    """phi_3 turns by 124 degrees; psi_3 bounds the helix but hardly moves; psi_2 turns by 87 and bounds no state."""
    names = tetrapeptide.variables.names
    assert [names[k] for k in flattened(tetrapeptide, config(FlattenConfig()))] == ["phi_3"]


def test_what_is_named_is_biased_instead(tetrapeptide: System) -> None:
    names = tetrapeptide.variables.names
    asked = FlattenConfig(bias=["psi_4", "phi_2"])
    assert [names[k] for k in flattened(tetrapeptide, config(asked))] == ["psi_4", "phi_2"]
    assert flattened(tetrapeptide, config(None)) == []
