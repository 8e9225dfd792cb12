"""The report in a real browser: headless Chromium, no network."""

import shutil

import pytest
from selenium import webdriver
from selenium.webdriver.chrome.service import Service

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
pytestmark = pytest.mark.skipif(
    not (CHROMIUM and DRIVER), reason="needs chromium and chromedriver on the path"
)

FLAGS = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
)  # fmt: skip
PICTURES = """return Array.from(document.images).map(image => (
    {seen: image.complete && image.naturalWidth > 0, alt: image.alt, source: image.currentSrc}))"""
OVERFLOW = """return Array.from(document.querySelectorAll('body *'))
    .filter(element => !element.closest('.scroll > *'))
    .filter(element => element.getBoundingClientRect().right > innerWidth + 1)
    .map(element => element.outerHTML.slice(0, 80))"""
GROUND = "return getComputedStyle(document.body).backgroundColor"


@pytest.fixture
def browser(tmp_path):
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for flag in (*FLAGS, f"--user-data-dir={tmp_path / 'profile'}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(DRIVER))
    yield driver
    driver.quit()


def show(browser, file, width, scheme):
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
    browser.get(file.as_uri())


def test_page_has_no_overflow(synthetic_page, browser):
    file = synthetic_page
    grounds, sources = {}, {}
    for scheme in ("light", "dark"):
        for width in (390, 1280):
            show(browser, file, width, scheme)
            pictures = browser.execute_script(PICTURES)
            assert len(pictures) == 12 + len(list(file.parent.glob("*.png")))
            assert [picture for picture in pictures if not picture["seen"]] == []
            assert all(picture["alt"] for picture in pictures)
            wide = "return document.documentElement.scrollWidth - innerWidth"
            assert browser.execute_script(wide) <= 0
            assert browser.execute_script(OVERFLOW) == []
        grounds[scheme] = browser.execute_script(GROUND)
        sources[scheme] = pictures[0]["source"]
    assert grounds["light"] != grounds["dark"]
    assert sources["light"] != sources["dark"]
    assert browser.get_log("browser") == []


SCROLLED = """return Array.from(document.querySelectorAll('ARG'))
    .map(box => [box.scrollWidth > box.clientWidth, box.clientWidth < 390])"""


def test_wide_tables_become_cards_on_phones(plain_page, browser):
    show(browser, plain_page, 390, "light")
    boxes = browser.execute_script(SCROLLED.replace("ARG", ".cards"))
    assert boxes == [[False, True]] * (3 + 2 + 1)  # experiments, comparisons, published results
    cells = browser.execute_script(
        "return Array.from(document.querySelectorAll('#experiments .cards td'))"
        ".map(cell => [cell.getBoundingClientRect().right, getComputedStyle(cell, '::before')"
        ".content])"
    )
    assert all(right <= 390 and len(head) > 5 for right, head in cells)


def test_other_tables_scroll_with_sticky_column(plain_page, browser):
    show(browser, plain_page, 390, "light")
    boxes = browser.execute_script(SCROLLED.replace("ARG", "#trials details[open] .scroll"))
    assert boxes == [[True, True]] * 2
    moved = browser.execute_script(
        "const box = document.querySelector('#trials details[open] .scroll');"
        "box.scrollLeft = 60; const cells = box.querySelectorAll('tbody tr:first-child > *');"
        "return Array.from(cells).slice(0, 2).map(cell => cell.getBoundingClientRect().left)"
    )
    assert moved[0] >= 16 > moved[1]


def test_forest_plot_fills_wide_screens(plain_page, browser):
    widths = []
    for width in (390, 1280):
        show(browser, plain_page, width, "light")
        widths.append(browser.execute_script("return document.querySelector('.wide img').width"))
    assert widths[0] < 390
    assert widths[1] > 1000


def test_figure_text_is_readable_on_phones(synthetic_page, browser):
    show(browser, synthetic_page, 390, "light")
    scale = browser.execute_script(
        "return Math.min(...Array.from(document.querySelectorAll('figure img'))"
        ".filter(image => image.offsetWidth)"
        ".map(image => image.width / image.getAttribute('width')))"
    )
    assert scale > 0.8  # figures are drawn in 9 point (12 px) and more
