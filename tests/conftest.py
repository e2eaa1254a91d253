"""What all tests share: data beside the repository, hypothesis settings, no windows.

Files that may not be committed lie in ``../shared``. A test that needs one takes the fixture
``shared`` (in a fixture of its own, too) and calls it with the path below that folder::

    def test_reads_the_sphere(shared):
        path = shared("data/meshes/simnibs_sphere3.msh")

The test is skipped where the file is missing, and fails instead when EFIELD_REQUIRE_SHARED=1.
The last lines of the run count both. For use outside fixtures: ``from conftest import shared_path``.
"""

import os
import signal
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

os.environ.setdefault("MPLBACKEND", "Agg")
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # of a background job; children inherit it
    signal.signal(signal.SIGINT, signal.default_int_handler)

SHARED = Path(__file__).resolve().parents[2] / "shared"
MISSING = "shared data missing: "

settings.register_profile(
    "efield",
    derandomize=True,
    database=None,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("efield")


def shared_path(relative_path):
    """Path of a file or folder below ``../shared``; skips or fails the test without it."""
    path = SHARED / relative_path
    if path.exists():
        return path
    message = f"{MISSING}../shared/{relative_path}"
    if os.environ.get("EFIELD_REQUIRE_SHARED") == "1":
        pytest.fail(f"{message} (EFIELD_REQUIRE_SHARED=1)", pytrace=False)
    pytest.skip(message)


@pytest.fixture(scope="session")
def shared():
    """``shared(relative_path) -> Path``, or the test is skipped with the reason."""
    return shared_path


def pytest_runtest_setup(item):
    if "shared" in item.fixturenames:
        item.user_properties.append(("shared", True))


def pytest_terminal_summary(terminalreporter):
    def users(outcome):
        reports = terminalreporter.stats.get(outcome, [])
        return [r for r in reports if ("shared", True) in getattr(r, "user_properties", ())]

    skipped = sum(MISSING in str(r.longrepr) for r in users("skipped"))
    ran = sum(len(users(outcome)) for outcome in ("passed", "failed", "error"))
    required = os.environ.get("EFIELD_REQUIRE_SHARED") == "1"
    rule = "required" if required else "optional: EFIELD_REQUIRE_SHARED=1 makes it required"
    terminalreporter.write_line(
        f"shared data ({rule}): {ran} test(s) used it, {skipped} skipped for want of it"
    )
