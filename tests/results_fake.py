"""A made-up result of every kind, for tests of storage, pictures and the command line."""

import numpy as np

from efield.frames import pose_from_yaw
from efield.model.placement import Placement
from efield.results import (
    BestPlacement,
    Candidates,
    Check,
    ObjectiveValue,
    OptimizeResult,
    ResultWarning,
    SimulateResult,
    comparison,
    session,
)
from efield.results.cohort import CohortResult, rows_of
from efield.results.comparison import TargetingComparison
from efield.results.scene import Scene
from efield.results.session import SessionResult

SCALP = np.array([-46.0, 53.0, 45.0])
NORMAL = np.array([-0.55, 0.62, 0.56]) / np.linalg.norm([-0.55, 0.62, 0.56])
HASH = "0123456789abcdef" * 4


def pose_info(placement, scalp=SCALP):
    """The keys of the promised JSON ``placement``."""
    return {
        "matsimnibs": placement.matsimnibs.tolist(),
        "center_mm": placement.center_mm.tolist(),
        "scalp_mm": scalp.tolist(),
        "ydir": placement.ydir.tolist(),
        "yaw_to_midline_deg": placement.yaw_to_midline_deg,
        "distance_mm": 4.0,
    }


def fake_placement(yaw_deg=52.5, scalp=SCALP):
    return Placement(pose_from_yaw(scalp + 4.0 * NORMAL, -NORMAL, yaw_deg))


def fake_candidates(n_yaw=24, radius=25.0, spacing=2.0):
    """A grid on the tangent plane bent like a head, a smooth optimum near (4, -3) mm, a hole."""
    u, v = np.meshgrid(np.arange(-radius, radius + 1, spacing), np.arange(-radius, radius + 1, spacing))
    keep = u**2 + v**2 <= radius**2
    u, v = u[keep], v[keep]
    first = np.cross(NORMAL, [0, 0, 1.0])
    first /= np.linalg.norm(first)
    second = np.cross(NORMAL, first)
    scalp = SCALP + np.outer(u, first) + np.outer(v, second) - np.outer((u**2 + v**2) / 180, NORMAL)
    normals = NORMAL + np.outer(u, first) / 90 + np.outer(v, second) / 90
    normals /= np.linalg.norm(normals, axis=1)[:, None]
    yaw = np.arange(n_yaw) * 360.0 / n_yaw - 180.0 + 360.0 / n_yaw
    height = 1.31 * np.exp(-((u - 4) ** 2 / 900 + (v + 3) ** 2 / 500))
    values = height[:, None] * (0.8 + 0.2 * np.abs(np.cos(np.deg2rad(yaw - 52.5))))
    feasible = np.ones_like(values, bool)
    feasible[:5] = False
    return Candidates(scalp, normals, yaw, values, feasible)


def fake_provenance():
    return {
        "efield": "0.1.0",
        "head": "mni152",
        "space": "mni",
        "head_sha256": HASH,
        "coil": "figure8-70mm",
        "coil_sha256": HASH,
        "conductivity": {"grey_matter": 0.275},
        "element_order": 1,
        "dadt_rule": "nodes",
        "run": {"finished_utc": "2026-01-01T00:00:00+00:00"},
    }


def fake_metrics():
    return {
        "n_elements": 221,
        "volume_mm3": 524.0,
        "mean": 1.311,
        "median": 1.30,
        "p95": 1.5,
        "p99": 1.6,
        "peak": 1.9,
        "peak_mm": [-40.0, 50.0, 33.0],
        "half_value_volume_mm3": 21000.0,
        "target_peak_ratio": 0.69,
        "scalp_cortex_mm": 13.4,
        "tilt_deg": 0.0,
        "clearance_mm": 4.1,
    }


FAKE_TARGET = {
    "name": "dlpfc-left",
    "n_elements": 221,
    "volume_mm3": 524.0,
    "center_mm": [-42.0, 44.0, 30.0],
    "moved_mm": 0.0,
    "space": "mni",
}


def fake_scene(elements=(0, 1, 2)):
    """A figure-8 of two dipoles with a casing of eight points."""
    corners = np.array([[x, y, z] for x in (-60.0, 60.0) for y in (-40.0, 40.0) for z in (-10.0, 0.0)])
    dipoles = np.array([[-40.0, 0.0, -5.0], [40.0, 0.0, -5.0]])
    return Scene(dipoles, np.array([[0.0, 0.0, 1.0], [0.0, 0.0, -1.0]]), np.array(elements), corners)


def fake_optimize_result(**changes):
    placement = fake_placement()
    second = fake_placement(-127.5, SCALP + np.array([3.0, 0.0, 0.0]))
    arguments = {
        "placement": placement,
        "placement_info": pose_info(placement),
        "objective": ObjectiveValue("mean_magnitude", 1.311),
        "didt": 1e6,
        "target": dict(FAKE_TARGET),
        "metrics": fake_metrics(),
        "candidates": fake_candidates(),
        "best": (
            BestPlacement(placement, pose_info(placement), 1.311, 1.3109),
            BestPlacement(second, {**pose_info(second), "scalp_mm": None}, 1.3099, 1.3101),
        ),
        "check": Check(1.311, 2e-8, 1e-3),
        "search": {
            "n_positions": 489,
            "n_yaw": 24,
            "n_placements": 11736,
            "grid_best": 1.3109,
            "refined_gain": 3e-5,
            "center_mm": SCALP.tolist(),
        },
        "warnings": (ResultWarning("edge_of_search", "the optimum lies on the edge of the search region"),),
        "timings": {"load": 1.2, "setup": 2.5, "search": 3.0, "total": 6.7},
        "provenance": fake_provenance(),
        "scene": fake_scene(),
    }
    return OptimizeResult(**{**arguments, **changes})


def fake_session_result(**changes):
    measured = {"status": "simulated", "target_mean": 1.3, "grey_peak": 1.9, "x_mm": 1.0, "y_mm": 2.0}
    rows = (
        {
            **dict.fromkeys(session.COLUMNS),
            **measured,
            "z_mm": 3.0,
            "index": 1,
            "name": "a",
            "kind": "sample",
        },
    )
    arguments = {
        "rows": rows,
        "didt": 1e6,
        "target": dict(FAKE_TARGET),
        "session": {
            "source": "a.xml",
            "format": "localite",
            "n_placements": 1,
            "n_simulated": 1,
            "skipped": [],
        },
        "warnings": (),
        "timings": {"load": 1.0, "total": 2.0},
        "provenance": fake_provenance(),
    }
    return SessionResult(**{**arguments, **changes})


def fake_simulate_result(**changes):
    placement = fake_placement()
    arguments = {
        "placement": placement,
        "placement_info": pose_info(placement),
        "didt": 1e6,
        "target": dict(FAKE_TARGET),
        "metrics": fake_metrics(),
        "warnings": (),
        "timings": {"load": 1.0, "total": 2.0},
        "provenance": fake_provenance(),
    }
    return SimulateResult(**{**arguments, **changes})


def fake_row(method, percent, **changes):
    placement = fake_placement(scalp=SCALP + np.array([0.0, 0.3, -0.2]) * (100 - percent))
    numbers = {key: 0.01 * percent for key, _, _ in comparison.COLUMNS}
    row = {"method": method, "summary": f"How {method} does it.", "measured": "words", "error": None}
    row |= {"placement": pose_info(placement), "noise": None, **numbers, "percent_of_optimum": percent}
    return row | {"expected_loss_percent": None} | changes


def fake_comparison(**changes):
    failed = {key: None for key in fake_row("x", 1.0)} | {"method": "map-peak", "summary": "Peak of a map."}
    noise = {"position_mm": 5.5, "source": "navigation"}
    rows = (
        fake_row("5cm", 52.0),
        fake_row("optimised", 100.0, expected_loss_percent=2.0, noise=noise, probability_optimum_better=None),
        failed | {"error": "needs a map"},
    )
    arguments = {
        "rows": rows,
        "target": dict(FAKE_TARGET),
        "didt": 1e6,
        "warnings": (ResultWarning("template", "one template head"),),
        "timings": {"load": 1.0, "total": 2.0},
        "provenance": fake_provenance(),
    }
    return TargetingComparison(**{**arguments, **changes})


def fake_cohort(**changes):
    """Two subjects compared, and one that failed."""
    done = {"status": "done", "error": None, "head": "h.msh"}
    subjects = [
        done | {"subject": name, "folder": f"subjects/{name}", "rows": rows_of(fake_comparison())}
        for name in ("a", "b")
    ]
    lost = {
        "subject": "c",
        "status": "failed",
        "error": "a corrupt head",
        "head": "c.msh",
        "folder": "subjects/c",
    }
    arguments = {
        "study": "compare",
        "subjects": (*subjects, lost | {"rows": []}),
        "timings": {"load": 1.0, "total": 2.0},
        "provenance": fake_provenance(),
    }
    return CohortResult(**{**arguments, **changes})
