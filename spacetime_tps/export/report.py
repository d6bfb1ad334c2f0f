"""The report of a run: one HTML file that needs nothing but itself."""

from __future__ import annotations

import base64
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

import jinja2
from markupsafe import Markup

from spacetime_tps.export.scene import Scene
from spacetime_tps.export.verdict import Finding

_WIDE = 1.8
"""Times its height that a picture is broader of which two are no longer legible side by side."""
_ASSETS = files("spacetime_tps.export") / "assets"


@dataclass(frozen=True)
class Picture:
    """A PNG with what it shows."""

    png: bytes
    title: str
    caption: str

    @property
    def wide(self) -> bool:
        """Whether it needs the whole width of the page, by the size in the PNG's header."""
        width, height = struct.unpack(">II", self.png[16:24])
        return width > _WIDE * height

    @property
    def address(self) -> str:
        """As a data address."""
        return "data:image/png;base64," + base64.b64encode(self.png).decode("ascii")


@dataclass(frozen=True)
class Table:
    """A heading, column names and rows of text."""

    title: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]


def render_report(
    title: str,
    judgement: tuple[str, str],
    findings: Sequence[Finding],
    notes: Sequence[str],
    tables: Sequence[Table],
    pictures: Sequence[Picture],
    scene: Scene | None,
    still: bytes | None,
    config: str,
) -> str:
    """HTML of a report.

    Args:
        title: of the page.
        judgement: level and sentence of the whole.
        findings: of the verdict.
        notes: what has to be said of the paths, sentence by sentence.
        tables: of numbers.
        pictures: figures.
        scene: of the 3-D viewer, if there is a molecule.
        still: PNG in its place where scripts are off.
        config: the resolved configuration as YAML.
    """
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("spacetime_tps.export", "assets"), autoescape=True,
        undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    environment.policies["json.dumps_kwargs"] = {"allow_nan": False}
    return environment.get_template("report.html").render(
        title=title,
        level=judgement[0],
        sentence=judgement[1],
        findings=findings,
        notes=notes,
        tables=tables,
        pictures=pictures,
        scene=None if scene is None else scene.plain(),
        still=None if still is None else Picture(still, "", "").address,
        config=config,
        style=_asset("report.css"),
        viewer=_asset("3Dmol-min.js") if scene is not None else "",
        licence=_text("3Dmol-LICENSE.txt") if scene is not None else "",
        script=_asset("viewer.js") if scene is not None else "",
    )


def _text(name: str) -> str:
    return (_ASSETS / name).read_text(encoding="utf-8")


def _asset(name: str) -> Markup:
    """Our own style or script as it stands: nothing of a run's goes into it.

    Raises:
        ValueError: it would end the element that it stands in.
    """
    text = _text(name)
    if "</script" in text or "</style" in text:
        raise ValueError(f"{name} holds the end tag of a script or style")
    return Markup(text)


def plain_tables(summary: Mapping[str, Any]) -> list[Table]:
    """What was done and with what."""
    made = [[key, _shown(value)] for key, value in summary["definition"].items() if value is not None]
    cost, seconds = summary["force_evaluations"], summary["wall_seconds"]
    stages = [[stage, f"{count:,}", f"{seconds.get(stage, 0):.0f}"] for stage, count in cost.items()]
    stages.append(["together", f"{sum(cost.values()):,}", f"{sum(seconds.get(stage, 0) for stage in cost):.0f}"])
    versions = [[name, str(number)] for name, number in summary["versions"].items() if number is not None]
    return [
        Table("System", ["setting", "value"], made),
        Table("Cost", ["stage", "force evaluations", "seconds"], stages),
        Table("Software", ["package", "version"], versions),
    ]


def _shown(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key}: {_shown(part)}" for key, part in value.items() if part is not None)
    if isinstance(value, list | tuple):
        return ", ".join(map(_shown, value))
    return str(value)
