"""Trajectories, weights and reference surfaces whose numbers are wrong."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import damage
import numpy as np
import yaml
from builders import SAMPLE, Edit, Touch, frames_of_ends, referenced, save, trajectories
from family_inputs import of_out
from harness import Case, Must

# --- trajectories -------------------------------------------------------------------------------


def _frame(k: int, change: Callable[[np.ndarray], np.ndarray]) -> Callable[[np.ndarray], np.ndarray]:
    def edit(frames: np.ndarray) -> np.ndarray:
        changed = frames.copy()
        changed[k] = change(frames[k])
        return changed

    return edit


_MIRROR = np.array([1, 1, -1], dtype=np.float32)
TRAJECTORIES: dict[str, tuple[Callable[[np.ndarray], np.ndarray], Must]] = {
    **{
        f"with frame {k} {what}": (_frame(k, change), "refuse")
        for k in (0, 7, 29)
        for what, change in {
            "exploded": lambda x: 10 * x,
            "of noise": lambda x: np.random.default_rng(0).normal(0, 0.5, x.shape),
            "zeroed": lambda x: 0 * x,
            "in reverse order": lambda x: x[::-1],
            "with two atoms exchanged": lambda x: x[[1, 4, 2, 3, 0, *range(5, len(x))]],
            "mirrored": lambda x: x * _MIRROR,
            "flattened": lambda x: x * [1, 1, 0],
            "NaN": lambda x: np.nan * x,
            "infinite": lambda x: np.inf + x,
            "with one atom away": lambda x: x + 5.0 * (np.arange(len(x)) == 9)[:, None],
            "with one hydrogen away": lambda x: x + 1.0 * (np.arange(len(x)) == len(x) - 1)[:, None],
            "with atoms in one place": lambda x: np.concatenate([x[:1], x[:1], x[2:]]),
        }.items()
    },
    "mirrored": (lambda x: x * _MIRROR, "refuse"),
    "in angstroms": (lambda x: 10 * x, "refuse"),
    "scaled down": (lambda x: x / 10, "refuse"),
    "in reverse order": (lambda x: x[:, ::-1], "refuse"),
    "of one frame": (lambda x: x[:1], "either"),
    "of one frame again and again": (lambda x: np.repeat(x[:1], 30, axis=0), "either"),
    "without an atom": (lambda x: x[:, :-1], "refuse"),
    "of zeros": (lambda x: 0 * x, "refuse"),
}


def _trajectories() -> Iterator[Case]:
    for suffix in ("dcd", "xtc"):
        for name, (edit, must) in TRAJECTORIES.items():
            if suffix == "xtc" and ("NaN" in name or "infinite" in name):
                continue  # the format holds whole numbers

            def prepare(box: Path, suffix: str = suffix, edit: Any = edit) -> None:
                trajectories(box, suffix)
                save(box / f"sys/t0.{suffix}", edit(frames_of_ends()[0]))
                if len(edit(frames_of_ends()[0])) == 1:
                    (box / "sys/w0.dat").write_text("0.0\n")

            yield Case("numbers", f"sample: {suffix} {name}", SAMPLE, prepare, must, of_out, None, 120)
    lists: dict[str, tuple[list[str], Must]] = {
        "as it is": (["t0.dcd", "t1.dcd"], "accept"),
        "a file twice": (["t0.dcd", "t0.dcd"], "refuse"),
        "a file by two names": (["t0.dcd", "./t0.dcd"], "refuse"),
        "a pattern and a file": (["t*.dcd", "t1.dcd"], "refuse"),
        "a link to a file": (["t0.dcd", "link.dcd"], "refuse"),
        "a copy of a file": (["t0.dcd", "copy.dcd"], "refuse"),
        "no such file": (["no.dcd"], "refuse"),
        "a pattern of nothing": (["no*.dcd"], "refuse"),
        "another extension": (["t0.txt", "t1.dcd"], "refuse"),
        "a wrong extension": (["t0.xtc", "t1.dcd"], "refuse"),
        "a folder": (["."], "refuse"),
        "a NUL": (["a\0b"], "refuse"),
        "an absolute pattern": (["/dev/ze*"], "refuse"),
        "every file": (["*"], "refuse"),
        "everything below": (["**"], "refuse"),
    }
    for name, (files, must) in lists.items():

        def prepare(box: Path, files: list[str] = files) -> None:
            trajectories(box, weights=False)
            for copy in ("copy.dcd", "t0.txt", "t0.xtc"):
                (box / "sys" / copy).write_bytes((box / "sys/t0.dcd").read_bytes())
            (box / "sys/link.dcd").symlink_to("t0.dcd")
            settings = yaml.safe_load((box / "sys/system.yaml").read_text())
            settings["sampling"]["files"] = files
            (box / "sys/system.yaml").write_text(yaml.safe_dump(settings))

        yield Case("numbers", f"sample: trajectories: {name}", SAMPLE, prepare, must, of_out, None, 120)


# --- numbers in files ---------------------------------------------------------------------------


def _arrays(**changes: Any) -> Edit:
    def edit(file: Path) -> None:
        with np.load(file) as archive:
            held = {name: archive[name] for name in archive.files if name != "sha256"}
        for name, change in changes.items():
            if change is None:
                held.pop(name)
            else:
                held[name] = change(held[name]) if callable(change) else change
        np.savez(file, **held)

    return edit


REFERENCES: dict[str, tuple[Edit, Must]] = {
    "as it was": (lambda file: None, "accept"),
    **{
        f"without {name}": (_arrays(**{name: None}), "either")
        for name in ("free_energy", "origin", "spacing", "names", "kt")
    },
    "of NaN": (_arrays(free_energy=lambda f: np.nan * f), "refuse"),
    "of infinity": (_arrays(free_energy=lambda f: np.inf + f), "refuse"),
    "of 1e300": (_arrays(free_energy=lambda f: 1e300 + f), "refuse"),
    "of zeros": (_arrays(free_energy=lambda f: 0 * f), "either"),
    "of text": (_arrays(free_energy=np.full((36, 36), "x")), "refuse"),
    "of complex numbers": (_arrays(free_energy=lambda f: f + 1j), "refuse"),
    "of one number": (_arrays(free_energy=np.array(1.0)), "refuse"),
    "of one row": (_arrays(free_energy=lambda f: f[:1]), "refuse"),
    "of nothing": (_arrays(free_energy=np.zeros((0, 36))), "refuse"),
    "of five dimensions": (_arrays(free_energy=np.zeros((2, 2, 2, 2, 2))), "refuse"),
    "of objects": (_arrays(free_energy=np.array([Touch()], dtype=object)), "refuse"),
    "with kT zero": (_arrays(kt=np.array(0.0)), "refuse"),
    "with kT NaN": (_arrays(kt=np.array(np.nan)), "refuse"),
    "with a spacing of zero": (_arrays(spacing=lambda s: 0 * s), "refuse"),
    "with other names": (_arrays(names=np.array(["a", "b"])), "refuse"),
    **{
        f"of declared shape {shape} {kind}": (
            lambda file, shape=shape, kind=kind: file.write_bytes(damage.npz_with_shape(shape, kind)),
            "refuse",
        )
        for shape in (
            "(10**20,)",
            "(100000000000000000000,)",
            "(100000000000,)",
            "(-1,)",
            "(1000000, 1000000)",
            "(0,)",
            "()",
            "(2147483648, 2147483648, 4)",
            "'x'",
            "None",
        )
        for kind in ("<f8", "|O", "<U1000000000")
    },
}
WEIGHTS: dict[str, tuple[str, Must]] = {
    "as they should be": ("0.1\n" * 30, "accept"),
    "NaN": ("nan\n" * 30, "refuse"),
    "infinity": ("inf\n" * 30, "refuse"),
    "1e300": ("1e300\n" * 30, "refuse"),
    "one of 1e300": ("0\n" * 29 + "1e300\n", "refuse"),
    "one of 1e6": ("0\n" * 29 + "1e6\n", "either"),
    "too few": ("0\n" * 29, "refuse"),
    "too many": ("0\n" * 31, "refuse"),
    "text": ("x\n" * 30, "refuse"),
    "two columns": ("0 1\n" * 30, "refuse"),
    "comments": ("# 0\n" * 30, "refuse"),
    "commas": ("0,5\n" * 30, "refuse"),
    "hex": ("0x1p3\n" * 30, "refuse"),
    "underscores": ("1_0\n" * 30, "either"),
    "long": ("9" * 5000 + "\n" * 30, "refuse"),
}


def _numbers() -> Iterator[Case]:
    for name, (edit, must) in REFERENCES.items():

        def prepare(box: Path, edit: Edit = edit) -> None:
            referenced(box)
            edit(box / "sys/reference.npz")

        yield Case("numbers", f"config: reference {name}", ("config", "sys"), prepare, must, seconds=40)
    for name, (text, must) in WEIGHTS.items():

        def weigh(box: Path, text: str = text) -> None:
            trajectories(box)
            (box / "sys/w0.dat").write_text(text)

        yield Case("numbers", f"sample: weights: {name}", SAMPLE, weigh, must, of_out, None, 120)


def cases(masters: Path, chance: random.Random) -> list[Case]:
    """All of the family."""
    del masters, chance
    return [*_trajectories(), *_numbers()]
