"""The page in a real browser: desktop and phone width, light and dark, sorting, filtering, enlarging."""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from made_up import make_data, make_split_data

from pipeline.report.page import page_html

FLAGS = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
)  # fmt: skip
PHONE = 390
# Runs in a page that frames the report, because a headless window cannot be as narrow as a phone.
FITS = """
const fits = (page) => ({
  inner: page.defaultView.innerWidth, scroll: page.documentElement.scrollWidth,
  wide: [...page.querySelectorAll("body *")]
    .filter((element) => !element.closest(".scroll, nav, pre"))
    .filter((element) => element.getBoundingClientRect().right > page.defaultView.innerWidth + 1)
    .map((element) => element.tagName + "." + element.className),
});
const tell = (result) => { document.body.dataset.probe = JSON.stringify(result); };
"""
LABELS = """
addEventListener("load", () => {
  const page = document.querySelector("iframe").contentDocument;
  const sizes = [...page.querySelectorAll("#labels svg text")]
    .map((text) => text.getBoundingClientRect().height);
  const charts = page.querySelectorAll("#labels figure svg").length;
  tell({...fits(page), charts: charts, smallest: Math.min(...sizes)});
});
"""
PROBE = """
addEventListener("load", () => {
  const page = document.querySelector("iframe").contentDocument;
  const names = () => [...page.querySelectorAll("#results tbody tr")].filter((row) => !row.hidden)
    .map((row) => row.cells[0].querySelector("small").textContent.split(" ")[0]);
  const result = {...fits(page), color: page.defaultView.getComputedStyle(page.body).backgroundColor,
                  start: names()};
  const heading = page.querySelectorAll("#results th button")[2];
  heading.focus();
  heading.click();
  result.descending = names();
  result.aria = heading.closest("th").getAttribute("aria-sort");
  heading.click();
  result.ascending = names();
  const filter = page.querySelector("input[type=search]");
  result.filterShown = !filter.closest("label").hidden;
  filter.value = "no training";
  filter.dispatchEvent(new Event("input"));
  result.filtered = names();
  page.querySelectorAll(".picture")[2].click();
  result.enlarged = page.querySelector("dialog[open] img") !== null;
  tell(result);
});
"""


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., str]:
    """Run the browser on a page and return what it prints."""
    program = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if program is None:
        pytest.skip("needs Chromium, which is not installed")

    def run(*options: str) -> str:
        profile = tmp_path_factory.mktemp("profile")
        command = [program, *FLAGS, f"--user-data-dir={profile}", *options]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


@pytest.fixture(scope="module")
def page() -> str:
    return page_html(make_data(scenes=1))


def framed(page: str, width: int, script: str = "") -> str:
    frame = f'<iframe style="border:0;width:{width}px;height:2400px" srcdoc="{html.escape(page)}"></iframe>'
    return f'<!doctype html><meta charset="utf-8"><body style="margin:0">{frame}<script>{script}</script>'


def probe(
    browser: Callable[..., str], page: str, width: int, folder: Path, *options: str, script: str = PROBE
) -> dict[str, Any]:
    (folder / "probe.html").write_text(framed(page, width, FITS + script), encoding="utf-8")
    printed = browser(
        f"--window-size={max(width, 600)},2400", "--dump-dom", *options, (folder / "probe.html").as_uri()
    )
    found = re.search(r'data-probe="([^"]*)"', printed)
    assert found, "the probe did not run"
    return json.loads(html.unescape(found[1]))  # type: ignore[no-any-return]


@pytest.mark.slow
@pytest.mark.parametrize("width", [1280, PHONE])
def test_page_fits_sorts_filters_and_enlarges(
    browser: Callable[..., str], page: str, tmp_path: Path, width: int
) -> None:
    seen = probe(browser, page, width, tmp_path)
    assert seen["inner"] == width
    assert seen["scroll"] <= width
    assert seen["wide"] == []
    assert seen["start"] == ["oracle", "boxinst", "projection", "mal", "on_mal", "fill", "grabcut"]
    assert seen["descending"] == ["oracle", "boxinst", "on_mal", "projection", "grabcut", "fill", "mal"]
    assert seen["aria"] == "descending"
    assert seen["ascending"] == [*seen["descending"][-2::-1], "mal"]  # it has no AP, which comes last
    assert seen["filterShown"]
    assert sorted(seen["filtered"]) == ["fill", "grabcut"]
    assert seen["enlarged"]


@pytest.mark.slow
@pytest.mark.parametrize("width", [1280, PHONE])
def test_figures_on_labels_fit_and_their_words_can_be_read(
    browser: Callable[..., str], tmp_path: Path, width: int
) -> None:
    seen = probe(browser, page_html(make_split_data()), width, tmp_path, script=LABELS)
    assert seen["inner"] == width
    assert seen["scroll"] <= width
    assert seen["wide"] == []
    assert seen["charts"] == 2
    assert seen["smallest"] >= 9  # CSS pixels


@pytest.mark.slow
def test_dark_scheme_is_dark(browser: Callable[..., str], page: str, tmp_path: Path) -> None:
    dark = probe(browser, page, 1280, tmp_path, "--blink-settings=preferredColorScheme=0")
    assert max(int(value) for value in re.findall(r"\d+", dark["color"])[:3]) < 60


@pytest.mark.slow
@pytest.mark.parametrize("width", [1280, PHONE])
def test_screenshot_shows_the_page(
    browser: Callable[..., str], page: str, tmp_path: Path, width: int
) -> None:
    (tmp_path / "page.html").write_text(framed(page, width), encoding="utf-8")
    picture = tmp_path / "page.png"
    browser(
        f"--window-size={max(width, 600)},2400", f"--screenshot={picture}", (tmp_path / "page.html").as_uri()
    )
    pixels = cv2.imread(str(picture))[:, :width]
    colors = pixels.astype(np.int64) @ [1, 1 << 8, 1 << 16]
    assert len(np.unique(colors)) > 200
    bands = colors.reshape(12, -1)
    assert all(len(np.unique(band)) > 5 for band in bands), "a part of the page is blank"
