"""How long a report takes to open in headless Chromium, each time with a fresh profile.

``python benchmarks/report_load.py report.html [REPETITIONS]``; needs selenium, chromium and chromedriver.
Software WebGL (SwiftShader): a machine with a graphics card is faster. On Linux the processor seconds of all
of Chromium's processes until then stand beside: they say more on a machine that does other things, too.
"""

import json
import os
import shutil
import statistics
import sys
import tempfile
import time
from contextlib import suppress
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
            time.sleep(0.7)  # Chromium's own start is not the report's
            start, used = time.perf_counter(), processor_s(service.process.pid)
            driver.get(path.resolve().as_uri())
            while driver.execute_script("return document.documentElement.dataset.drawn") != "yes":
                time.sleep(0.02)
            all_drawn = time.perf_counter() - start
            cpu = processor_s(service.process.pid) - used
            return driver.execute_script(MARKS) | {"all drawn": all_drawn, "processors": cpu}


def processor_s(root):
    """User and system seconds so far of the processes below `root`; 0 where there is no /proc."""
    children = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):  # it has ended
            fields = path.read_text().rpartition(")")[2].split()
            seconds = sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")  # its ended children's, too
            children.setdefault(int(fields[1]), []).append((int(path.parent.name), seconds))
    total, left = 0.0, [root]
    while left:
        for pid, seconds in children.get(left.pop(), []):
            total += seconds
            left.append(pid)
    return total


if __name__ == "__main__":
    runs = [opened(Path(sys.argv[1])) for _ in range(int(sys.argv[2]) if len(sys.argv) > 2 else 5)]
    medians = {stage: statistics.median(run[stage] for run in runs) for stage in runs[0]}
    print(json.dumps({"cores": os.cpu_count(), "medians_s": medians, "runs": runs}))
