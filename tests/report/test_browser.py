"""The page in a real Chromium: it opens without an error, tables sort, pictures have content, nothing overflows.

Debian: apt-get install chromium chromium-driver. Without them these tests are skipped, but not where PLENA_BROWSER is
set, as in .ci/run.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from selenium import webdriver
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement

from plena.cli import plena_cli
from tests.report.samples import saved_program

FLAGS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --disable-dev-shm-usage"
)


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[webdriver.Chrome]:
    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if chromium is None or driver is None:
        if "PLENA_BROWSER" in os.environ:
            pytest.fail("there is no chromium or chromedriver")
        pytest.skip("there is no chromium or chromedriver")
    options = Options()
    options.binary_location = chromium
    for flag in (*FLAGS.split(), f"--user-data-dir={tmp_path_factory.mktemp('profile')}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    found = webdriver.Chrome(options=options, service=Service(driver))
    yield found
    found.quit()


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """report.html of a whole program, damaged.html of one without its manifest."""
    folder = tmp_path_factory.mktemp("pages")
    program = saved_program(folder / "linear")
    assert plena_cli.main(["report", str(program), "-o", str(folder / "report.html")]) == 0
    (program / "manifest.json").unlink()
    assert plena_cli.main(["report", str(program), "-o", str(folder / "damaged.html")]) == 0
    return folder


def opened(browser: webdriver.Chrome, page: Path, width: int = 1280, scheme: str = "light") -> None:
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
    browser.get(page.as_uri())


def script(browser: webdriver.Chrome, text: str) -> Any:
    return browser.execute_script(text)


@pytest.mark.parametrize("name", ["report.html", "damaged.html"])
def test_it_opens_without_an_error(browser: webdriver.Chrome, pages: Path, name: str) -> None:
    opened(browser, pages / name)
    assert browser.get_log("browser") == []
    assert browser.title.endswith("plena report")
    assert script(browser, "return performance.getEntriesByType('resource').length") == 0


def column(table: WebElement, number: int) -> list[str]:
    return [row.find_elements(By.CSS_SELECTOR, "th, td")[number].text for row in rows_of(table)]


def rows_of(table: WebElement) -> list[WebElement]:
    return table.find_elements(By.CSS_SELECTOR, "tbody tr")


def test_tables_sort_by_a_click(browser: webdriver.Chrome, pages: Path) -> None:
    opened(browser, pages / "report.html")
    table = browser.find_element(By.XPATH, "//h3[.='Instructions']/following::table[1]")
    heads = table.find_elements(By.CSS_SELECTOR, "thead th")
    assert [h.text for h in heads] == ["mnemonic", "static", "dynamic", "share"]
    before = column(table, 0)
    numbers = [int(text.replace(",", "")) for text in column(table, 2)]
    assert numbers != sorted(numbers, reverse=True), "there is something to sort"
    heads[2].find_element(By.TAG_NAME, "button").click()
    assert [int(t.replace(",", "")) for t in column(table, 2)] == sorted(numbers, reverse=True)
    assert heads[2].get_attribute("aria-sort") == "descending"
    heads[2].find_element(By.TAG_NAME, "button").click()
    assert [int(t.replace(",", "")) for t in column(table, 2)] == sorted(numbers)
    heads[0].find_element(By.TAG_NAME, "button").click()
    assert column(table, 0) == sorted(before) and heads[2].get_attribute("aria-sort") == "none"
    heads[0].find_element(By.TAG_NAME, "button").click()
    heads[0].find_element(By.TAG_NAME, "button").click()
    assert column(table, 0) == before, "the third click restores the order"


def test_every_sortable_table_sorts(browser: webdriver.Chrome, pages: Path) -> None:
    opened(browser, pages / "report.html")
    unsorted = script(
        browser,
        """
        const wrong = [];
        for (const table of document.querySelectorAll("table.sortable"))
          for (const head of table.tHead.rows[0].cells) {
            const button = head.querySelector("button");
            if (!button) continue;
            button.click();
            const values = [...table.tBodies[0].rows].map(r => r.cells[head.cellIndex].dataset.value);
            const numbers = values.filter(v => v !== undefined).map(Number);
            if (head.ariaSort === "none" || !head.classList.contains("text")
                && numbers.some((v, n) => n && v > numbers[n - 1])) wrong.push(head.textContent);
          }
        return wrong;
        """,
    )
    assert unsorted == []


def test_pictures_have_content(browser: webdriver.Chrome, pages: Path) -> None:
    opened(browser, pages / "report.html")
    maps = browser.find_elements(By.CSS_SELECTOR, "svg.memory")
    assert len(maps) == 3, "the linear layer uses no scalar memory"
    for svg in maps:
        shapes = svg.find_elements(By.CSS_SELECTOR, ".bar, .touched")
        areas = [s.size["width"] * s.size["height"] for s in shapes]
        assert shapes and max(areas) > 100 and svg.size["height"] > 20
    colours = {
        script(browser, f"return getComputedStyle(document.querySelector('.bar.{role}')).fill")
        for role in ("input", "data")
    }
    assert len(colours) == 2, "roles have colours of their own"
    line = browser.find_element(By.CSS_SELECTOR, "svg.curve .line")
    assert line.size["width"] > 100 and line.size["height"] > 20
    assert len(browser.find_elements(By.CSS_SELECTOR, "svg.curve .taken")) == 1


def test_damaged_programs_say_what_is_missing(browser: webdriver.Chrome, pages: Path) -> None:
    opened(browser, pages / "damaged.html")
    assert "manifest" in browser.find_element(By.ID, "missing").text
    assert browser.find_elements(By.CSS_SELECTOR, "#hottest code") and browser.find_elements(
        By.CSS_SELECTOR, "svg"
    )


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1280, 2000])
def test_nothing_overflows_and_text_can_be_read(
    browser: webdriver.Chrome, pages: Path, width: int, scheme: str
) -> None:
    opened(browser, pages / "report.html", width, scheme)
    assert script(browser, "return document.documentElement.scrollWidth") <= width
    contrast = script(
        browser,
        """
        const light = text => { const c = text.match(/[\\d.]+/g).slice(0, 3).map(v => v / 255)
          .map(v => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
          return 0.2126 * c[0] + 0.7152 * c[1] + 0.0722 * c[2]; };
        const ground = light(getComputedStyle(document.body).backgroundColor);
        return ["body", ".quiet", "h1", "nav a"].map(name => {
          const ink = light(getComputedStyle(document.querySelector(name)).color);
          return (Math.max(ink, ground) + 0.05) / (Math.min(ink, ground) + 0.05); });
        """,
    )
    assert min(contrast) >= 4.5, "WCAG AA"
