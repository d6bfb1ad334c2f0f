"""The potential network: what holds by construction, whatever its weights are."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from spacetime_tps.diffusion.potential import GaussianFactors, PotentialNetwork, VonMisesFactors, log_bessel
from spacetime_tps.representations import Identity, Torsions
from tests.oracles import gaussian_log_partition, log_bessel_i0, von_mises_mean_length


def random_network(kind: str, groups: int) -> PotentialNetwork:
    """A network whose weights are noise."""
    factors = VonMisesFactors(3, 8) if kind == "torsions" else GaussianFactors(3, 8)
    network = PotentialNetwork(factors, components=5, groups=groups)
    rng = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=rng))
    return network.double()


def queries(kind: str, count: int = 40) -> torch.Tensor:
    rng = torch.Generator().manual_seed(2)
    if kind == "torsions":
        return 4 * torch.randn(count, 6, generator=rng, dtype=torch.float64)
    chart = torch.randn(count, 4, generator=rng, dtype=torch.float64)
    return Identity(3).natural(chart)


CASES = pytest.mark.parametrize(("kind", "groups"), [("torsions", 1), ("torsions", 3), ("points", 1), ("points", 3)])


def test_log_bessel_and_its_slope_against_quadrature() -> None:
    r = torch.tensor([0.01, 0.5, 3.0, 40.0, 900.0], dtype=torch.float64, requires_grad=True)
    value, ratio = log_bessel(r)
    assert value.detach().numpy() == pytest.approx([log_bessel_i0(k) for k in r.tolist()], rel=1e-9, abs=1e-9)
    assert ratio.detach().numpy() == pytest.approx([von_mises_mean_length(k) for k in r.tolist()], abs=1e-9)
    assert torch.autograd.gradcheck(log_bessel, (r.detach()[:4].requires_grad_(True),))


@CASES
def test_the_mean_is_the_gradient_of_the_log_partition(kind: str, groups: int) -> None:
    network, natural = random_network(kind, groups), queries(kind).requires_grad_(True)
    psi, mean = network(natural)
    (slope,) = torch.autograd.grad(psi.sum(), natural)
    assert torch.allclose(slope, mean, atol=1e-10)


@CASES
def test_the_metric_is_symmetric_and_positive(kind: str, groups: int) -> None:
    network = random_network(kind, groups)
    for eta in queries(kind, 8):
        metric = torch.autograd.functional.jacobian(lambda x: network(x)[1], eta)
        assert torch.allclose(metric, metric.T, atol=1e-9)
        assert torch.linalg.eigvalsh(metric).min() > 0


@CASES
def test_no_chord_is_negative_and_no_variance(kind: str, groups: int) -> None:
    network, natural = random_network(kind, groups), queries(kind, 200)
    mean = network(natural)[1].detach()
    chords = ((natural[:100] - natural[100:]) * (mean[:100] - mean[100:])).sum(-1)
    assert chords.min() > 0
    representation = Torsions(["a", "b", "c"], [(0, 1, 2, 3)] * 3) if kind == "torsions" else Identity(3)
    assert representation.block_variance(mean).min() > 0


def test_one_von_mises_factor_is_a_von_mises_density() -> None:
    """psi(eta) = log I0(|eta + zeta|) - log I0(|zeta|)."""
    network = PotentialNetwork(VonMisesFactors(1, 1), components=1).double()
    zeta = network.factors.log_kappa.exp().item()  # at angle zero
    psi, mean = network(torch.tensor([[2.0, 3.0]], dtype=torch.float64))
    strength = float(np.hypot(2.0 + zeta, 3.0))
    assert psi.item() == pytest.approx(log_bessel_i0(strength) - log_bessel_i0(zeta))
    expected = von_mises_mean_length(strength) * np.array([2.0 + zeta, 3.0]) / strength
    assert mean.detach().numpy()[0] == pytest.approx(expected)


def test_one_gaussian_factor_is_a_gaussian_density() -> None:
    factors = GaussianFactors(2, 1)
    with torch.no_grad():
        factors.center.copy_(torch.tensor([[0.3], [-0.7]]))
        factors.log_width.fill_(np.log(0.5))
    network = PotentialNetwork(factors, components=1).double()
    eta = Identity(2).natural(torch.tensor([[0.9, 0.2, 1.0]], dtype=torch.float64))
    psi, mean = network(eta)
    assert psi.item() == pytest.approx(gaussian_log_partition(np.array([0.3, -0.7]), 0.5, eta[0].numpy()), abs=1e-6)
    precision = 4.0 + np.e
    center = (np.array([0.3, -0.7]) * 4.0 + np.e * np.array([0.9, 0.2])) / precision
    assert mean[0].detach().numpy() == pytest.approx([*center, np.square(center).sum() + 2 / precision], abs=1e-6)
