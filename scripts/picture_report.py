"""Screenshots of a report for the documentation: its top with the verdict, and the player at the highest frame.

    python scripts/picture_report.py runs/alanine_dipeptide docs/images alanine_dipeptide

Needs Chromium and playwright (the ``dev`` extra).
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

from playwright.sync_api import sync_playwright

FLAGS = ["--no-sandbox", "--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("target", type=Path)
    parser.add_argument("name")
    given = parser.parse_args()
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        page = browser.new_page(viewport={"width": 1100, "height": 900})
        page.set_default_timeout(120_000)  # WebGL in software
        page.goto((given.run / "report.html").resolve().as_uri())
        page.wait_for_timeout(1000)
        findings = page.locator(".findings").bounding_box()
        top = {"x": 0, "y": 0, "width": 1100, "height": findings["y"] + findings["height"] + 20}
        page.screenshot(path=given.target / f"{given.name}_verdict.png", full_page=True, clip=top)
        player = page.locator("#player")
        if player.count():
            groups = page.locator("#group option").count()
            page.select_option("#group", index=groups - 1)
            frames = int(page.get_attribute("#frame", "max") or 0)
            page.locator("#frame").fill(str(frames // 2))
            page.wait_for_timeout(500)
            player.screenshot(path=given.target / f"{given.name}_player.png")
        else:
            page.locator(".figures").screenshot(path=given.target / f"{given.name}_figures.png")
        browser.close()


if __name__ == "__main__":
    main()
