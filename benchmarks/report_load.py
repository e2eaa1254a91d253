"""How long a report takes to open in headless Chromium, each time with a fresh profile.

``python benchmarks/report_load.py report.html [REPETITIONS]``; needs selenium, chromium and chromedriver.
Software WebGL (SwiftShader): a machine with a graphics card is faster.
"""

import json
import os
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path

from selenium import webdriver

FLAGS = ("--headless=new", "--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader")
MARKS = """
const found = ["paint", "mark"].flatMap((kind) => performance.getEntriesByType(kind));
return Object.fromEntries(found.map((one) => [one.name, one.startTime / 1000]));
"""
"""The first paint, and the page's own marks: its scripts read, each figure handed to the browser."""


def opened(path):
    """Seconds until each stage, and until everything is drawn."""
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
            all_drawn = time.perf_counter() - start
            return driver.execute_script(MARKS) | {"all drawn": all_drawn}


if __name__ == "__main__":
    runs = [opened(Path(sys.argv[1])) for _ in range(int(sys.argv[2]) if len(sys.argv) > 2 else 5)]
    medians = {stage: statistics.median(run[stage] for run in runs) for stage in runs[0]}
    print(json.dumps({"cores": os.cpu_count(), "medians_s": medians, "runs": runs}))
