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
UNFOLD = "document.querySelectorAll('details.fold').forEach(fold => { fold.open = true; })"
GROUND = "return getComputedStyle(document.body).backgroundColor"


@pytest.fixture(scope="module")
def driver(tmp_path_factory):
    options = webdriver.ChromeOptions()
    options.binary_location = str(CHROMIUM)
    for flag in (*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('profile')}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(DRIVER))
    yield driver
    driver.quit()


@pytest.fixture
def browser(driver):
    """The browser with an empty page and without the log of earlier tests."""
    driver.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})
    driver.get("about:blank")
    driver.get_log("browser")
    return driver


def show(browser, file, width, scheme="light", unfold=True):
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "", "features": features})
    browser.get(file.as_uri())
    if unfold:
        browser.execute_script(UNFOLD)


def test_page_has_no_overflow(synthetic_page, browser):
    file = synthetic_page
    grounds, sources = {}, {}
    for scheme in ("light", "dark"):
        for width in (390, 1280):
            show(browser, file, width, scheme)
            pictures = browser.execute_script(PICTURES)
            assert len(pictures) > 20
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
    show(browser, plain_page, 390)
    boxes = browser.execute_script(SCROLLED.replace("ARG", ".cards"))
    assert boxes == [[False, True]] * (3 + 2 + 1)  # experiments, comparisons, published results
    cells = browser.execute_script(
        "return Array.from(document.querySelectorAll('#experiments .cards td'))"
        ".map(cell => [cell.getBoundingClientRect().right, getComputedStyle(cell, '::before')"
        ".content])"
    )
    assert all(right <= 390 and len(head) > 5 for right, head in cells)


def test_other_tables_scroll_with_sticky_column(plain_page, browser):
    show(browser, plain_page, 390)
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
        show(browser, plain_page, width)
        widths.append(browser.execute_script("return document.querySelector('.wide img').width"))
    assert widths[0] < 390
    assert widths[1] > 1000


def test_figure_text_is_readable_on_phones(synthetic_page, browser):
    show(browser, synthetic_page, 390)
    scale = browser.execute_script(
        "return Math.min(...Array.from(document.querySelectorAll('figure img'))"
        ".filter(image => image.offsetWidth)"
        ".map(image => image.width / image.getAttribute('width')))"
    )
    assert scale > 0.8  # figures are drawn in 9 point (12 px) and more


def texts(browser, selector):
    script = "return Array.from(document.querySelectorAll(arguments[0])).map(e => e.innerText)"
    return browser.execute_script(script, selector)


def click(browser, selector):
    browser.execute_script("document.querySelector(arguments[0]).click()", selector)


def test_first_screen_fits_a_desk(plain_page, browser):
    show(browser, plain_page, 1280, unfold=False)
    bottom = "return document.querySelector('.facts').getBoundingClientRect().bottom"
    assert browser.execute_script(bottom) <= 800
    assert browser.execute_script("return document.documentElement.scrollHeight") < 2000


def test_table_sorts(plain_page, browser):
    show(browser, plain_page, 1280)
    column = "#trials details[open] tbody td:nth-child(5)"  # accuracy on test images
    click(browser, "#trials details[open] th:nth-child(5) .sort")
    first = "#trials details[open] table"
    shares = [float(text.rstrip("%")) for text in texts(browser, column)][:10]
    assert shares == sorted(shares, reverse=True)
    click(browser, "#trials details[open] th:nth-child(5) .sort")
    shares = [float(text.rstrip("%")) for text in texts(browser, column)][:10]
    assert shares == sorted(shares)
    assert len(set(shares)) > 1
    head = f"return document.querySelector('{first} th:nth-child(5)').ariaSort"
    assert browser.execute_script(head) == "ascending"


def test_table_filters(plain_page, browser):
    show(browser, plain_page, 1280)
    box = browser.find_element("css selector", "#wrong input[type=search]")
    visible = "#wrong .filter + .scroll tbody tr:not([hidden])"
    before = texts(browser, visible)
    name = before[2].split()[0]
    box.send_keys(name.upper())
    assert texts(browser, visible) == [row for row in before if name in row]
    assert texts(browser, "#wrong .filter .sub") == [f"1 of {len(before)} rows"]
    box.clear()
    box.send_keys("no such image")
    assert texts(browser, visible) == []


def test_chosen_experiments_are_compared(plain_page, browser):
    show(browser, plain_page, 1280)
    boxes = browser.find_elements("css selector", ".choose input")
    assert len(boxes) == 5
    boxes[0].click()
    press = "arguments[0].click()"  # the bar at the bottom may cover a box
    assert not browser.find_element("css selector", ".bar .button").is_enabled()
    browser.execute_script(press, boxes[1])
    click(browser, ".bar .button")
    title, table, pairs = (texts(browser, f".viewer {part}") for part in
                           ("h2", "tr[data-experiment] th", "tr[data-first] th"))  # fmt: skip
    assert title == ["2 experiments"]
    assert [name.splitlines()[0] for name in table] == [
        "Linear SVM on reference features", "Polynomial SVM on reference features",
    ]  # fmt: skip
    assert pairs == ["Linear SVM on reference features − polynomial SVM on reference features"]
    assert len(texts(browser, ".viewer .matrix")) == 2
    click(browser, ".viewer .button")
    browser.execute_script(press, boxes[4])  # another protocol
    click(browser, ".bar .button")
    assert "not directly comparable" in texts(browser, ".viewer .warn")[0]


def test_confusion_cell_opens_its_images(plain_page, synthetic_page, browser):
    for page, faces in ((plain_page, False), (synthetic_page, True)):
        show(browser, page, 390, unfold=False)
        cell = ".screen .matrix td:not(.right) a"
        href = browser.execute_script(f"return document.querySelector('{cell}').hash.slice(1)")
        click(browser, cell)
        listed = browser.execute_script(
            f"return Array.from(document.querySelectorAll('#{href} code')).map(e => e.textContent)"
        )
        assert listed
        assert texts(browser, ".viewer .images code") == listed
        shown = "return Array.from(document.querySelectorAll('.viewer img')).length"
        assert browser.execute_script(shown) == (len(listed) if faces else 0)


def test_page_works_without_scripts(plain_page, browser):
    browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    show(browser, plain_page, 1280, unfold=False)
    browser.get(plain_page.as_uri() + "#trials")
    assert browser.find_element("css selector", "#trials").is_displayed()
    assert browser.find_elements("css selector", ".sort, .filter, .choose, .bar") == []


def test_printed_page(plain_page, browser):
    show(browser, plain_page, 1280, unfold=False)
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    for hidden in ("nav", ".filter", ".fold", ".choose"):
        assert not browser.find_element("css selector", hidden).is_displayed()
    assert browser.find_element("css selector", ".screen").is_displayed()
