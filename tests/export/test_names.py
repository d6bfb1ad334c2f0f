"""Names stand in figures, tables and the report as they are: nothing in them is a formula, a tag or a program."""

from __future__ import annotations

import json
import re
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from matplotlib.text import Text

from spacetime_tps.config import checked_label
from spacetime_tps.export.figures import loss_figure, save, spacetime_figure
from spacetime_tps.export.report import Table, render_report
from spacetime_tps.export.scene import Scene, Track
from spacetime_tps.export.verdict import Finding

ODD = [r"$\frac$", r"\input{|id}", "a$b$", "_hidden $x"]
TAGS = "</title></script><script>alert(1)</script><img src=x onerror=alert(1)>"


@pytest.mark.parametrize("latex", [False, True])
def test_names_in_figures_are_no_formulas(latex: bool, tmp_path: Path) -> None:
    """Even if a ``matplotlibrc`` in the working folder asks for LaTeX."""
    along = np.linspace(0, 1, 10)
    with matplotlib.rc_context({"text.usetex": latex}):
        figure = spacetime_figure(np.ones((10, 4)), np.ones((10, 4)), ODD, None, along)
        save(figure, tmp_path / "names.png", r"$\note$")
    assert {text.get_text() for text in figure.findobj(Text)} >= set(ODD[:3])
    assert (tmp_path / "names.png").read_bytes().startswith(b"\x89PNG")


def test_numbers_of_logarithmic_axes_are_plain(tmp_path: Path) -> None:
    steps = np.arange(1.0, 101.0)
    figure = loss_figure(np.stack([steps, 1 / steps, 0.01 / steps], axis=1))
    save(figure, tmp_path / "loss.png", None)
    shown = {text.get_text() for text in figure.axes[0].get_yticklabels()}
    assert {"1", "0.1", "0.01", "0.001", "0.0001"} <= shown
    assert not any("$" in text.get_text() for text in figure.findobj(Text))


def test_names_in_the_report_are_text() -> None:
    track = Track(TAGS, TAGS, np.zeros((2, 1, 3)), np.arange(2.0), TAGS, {TAGS: np.arange(2.0)})
    page = render_report(
        TAGS,
        ("good", TAGS),
        [Finding(TAGS, TAGS, "good", TAGS)],
        [TAGS],
        [Table(TAGS, [TAGS], [[TAGS]])],
        [],
        Scene(TAGS, {TAGS: TAGS}, [track]),
        b"",
        TAGS,
    )
    assert "<script>alert" not in page
    assert "<img src=x" not in page
    scene = re.search(r'<script type="application/json" id="scene">(.*?)</script>', page, re.S)
    assert scene is not None
    assert json.loads(scene.group(1))["tracks"][0]["name"] == TAGS


@pytest.mark.parametrize("name", ["=1+1", "+x", "-x", "@x", '=HYPERLINK("http://x")'])
def test_names_do_not_begin_like_formulas_of_a_table(name: str) -> None:
    with pytest.raises(ValueError, match="would compute it"):
        checked_label(name)
    assert checked_label(f"x{name}") == f"x{name}"
