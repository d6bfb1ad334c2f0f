"""The report: in headless Chromium, on a molecule and on a potential, with scripts and without; and bad input."""

from __future__ import annotations

import base64
import io
import json
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from matplotlib.image import imread

from spacetime_tps.export.report import Table, render_report
from spacetime_tps.export.scene import Scene, Track
from spacetime_tps.export.verdict import Finding
from spacetime_tps.paths.ensemble import PathEnsemble
from tests.conftest import refusal, run_cli

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = [
    "--no-sandbox", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update",
    "--disable-sync", "--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader",
]  # fmt: skip


@pytest.fixture(scope="module")
def browser() -> Iterator:
    """Headless Chromium; where it has to be there, its absence is an error."""
    required = os.environ.get("SPACETIME_TPS_REQUIRE_BROWSER")
    if CHROMIUM is None and not required:
        pytest.skip("Chromium is not installed; Debian has it as the package chromium")
    if not required:
        pytest.importorskip("playwright")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield found
        found.close()


class Page:
    """A report opened from its file, with the requests and complaints that it made."""

    def __init__(self, browser, run: Path, scripts: bool = True):
        self.requests: list[str] = []
        self.complaints: list[str] = []
        context = browser.new_context(java_script_enabled=scripts, viewport={"width": 1200, "height": 900})
        self.page = context.new_page()
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.on("console", lambda message: self.complaints.append(message.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.address = (run / "report.html").as_uri()
        self.page.goto(self.address)

    def shown(self, name: str) -> str:
        """What the player says of its state."""
        return self.page.get_attribute("#player", f"data-{name}")

    def asks_for_nothing(self) -> bool:
        return [url for url in self.requests if not url.startswith("data:")] == [self.address] and not self.complaints


def scene_in(run: Path) -> dict:
    text = (run / "report.html").read_text(encoding="utf-8")
    return json.loads(re.search(r'<script type="application/json" id="scene">(.*?)</script>', text, re.S).group(1))


def colours(png: bytes) -> int:
    return len(np.unique(imread(io.BytesIO(png)).reshape(-1, 4), axis=0))


def test_the_molecule_is_drawn_and_moves_and_nothing_leaves_the_page(browser, tiny_alanine_run: Path) -> None:
    page = Page(browser, tiny_alanine_run)
    page.page.wait_for_selector("#molecule canvas")
    assert page.shown("atoms") == "22"
    assert page.shown("frame") == "0"
    first = page.page.locator("#molecule").screenshot()
    assert colours(first) > 200
    page.page.locator("#frame").fill("19")
    assert page.shown("frame") == "19"
    assert page.page.inner_text("#where") == "20 of 20"
    page.page.wait_for_timeout(300)
    assert page.page.locator("#molecule").screenshot() != first
    before = page.page.get_attribute("#cursor", "x1")
    page.page.locator("#plot").click(position={"x": 150, "y": 100})
    assert 0 < int(page.shown("frame")) < 19
    assert page.page.get_attribute("#cursor", "x1") != before
    assert page.asks_for_nothing()


def test_the_controls_work(browser, tiny_alanine_run: Path) -> None:
    page = Page(browser, tiny_alanine_run)
    page.page.wait_for_selector("#molecule canvas")
    page.page.click("#play")
    assert page.page.inner_text("#play") == "pause"
    page.page.wait_for_function(
        """() => {
            const button = document.getElementById("play");
            if (Number(document.getElementById("player").dataset.frame) < 3) return false;
            if (button.textContent === "pause") button.click();  // a slow browser looks twice, or when all is over
            return true;
        }"""
    )
    assert page.page.inner_text("#play") == "play"
    stopped = page.shown("frame")
    page.page.wait_for_timeout(300)
    assert page.shown("frame") == stopped
    page.page.select_option("#path", index=1)
    assert page.shown("path") == "path_0001, B to A"
    assert page.shown("frame") == "0"
    energies = page.page.locator("#energy option").all_inner_texts()
    assert energies == ["reference free energy [kJ/mol]", "potential energy [kJ/mol]"]
    curve = page.page.locator("#plot path").nth(1).get_attribute("d")
    page.page.select_option("#energy", index=1)
    assert page.page.locator("#plot path").nth(1).get_attribute("d") != curve
    page.page.wait_for_timeout(300)
    both = page.page.locator("#molecule").screenshot()
    page.page.locator("#ends input").nth(1).uncheck()
    page.page.wait_for_timeout(300)
    assert page.page.locator("#molecule").screenshot() != both
    assert page.asks_for_nothing()


def test_without_scripts_there_is_a_picture_and_all_else(browser, tiny_alanine_run: Path) -> None:
    page = Page(browser, tiny_alanine_run, scripts=False)
    still = page.page.locator("noscript img")
    assert still.is_visible()
    assert colours(still.screenshot()) > 50
    assert not page.page.locator("#player").is_visible()
    assert page.page.locator(".findings tbody tr").count() >= 10
    assert page.page.locator("figure img").count() == 8
    assert page.asks_for_nothing()


def test_a_potential_has_a_report_without_a_molecule(browser, tiny_toy_run: Path) -> None:
    page = Page(browser, tiny_toy_run)
    assert page.page.locator("h1").inner_text() == "mueller_brown: transition paths, seed 3"
    assert page.page.locator("#player").count() == 0
    assert page.page.locator("figure img").count() >= 4
    assert "not agree" not in page.page.inner_text("main")
    assert page.asks_for_nothing()


def test_reports_are_small_and_name_no_other_place(tiny_alanine_run: Path, tiny_toy_run: Path) -> None:
    for run in (tiny_alanine_run, tiny_toy_run):
        text = (run / "report.html").read_text(encoding="utf-8")
        assert len(text.encode()) < 8_000_000
        tags = re.findall(r"<(?:script|link|img|iframe|object|embed)[^>]*(?:src|href)=\"([^\"]*)\"", text)
        assert tags
        assert all(address.startswith("data:") for address in tags)
        assert str(Path.home()) not in text


def test_the_viewer_gets_the_paths_as_they_are(tiny_alanine_run: Path) -> None:
    paths, scene = PathEnsemble.load(tiny_alanine_run / "paths.npz"), scene_in(tiny_alanine_run)
    assert [track["name"] for track in scene["tracks"]] == [
        "path_0000, A to B", "path_0001, B to A", "path_0002, A to B", "path_0003, B to A",
    ]  # fmt: skip
    for track, frames, energy in zip(scene["tracks"], paths.frames, paths.potential_energy, strict=True):
        packed = np.frombuffer(base64.b64decode(track["positions"]), dtype="<i2").reshape(track["frames"], 22, 3)
        seen, meant = 0.1 * track["step"] * packed, frames.astype(float)
        apart = [np.linalg.norm(x[:, :, None] - x[:, None], axis=-1) for x in (seen, meant)]
        assert np.abs(apart[0] - apart[1]).max() < 0.002  # nm
        assert track["energies"]["potential energy [kJ/mol]"] == pytest.approx(energy, abs=1e-3)
    assert list(scene["ends"]) == ["A: C5 and C7eq", "B: C7ax"]


def test_nothing_of_a_run_can_become_a_script() -> None:
    evil = "</script><script>alert(1)</script>"
    track = Track(evil, evil, np.zeros((2, 1, 3)), np.array([0.0, 1.0]), evil, {evil: np.array([0.0, np.nan])})
    scene = Scene(evil, {evil: evil}, [track])
    findings, tables = [Finding(evil, evil, "good", evil)], [Table(evil, [evil], [[evil]])]
    page = render_report(evil, ("good", evil), findings, [evil], tables, [], scene, b"", evil)
    assert "alert(1)</script>" not in page
    assert page.count("</script>") == 3


def test_it_is_made_again_and_dropped_with_what_it_tells_of(tiny_alanine_run: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    shutil.copytree(tiny_alanine_run, out)
    (out / "report.html").unlink()
    done = run_cli("report", out)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip().endswith("report.html")
    assert (out / "report.html").read_text() == (tiny_alanine_run / "report.html").read_text()
    done = run_cli("windows", out, "--overwrite")
    assert done.returncode == 0, done.stderr
    assert not (out / "report.html").exists()
    assert "no summary.json" in refusal("report", out)
    assert "not a run folder" in refusal("report", tmp_path / "nowhere")


@pytest.mark.parametrize("file", ["summary.json", "shooting/summary.json", "committor/committor.json"])
@pytest.mark.parametrize("text", ["{}", "[]", '{"acceptance": 3'])
def test_damaged_files_are_one_sentence(tiny_alanine_run: Path, tmp_path: Path, file: str, text: str) -> None:
    out = tmp_path / "run"
    shutil.copytree(tiny_alanine_run, out)
    before = (out / "report.html").read_bytes()
    (out / file).parent.mkdir(exist_ok=True)
    (out / file).write_text(text)
    assert "damaged" in refusal("report", out)
    assert (out / "report.html").read_bytes() == before
