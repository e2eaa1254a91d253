"""The report in a browser: it draws, complains of nothing and asks the network for nothing.

Skipped where no Chromium with its driver is installed (Debian: chromium chromium-driver), or fails there
with EFIELD_REQUIRE_BROWSER=1.
"""

import base64
import dataclasses
import io
import json
import os
import shutil
import time

import matplotlib.image
import numpy as np
import pytest
from results_fake import fake_comparison, fake_provenance
from test_report import HOSTILE, fake_field, whole_result

from efield.model.head import HeadModel
from efield.model.mesh import TetMesh
from efield.report import write_report
from efield.results.parts import ResultWarning

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
PATIENCE_S = 120
FLAGS = (
    *("--headless=new", "--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"),
    *("--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update"),
    *("--disable-sync", "--window-size=1200,900"),
)


def lacking(what):
    """Skip with the reason, or fail where a browser is required."""
    if os.environ.get("EFIELD_REQUIRE_BROWSER") == "1":
        pytest.fail(f"{what} (EFIELD_REQUIRE_BROWSER=1)", pytrace=False)
    pytest.skip(what)


@pytest.fixture(scope="module")
def driver(tmp_path_factory):
    try:
        from selenium import webdriver as selenium
    except ImportError:
        lacking("the report was not opened in a browser: selenium is not installed (efield[test])")
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None or shutil.which("chromedriver") is None:
        lacking(
            "the report was not opened in a browser: no Chromium with chromedriver is installed (Debian: "
            "apt-get install chromium chromium-driver)"
        )
    options = selenium.ChromeOptions()
    options.binary_location = browser
    for flag in (*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('profile')}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    service = selenium.ChromeService(shutil.which("chromedriver"))
    with selenium.Chrome(options=options, service=service) as started:
        started.set_script_timeout(PATIENCE_S)
        yield started


def under_the_coil():
    """The field of a cube of 90 mm below the coil, with a casing between it and the eye."""
    field, pose = fake_field(), whole_result().placement.matsimnibs
    nodes = field.head.nodes_mm
    nodes = (nodes - nodes.mean(axis=0)) * 90 / np.ptp(nodes, axis=0) + pose[:3, 3] + 85 * pose[:3, 2]
    mesh = TetMesh(nodes, field.head.tets, field.head.tags)
    return dataclasses.replace(field, head=HeadModel.from_mesh(mesh))


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """A report of hostile names, with everything in it."""
    folder = tmp_path_factory.mktemp("result")
    source = fake_provenance() | {"head": HOSTILE, "coil": HOSTILE, "dadt_rule": HOSTILE}
    source["run"] = {"finished_utc": HOSTILE, "platform": HOSTILE, "packages": {HOSTILE: HOSTILE}}
    target = whole_result().target | {"name": HOSTILE}
    warned = (ResultWarning(HOSTILE, HOSTILE),)
    whole_result(provenance=source, target=target, field=under_the_coil(), warnings=warned).save(folder)
    hostile = {"summary": HOSTILE, "measured": HOSTILE}
    rows = [row | hostile | {"method": f"{k}{HOSTILE}"} for k, row in enumerate(fake_comparison().rows)]
    rows = tuple(row | ({"error": HOSTILE} if row["error"] else {}) for row in rows)
    fake_comparison(rows=rows).save(folder)
    return write_report(folder, folder / "report.html")


def opened(driver, path, scheme):
    """Open a report in light or dark; returns the requests that it made."""
    driver.execute_cdp_cmd(
        "Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
    )
    for log in ("browser", "performance"):
        driver.get_log(log)
    driver.get(path.as_uri())
    end = time.monotonic() + PATIENCE_S
    while driver.execute_script("return document.documentElement.dataset.drawn") != "yes":
        assert time.monotonic() < end, driver.get_log("browser")
        time.sleep(0.1)
    messages = [json.loads(entry["message"])["message"] for entry in driver.get_log("performance")]
    urls = [m["params"]["request"]["url"] for m in messages if m["method"] == "Network.requestWillBeSent"]
    return [url for url in urls if not url.startswith(("data:", "blob:", "chrome:", "chrome-"))]


def pixels(driver, selector):
    """The picture of one element, (rows, columns, 4) in [0, 1]."""
    box = driver.execute_script(
        "const b = document.querySelector(arguments[0]).getBoundingClientRect();"
        "return {x: b.x + scrollX, y: b.y + scrollY, width: b.width, height: b.height, scale: 1};",
        selector,
    )
    shot = driver.execute_cdp_cmd("Page.captureScreenshot", {"clip": box, "captureBeyondViewport": True})
    return matplotlib.image.imread(io.BytesIO(base64.b64decode(shot["data"])), format="png")


def n_colours(picture):
    return len(np.unique((picture[..., :3] * 31).astype(int) @ [1, 32, 32**2]))


HOVER = "return [...document.querySelectorAll('#head .hovertext')].map(e => e.textContent)"


def selenium_actions(driver):
    from selenium.webdriver.common.action_chains import ActionChains

    return ActionChains(driver, duration=50)


def show(driver, layer, shown):
    labels = "[...document.querySelectorAll('.controls label')]"
    box = f"{labels}.find(l => l.textContent.includes('{layer}')).control"
    if driver.execute_script(f"return {box}.checked") != shown:
        driver.execute_script(f"{box}.click()")
        time.sleep(1.0)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_draws_and_asks_for_nothing(driver, report, scheme):
    assert opened(driver, report, scheme) == [report.as_uri()]
    errors = [entry for entry in driver.get_log("browser") if entry["level"] in ("SEVERE", "WARNING")]
    harmless = "willReadFrequently"  # a hint of Chromium on speed, about plotly's reading of its canvas
    assert [entry for entry in errors if harmless not in entry["message"]] == []
    assert driver.execute_script("return document.querySelectorAll('.gl-container canvas').length") >= 1
    wide, drawn = driver.execute_script(
        "const c = document.querySelector('.gl-container canvas');"
        "return [c.clientWidth * devicePixelRatio, c.width]"
    )
    assert abs(drawn - wide) <= 1, "more pixels than the screen has: several times the work"
    solid = pixels(driver, "#head")
    assert n_colours(solid) > 200, "the 3D canvas is blank"
    assert driver.execute_script(PIN) == "target inside"
    ink = driver.execute_script("return getComputedStyle(document.querySelector('#yaw .xtick text')).fill")
    assert (sum(map(int, ink[4:-1].split(","))) > 380) == (scheme == "dark")
    for name in ("yaw", "tolerance", "distribution", "compare"):
        assert driver.execute_script(f"return document.querySelectorAll('#{name} path').length") > 3, name
    # The hostile names have become text, not elements, in the page and in the charts.
    assert (
        driver.execute_script("return document.querySelectorAll('img:not(#head-print), main b').length") == 0
    )
    assert "onerror=alert(1)" in driver.execute_script(
        "return document.querySelector('#compare').textContent"
    )


def test_layers_views_and_copy(driver, report):
    opened(driver, report, "light")
    whole = pixels(driver, "#head")
    show(driver, "coil", False)
    assert np.abs(pixels(driver, "#head") - whole).mean() > 1e-4
    show(driver, "coil", True)
    driver.execute_script("document.querySelector('[data-view=top]').click()")
    time.sleep(1.0)
    assert np.abs(pixels(driver, "#head") - whole).mean() > 1e-3
    driver.execute_script("document.querySelector('[data-copy=matrix]').click()")
    time.sleep(0.5)
    words = driver.execute_script("return document.querySelector('[data-copy=matrix]').textContent")
    assert words in ("Copied", "Selected: Ctrl-C")


PIN = """
const dot = document.querySelector('#head .annotation-arrow-g');
if (!dot) return null;
const box = document.querySelector('#head').getBoundingClientRect();
const at = dot.getBoundingClientRect();
const inside = at.left > box.left && at.right < box.right && at.top > box.top && at.bottom < box.bottom;
return document.querySelector('#head .annotation-text-g').textContent + (inside ? ' inside' : ' outside');
"""


def test_the_target_is_marked_above_everything_at_first_sight(driver, report):
    """Coil and cortex lie before it in 3D; its mark is no part of the canvas. It goes with its layer."""
    size = {"width": 390, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    try:
        opened(driver, report, "light")
        assert driver.execute_script(PIN) == "target inside"
        red = np.array([0xD0, 0x10, 0x4C]) / 255
        assert (np.abs(pixels(driver, "#head")[..., :3] - red).max(axis=-1) < 0.02).sum() > 200
        show(driver, "target", False)
        assert driver.execute_script(PIN) is None
        show(driver, "target", True)
        assert driver.execute_script(PIN) == "target inside"
    finally:
        driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


@pytest.mark.parametrize("shown_again", [False, True])
def test_the_pointer_tells_the_field_through_scalp_and_coil(driver, report, shown_again):
    opened(driver, report, "light")
    if shown_again:
        for shown in (False, True):
            show(driver, "scalp", shown)
    head = driver.find_element("css selector", "#head")
    found = set()
    for across in range(-100, 101, 25):
        for down in (-60, -20, 20, 60):
            actions = selenium_actions(driver)
            actions.move_to_element_with_offset(head, across, down).perform()
            time.sleep(0.25)
            found |= set(driver.execute_script(HOVER))
            if any("V/m" in text for text in found):
                return
    raise AssertionError(f"no V/m under the pointer, only {found}")


EYE = "const e = document.getElementById('head').layout.scene.camera.eye; return [e.x, e.y, e.z]"


def test_dragging_turns_the_head_and_the_search_map_comes_and_goes(driver, report):
    opened(driver, report, "light")
    before, whole = np.array(driver.execute_script(EYE)), pixels(driver, "#head")
    head = driver.find_element("css selector", "#head")
    actions = selenium_actions(driver).move_to_element_with_offset(head, 60, 0).click_and_hold()
    actions.move_by_offset(80, 30).move_by_offset(60, 20).release().perform()
    time.sleep(0.5)
    after, turned = np.array(driver.execute_script(EYE)), pixels(driver, "#head")
    apart = np.degrees(np.arccos(before @ after / np.linalg.norm(before) / np.linalg.norm(after)))
    assert apart > 15
    assert np.linalg.norm(after) == pytest.approx(np.linalg.norm(before), rel=0.02), (
        "it turns, it does not zoom"
    )
    assert np.abs(turned - whole).mean() > 1e-3
    show(driver, "search map", True)
    mapped = pixels(driver, "#head")
    assert np.abs(mapped - turned).mean() > 1e-3
    show(driver, "search map", False)
    assert np.abs(pixels(driver, "#head") - turned).mean() < 0.1 * np.abs(mapped - turned).mean()


SHOWN = """
return Object.fromEntries(arguments[0].map(name => [name, [...document.querySelectorAll(name)]
  .filter(e => getComputedStyle(e).display !== 'none' && e.getBoundingClientRect().height > 0).length]))
"""


def test_paper_has_no_switches_and_a_picture_of_the_head(driver, report):
    """The page as its style sheet for print lays it out, and as a PDF."""
    opened(driver, report, "dark")
    shot = base64.b64decode(printed(driver).partition(",")[2])
    assert n_colours(matplotlib.image.imread(io.BytesIO(shot), format="png")) > 200
    names = [".controls", ".copy button", "#head", "#head-print", "#yaw", "#methods"]
    on_screen = driver.execute_script(SHOWN, names)
    assert on_screen == {**dict.fromkeys(names, 1), ".copy button": 2, "#head-print": 0}
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    try:
        hidden = dict.fromkeys((".controls", ".copy button", "#head"), 0)
        assert driver.execute_script(SHOWN, names) == {**dict.fromkeys(names, 1), **hidden}
        ink = driver.execute_script("return getComputedStyle(document.querySelector('h1')).color")
        assert ink == "rgb(0, 0, 0)"
    finally:
        driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})
    pdf = base64.b64decode(driver.execute_cdp_cmd("Page.printToPDF", {"printBackground": False})["data"])
    assert pdf.startswith(b"%PDF") and b"/Subtype /Image" in pdf
    assert 2 <= pdf.count(b"/Type /Page\n") <= 12


def printed(driver):
    """Wait for the picture of the head; the text of its source."""
    end = time.monotonic() + PATIENCE_S
    source = "return document.getElementById('head-print').src"
    while not driver.execute_script(source).startswith("data:image/png"):
        assert time.monotonic() < end, "no picture for print"
        time.sleep(0.2)
    return driver.execute_script(source)


SCROLLING = """
return [...document.querySelectorAll('.scroll')].filter(box => box.scrollWidth > box.clientWidth + 1)
  .map(box => box.closest('section').querySelector('h2').textContent)
"""

OVERFLOWING = """
return [...document.querySelectorAll('.plot')].filter(plot => {
  const box = plot.getBoundingClientRect();
  const drawn = plot.querySelector('.svg-container').getBoundingClientRect();
  return drawn.bottom > box.bottom + 2 || drawn.right > box.right + 2 || drawn.height < 100;
}).map(plot => plot.id)
"""


@pytest.mark.parametrize("width", [380, 1400])
def test_nothing_sticks_out_sideways(driver, report, width):
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    try:
        opened(driver, report, "light")
        assert driver.execute_script("return document.documentElement.scrollWidth") <= width
        if width < 520:
            assert driver.execute_script(SCROLLING) == [], "a table is wider than a telephone"
        driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size | {"width": width - 40})
        time.sleep(1.0)
        assert driver.execute_script(OVERFLOWING) == []
    finally:
        driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
