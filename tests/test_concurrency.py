"""Threads and processes that call efield at the same time, and objects that travel between them."""

import json
import multiprocessing
import os
import pickle
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from pathlib import Path

import numpy as np
import pytest
from small_heads import QUICK, TARGET_MM, few_dipoles, sphere

from efield.forward import Field, simulate
from efield.model.coil import Coil
from efield.model.coils import load_coil
from efield.model.head import HeadModel
from efield.model.mesh import TetMesh
from efield.model.placement import Placement
from efield.model.surface import TriSurface
from efield.model.target import Target, TargetRegion
from efield.search.constraints import Constraints
from efield.search.optimize import optimize_coil
from efield.solve.prepared import prepare

COIL = "figure8-70mm"
PATIENCE_S = 240
"""A deadlock fails the test after this long instead of hanging the run."""


def job(head=None):
    """One optimization; everything it says that may not change."""
    result = optimize_coil(head or sphere(), few_dipoles(), Target.sphere(TARGET_MM, 8.0), search=QUICK)
    return result.to_json(volatile=False), result.field.E.tobytes()


def job_number(_):
    return job()


@pytest.fixture(scope="module")
def alone():
    return job()


# --- at the same time


def test_two_threads_that_share_a_head(alone):
    with ThreadPoolExecutor(2) as pool:
        results = list(pool.map(job_number, range(2), timeout=PATIENCE_S))
    assert results == [alone] * 2


def test_two_threads_with_heads_of_their_own(alone):
    """Set-up, too, runs at the same time."""
    heads = [HeadModel(sphere().head.mesh, None, name="sphere") for _ in range(2)]
    with ThreadPoolExecutor(2) as pool:
        results = list(pool.map(job, heads, timeout=PATIENCE_S))
    assert results == [alone] * 2


BLAS_THREADS = """
import json, sys
sys.path.insert(0, {folder!r})
from test_concurrency import job
result = json.loads(job()[0])
value, best = result["objective"]["value"], result["search"]["grid_best"]
print(json.dumps([value, best, result["placement"]["matsimnibs"]]))
"""


def test_threads_of_the_linear_algebra_library():
    """They round the exterior fit differently; what is reported comes from forward solves."""
    code = BLAS_THREADS.format(folder=str(Path(__file__).parent))
    results = []
    for threads in ("1", "2"):
        environment = {**os.environ, "OPENBLAS_NUM_THREADS": threads, "MKL_NUM_THREADS": threads}
        run = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment
        )
        results.append(json.loads(run.stdout))
    (value, grid_best, pose), (other_value, other_best, other_pose) = results
    assert other_value == pytest.approx(value, rel=1e-6)
    assert other_best == pytest.approx(grid_best, rel=1e-4)
    np.testing.assert_allclose(other_pose, pose, atol=1e-2)  # mm


METHODS = [m for m in ("fork", "spawn") if m in multiprocessing.get_all_start_methods()]


@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
@pytest.mark.parametrize("method", METHODS)
def test_two_processes(alone, method):
    """A fork inherits this process's thread pool without its threads, and must make its own."""
    with multiprocessing.get_context(method).Pool(2) as pool:
        results = pool.map_async(job_number, range(2), chunksize=1).get(PATIENCE_S)
    assert results == [alone] * 2


@pytest.mark.skipif("fork" not in METHODS, reason="no fork on this platform")
@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
def test_a_fork_while_another_thread_computes(alone):
    with ThreadPoolExecutor(1) as thread:
        busy = thread.submit(job)
        with multiprocessing.get_context("fork").Pool(1) as pool:
            there = pool.map_async(job_number, range(1)).get(PATIENCE_S)
        assert busy.result(PATIENCE_S) == alone
    assert there == [alone]


# --- pickles


def filled(kind):
    """An object whose every cached property has been asked for."""
    head = HeadModel(sphere().head.mesh, None, name="sphere")
    placement = Placement.on_scalp(head, (-60, 20, 50))
    made = {
        HeadModel: lambda: head,
        TetMesh: lambda: TetMesh(head.nodes_mm, head.tets, head.tags),
        TriSurface: lambda: TriSurface(head.scalp.vertices_mm, head.scalp.triangles),
        Coil: lambda: Coil(load_coil(COIL).positions_mm, load_coil(COIL).moments),
        Placement: lambda: placement,
        Field: lambda: simulate(sphere(), COIL, placement),
        TargetRegion: lambda: Target.sphere(TARGET_MM, 8.0).resolve(head),
    }[kind]()
    for name in vars(kind):
        if isinstance(vars(kind)[name], cached_property):
            getattr(made, name)
    return made


@pytest.mark.parametrize("kind", [HeadModel, TetMesh, TriSurface, Coil, Placement, Field, TargetRegion])
def test_pickles_carry_the_fields_and_no_caches(kind):
    before = filled(kind)
    fields = set(before.__dataclass_fields__)
    data = pickle.dumps(before)
    after = pickle.loads(data)
    assert set(vars(after)) == fields
    assert any(isinstance(v, cached_property) for v in vars(kind).values()) == (set(vars(before)) > fields)
    for name in fields:
        one, other = getattr(before, name), getattr(after, name)
        if isinstance(one, np.ndarray):
            np.testing.assert_array_equal(one, other)
            assert not other.flags.writeable
    fresh = pickle.loads(pickle.dumps(after))
    assert abs(len(pickle.dumps(fresh)) - len(data)) < 200


def test_a_head_that_travelled_gives_the_same(alone):
    head = filled(HeadModel)
    assert job(pickle.loads(pickle.dumps(head))) == alone
    assert pickle.loads(pickle.dumps(head)).sha256 == head.sha256


def test_a_prepared_head_travels_as_its_head():
    prepared = prepare(filled(HeadModel))
    data = pickle.dumps(prepared)
    assert len(data) < len(pickle.dumps(prepared.head)) + 500
    again = pickle.loads(data)
    pose = Placement.on_scalp(prepared, (-60, 20, 50))
    np.testing.assert_array_equal(simulate(again, COIL, pose).E, simulate(prepared, COIL, pose).E)


def test_a_field_that_travelled_still_works():
    field = filled(Field)
    region = filled(TargetRegion)
    again = pickle.loads(pickle.dumps(field))
    np.testing.assert_array_equal(again.magnitude, field.magnitude)
    assert again.metrics(pickle.loads(pickle.dumps(region))) == field.metrics(region)


@pytest.mark.parametrize(
    "made",
    [
        Target.sphere(TARGET_MM, 8.0),
        Target.mni((-42, 44, 30)),
        Target.elements([3, 1]),
        Target.mask("mask.nii"),
        Target.named("dlpfc-left"),
        QUICK,
        Constraints(distance_mm=6.0, yaw_range_deg=(-90, 90)),
    ],
    ids=lambda made: type(made).__name__,
)
def test_what_is_asked_for_travels(made):
    again = pickle.loads(pickle.dumps(made))
    assert repr(again) == repr(made)
    if isinstance(made, Target) and made.name.startswith("sphere"):
        np.testing.assert_array_equal(
            again.resolve(sphere().head).elements, made.resolve(sphere().head).elements
        )


def test_a_result_travels(alone):
    result = optimize_coil(sphere(), few_dipoles(), Target.sphere(TARGET_MM, 8.0), search=QUICK)
    again = pickle.loads(pickle.dumps(result))
    assert again.to_json() == result.to_json()
    assert again.to_json(volatile=False) == alone[0]


def test_no_numba_threading_layer_is_started(alone):
    """Its default one aborts the process when two threads enter it."""
    import numba

    with pytest.raises(ValueError, match="not initialized"):
        numba.threading_layer()
    assert "numba.np.ufunc.workqueue" not in sys.modules
