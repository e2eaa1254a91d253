"""From a head, a coil and a target to the best placement."""

from dataclasses import replace

import numpy as np

from efield.errors import SearchError
from efield.model.coils import load_coil
from efield.results.outputs import check_output
from efield.search.avoid import resolve_avoid
from efield.search.candidates import Search
from efield.search.certificate import EPSILON, certify_run, require_certifiable
from efield.search.clock import Clock
from efield.search.constraints import Constraints
from efield.search.deform import best_setting, check_steps
from efield.search.discretization import discretization
from efield.search.noise import PoseNoise
from efield.search.objectives import make_objective
from efield.search.report import make_result
from efield.search.robust import robust_placements, robustness_of
from efield.search.run import judged_operator, start_run

JUDGED = 10
"""Placements that are solved forward at least, so that few asked for do not change the best."""


def optimize_coil(
    head,
    coil,
    target,
    *,
    objective="mean_magnitude",
    direction=None,
    search=None,
    constraints=None,
    avoid=None,
    robust=None,
    didt=1e6,
    element_order=None,
    verify=True,
    n_best=10,
    out_dir=None,
    progress=None,
    certify=False,
    deform=None,
    error_bar=True,
):
    """Find the coil placement that maximises the field in a target.

    Adjoint solves give, by reciprocity, the value of every placement from the coil's dipoles
    alone: of the mean field, or of every element's where the objective needs that. The best of
    the grid are polished continuously and judged by forward solves.

    Parameters
    ----------
    head : HeadModel, PreparedHead, str or path
    coil : Coil, str or path
    target : Target, str or (x, y, z)
        A target, a name of the registry, or a point in mm in the head's own space (5 mm ball).
    objective : str or callable
        "mean_magnitude" (volume-weighted mean of |E|), "magnitude_of_mean" (|mean of E|),
        "directional" (mean of E along `direction`), "normal" (mean of E along the cortical
        normal, positive out of the cortex), "percentile:Q" (of |E|), or a function of E (n, 3)
        in V/m and volumes (n,) in m^3 that returns the value to maximise, alone or with its
        derivative (n, 3) in E. Polished with exact gradients, but percentiles and functions
        without a derivative by values alone.
    direction : (3,) array, optional
        For "directional".
    search : Search, optional
    constraints : Constraints, optional
    avoid : Avoid or sequence of Avoid, optional
        Regions whose field is limited, or weighed against the objective.
    robust : PoseNoise, optional
        Maximise the objective under this placement noise, by its measure. Without it the
        result states what the noise of neuronavigation costs.
    didt : float
        Rate of change of the coil current, A/s; values scale with it.
    element_order : {1, 2}
        Order of the finite elements; None is that of a prepared head, else 1.
    verify : bool
        Compare the optimum's forward field with its reciprocity value.
    n_best : int
        Distinct placements to keep.
    out_dir : path, optional
        Where to save the result; checked before anything is computed.
    progress : callable, optional
        Called with (stage, fraction); may raise to cancel.
    certify : bool or float
        Bound what any placement of the region can reach, to within a share of the reported
        value (True: 1 %). Takes minutes; see docs/certificate.md.
    deform : int, optional
        For a coil with movable parts: try so many settings of each, their ranges' ends among
        them, refine the best, and place the coil at that. Without it the parts stay as they are.
    error_bar : bool
        Estimate the discretization error of the optimum, as docs/accuracy.md describes.

    Returns
    -------
    OptimizeResult

    Raises
    ------
    EfieldError
        Unusable input, see the tree in :mod:`efield.errors`; nothing is written then.
    """
    if out_dir is not None:
        check_output(out_dir)
    if robust is not None and not isinstance(robust, PoseNoise):
        raise SearchError(f"robust must be a PoseNoise, not {robust!r}")
    if robust is not None and avoid is not None:
        raise SearchError("robust and avoid do not go together yet; leave one out")
    epsilon = _epsilon(certify)
    goal = make_objective(objective, direction)
    search, constraints = search or Search(), constraints or Constraints()
    if not isinstance(n_best, int | np.integer) or n_best < 1:
        raise SearchError(f"n_best must be a whole number of at least 1, not {n_best!r}")
    if deform is not None:
        coil = load_coil(coil)
        check_steps(coil, deform)
    clock = Clock(progress)
    run = start_run(
        head,
        coil,
        target,
        goal,
        search=search,
        constraints=constraints,
        didt=didt,
        clock=clock,
        element_order=element_order,
        avoided=lambda model, region: resolve_avoid(avoid, model, region),
    )
    settings = None
    if deform is not None:
        coil, settings = best_setting(run, deform)
        run = run.with_(coil=coil)
    found = run.explore()
    if epsilon is not None:
        require_certifiable(run, found)
    count = max(n_best, JUDGED)
    with clock.stage("refine"):
        if robust is not None:
            chosen = robust_placements(run, found, robust, count)
        else:
            chosen = run.refine(found, count) if search.refine else run.grid_placements(found, count)
    with clock.stage("check"):
        best, field = run.judge(chosen, in_order=robust is not None)
        check = run.check(field) if verify else None
    if robust is None:  # else the search's values are measures under noise, not the objective's
        found = replace(found, operator=judged_operator(found.operator, best))
    mesh_error = None
    if error_bar:
        with clock.stage("discretization"):
            mesh_error = discretization(run, field, best[0].value)
    pose = best[0].placement.matsimnibs
    with clock.stage("robustness"):
        noise = robust or PoseNoise.neuronavigation()
        spread = robustness_of(run, found, pose, noise, optimized=robust is not None)
    certificate = None
    if epsilon is not None:
        with clock.stage("certificate"):
            certificate = certify_run(run, found, pose, epsilon)
    result = make_result(run, found, best, n_best, field, check, spread, certificate, mesh_error)
    if settings is not None:
        result = replace(result, search={**result.search, "deformations": settings})
    if out_dir is not None:
        result.save(out_dir)
    return result


def _epsilon(certify):
    """The share that a certificate is asked for, or None for no certificate."""
    if certify is False or certify is None:
        return None
    epsilon = EPSILON if certify is True else certify
    if not isinstance(epsilon, int | float | np.number) or not 0 < epsilon < np.inf:
        raise SearchError(f"certify must be True, False or a positive share such as 0.01, not {certify!r}")
    return float(epsilon)
