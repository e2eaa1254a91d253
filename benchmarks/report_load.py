"""How long a report takes to open in headless Chromium, each time with a fresh profile.

``python benchmarks/report_load.py report.html [REPETITIONS]``; needs selenium, chromium and chromedriver.
Software WebGL (SwiftShader): a machine with a graphics card is faster.
"""

import json
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path

from selenium import webdriver

FLAGS = ("--headless=new", "--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader")
TIMES = "return performance.getEntriesByName('first-contentful-paint')[0].startTime"


def opened(path):
    """Seconds until the first paint, and until everything is drawn."""
    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium")
    service = webdriver.ChromeService(shutil.which("chromedriver"))
    with tempfile.TemporaryDirectory() as profile:
        for flag in (*FLAGS, "--no-first-run", "--window-size=1200,900", f"--user-data-dir={profile}"):
            options.add_argument(flag)
        with webdriver.Chrome(options=options, service=service) as driver:
            start = time.perf_counter()
            driver.get(path.resolve().as_uri())
            while driver.execute_script("return document.documentElement.dataset.drawn") != "yes":
                time.sleep(0.02)
            return driver.execute_script(TIMES) / 1000, time.perf_counter() - start


if __name__ == "__main__":
    runs = [opened(Path(sys.argv[1])) for _ in range(int(sys.argv[2]) if len(sys.argv) > 2 else 5)]
    paint, drawn = map(statistics.median, zip(*runs, strict=True))
    print(json.dumps({"first_paint_s": paint, "all_drawn_s": drawn, "runs": runs}))
