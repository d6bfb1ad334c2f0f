"""Systems, potentials and denoisers of another package: the documented example, built and installed, and bad ones."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

from spacetime_tps.files import read_arrays
from tests.conftest import TINY_TOY, command_line, refusal, run_cli, settings

EXAMPLE = Path(__file__).resolve().parent.parent / "examples/plugin"


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for PYTHONPATH that holds the example, built and installed as a package of its own."""
    target = tmp_path_factory.mktemp("plugin") / "site"
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--target"]
    done = subprocess.run([*pip, target, EXAMPLE], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return target


@contextmanager
def with_packages_of(site: Path) -> Iterator[None]:
    """Packages installed in a folder are there, and forgotten afterwards."""
    before = set(sys.modules)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(site)
        try:
            yield
        finally:
            for name in set(sys.modules) - before:
                if name.split(".")[0] in ("spacetime_tps_example", "no_such_module"):
                    del sys.modules[name]


def test_its_system_runs_from_a_shell(installed: Path, tmp_path: Path) -> None:
    """In a process of its own, with workers: the only one here, since a process takes seconds to begin."""
    chosen = ("--denoiser", "thinned", "--set", "denoiser.options={count: 800}", "--set", "hardware.workers=2")
    words = command_line("run", "three_wells", "-o", tmp_path / "run", *settings(TINY_TOY), *chosen)
    environment = {**os.environ, "PYTHONPATH": str(installed)}
    done = subprocess.run(
        [*words, "--stop-after", "geodesic"], capture_output=True, text=True, env=environment, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    assert read_arrays(tmp_path / "run/denoiser.npz")["statistics"].shape == (800, 3)


def test_its_system_runs_by_name_with_its_potential_and_its_denoiser(installed: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    chosen = ("--denoiser", "thinned", "--set", "denoiser.options={count: 800}")
    with with_packages_of(installed):
        done = run_cli("run", "three_wells", "-o", out, *settings(TINY_TOY), *chosen)
        assert done.returncode == 0, done.stderr
    summary = json.loads((out / "summary.json").read_text())
    assert summary["system"] == "three_wells"
    assert summary["denoiser"]["kind"] == "thinned"
    assert read_arrays(out / "denoiser.npz")["statistics"].shape == (800, 3)
    assert (out / "report.html").is_file()
    with with_packages_of(installed):
        done = run_cli("geodesic", out, "--overwrite")
        assert done.returncode == 0, done.stderr
    assert "'three_wells'" in refusal("geodesic", out, "--overwrite")


def test_its_gradient_is_that_of_its_energy() -> None:
    spec = importlib.util.spec_from_file_location("potential", EXAMPLE / "spacetime_tps_example/potential.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    x = torch.randn(50, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0), requires_grad=True)
    (slope,) = torch.autograd.grad(module.ThreeWells().energy(x).sum(), x)
    assert torch.allclose(module.ThreeWells().gradient(x.detach()), slope, atol=1e-12)


def test_what_is_not_installed_is_told(installed: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    message = refusal("run", "three_wells", "-o", out)
    assert "There is no system 'three_wells'" in message
    assert "mueller_brown" in message
    message = refusal("run", EXAMPLE / "spacetime_tps_example/three_wells", "-o", out)
    assert "a potential of another package, not 'three_wells'" in message
    message = refusal("run", "mueller_brown", "-o", out, "--set", "denoiser.options={count: 3}")
    assert "options are for denoisers of other packages" in message
    with with_packages_of(installed):
        assert "three_wells" in refusal("run", "four_wells", "-o", out)
        message = refusal("run", "mueller_brown", "-o", out, "--denoiser", "thick")
        assert "potential, exact, thinned, not 'thick'" in message
    assert not out.exists()


def test_a_plugin_that_cannot_be_loaded_is_named(tmp_path: Path) -> None:
    site = tmp_path / "site/broken-1.0.dist-info"
    site.mkdir(parents=True)
    (site / "METADATA").write_text("Metadata-Version: 2.1\nName: broken\nVersion: 1.0\n")
    (site / "entry_points.txt").write_text("[spacetime_tps.systems]\nbroken = no_such_module:FOLDER\n")
    with with_packages_of(site.parent):
        message = refusal("run", "broken", "-o", tmp_path / "run")
        assert "The plugin 'broken' (spacetime_tps.systems, no_such_module:FOLDER) cannot be loaded" in message
        done = run_cli("config", "mueller_brown")  # what is not used is not loaded
        assert done.returncode == 0, done.stderr
