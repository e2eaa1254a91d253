"""What a run returns: `OptimizeResult` and `SimulateResult`.

Both are frozen, hold no reference to open files, and turn into the same strict JSON that the
command line writes. Storage lies in `store` and `export`, the picture in `picture`.
"""

from dataclasses import dataclass, field
from types import MappingProxyType

from efield.model.placement import Placement
from efield.results import store
from efield.results.export import export
from efield.results.parts import BestPlacement, Candidates, Check, ObjectiveValue, ResultWarning
from efield.results.plain import dumps, plain
from efield.results.scene import read_scene
from efield.results.tables import read_candidates

OPTIMIZE_SCHEMA = "efield.optimize/1"
SIMULATE_SCHEMA = "efield.simulate/1"

UNITS = MappingProxyType(
    {
        "matsimnibs": "rotation without unit, translation in mm",
        "lengths": "mm (keys ending in _mm, _mm2, _mm3)",
        "angles": "degrees (keys ending in _deg)",
        "didt": "A/s",
        "fields": "V/m at didt",
        "conductivity": "S/m",
        "times": "s",
    }
)


class _Record:
    """JSON and storage, shared by the result kinds; a kind says what goes into `_body`."""

    def to_dict(self, volatile=True):
        """Everything but arrays and fields, as plain Python values.

        Parameters
        ----------
        volatile : bool
            False leaves out ``timings_s`` and ``provenance.run`` (time, machine, versions of
            other packages): what remains is byte-stable between runs.
        """
        body = self._body()
        if not volatile:
            del body["timings_s"]
            body["provenance"].pop("run", None)
        return body

    def to_json(self, volatile=True):
        """:meth:`to_dict` as strict JSON text (no NaN, no Infinity)."""
        return dumps(self.to_dict(volatile))

    def save(self, directory):
        """Write the result into a folder; see :func:`efield.results.store.save`."""
        return store.save(self, directory)

    @classmethod
    def load(cls, directory):
        """Read what :meth:`save` wrote. The field stays on disk: ``field`` is None.

        Raises
        ------
        FormatError
            A file is missing, truncated, or of another kind.
        """
        return store.load(cls, directory)

    def export(self, path, format=None, **options):
        """Write one file; the format is told by the suffix unless given.

        ``json``; ``csv`` (placements as a table); ``txt`` or ``npy`` (4 x 4 matsimnibs); ``png`` (the
        picture of an optimization); ``geo`` (coils for Gmsh). The field, where the result holds one:
        ``msh``, ``vtu``, ``nii.gz``, ``gii``, ``field-csv``. The best placements for a navigation system:
        ``localite``, ``brainsight``, ``softaxic``, ``ant``, ``invesalius``, ``navinibs``, ``simnibs``, and
        what else :func:`efield.save_placements` knows.

        Parameters
        ----------
        path : path-like
        format : str, optional
        image : path-like, optional
            NIfTI whose grid a ``nii.gz`` takes; the image navigated on, for a navigation system.
        surface : path-like, optional
            GIFTI surface whose vertices a ``gii`` takes; "mid-layer": of the mesh's own cortex.
        quantity : {"magnE", "E"}, optional
            Of a ``nii.gz``.
        recovered : bool, optional
            Recovered values of the field in place of raw ones, see docs/recovery.md.

        Returns
        -------
        Path

        Raises
        ------
        FormatError
            Unknown format, or one this result cannot fill.
        OutputError
            The file cannot be written.
        """
        return export(self, path, format, **options)

    def _body(self):
        body = {
            "schema": self.schema,
            "frame": {"space": self.provenance["space"], "axes": "RAS", "length": "mm"},
            "units": UNITS,
            "placement": _pose(self.placement, self.placement_info),
            **self._own_body(),
            "metrics": self.metrics,
            "timings_s": self.timings,
            "warnings": [{"code": w.code, "message": w.message} for w in self.warnings],
            "provenance": self.provenance,
        }
        return plain(body)


@dataclass(frozen=True, eq=False)
class OptimizeResult(_Record):
    """Where the coil must lie.

    Parameters
    ----------
    placement : Placement
        The optimum.
    placement_info : dict
        What ``describe_placement`` says of it: ``center_mm``, ``scalp_mm``, ``ydir``,
        ``yaw_to_midline_deg``, ``distance_mm``, ...
    objective : ObjectiveValue
    didt : float
        A/s, at which every V/m of the result holds.
    target : dict
        ``name``, ``n_elements``, ``volume_mm3``, ``center_mm``, ``moved_mm``, ``space``.
    metrics : dict
        :func:`efield.metrics.field_metrics` at the optimum.
    candidates : Candidates
    best : tuple of BestPlacement
        Best first.
    check : Check or None
        None where the run was told not to verify.
    robustness : dict or None
        What placement noise costs: :class:`efield.search.robust.Robustness`, as plain values.
    certificate : dict or None
        :class:`efield.search.certificate.Certificate`, where one was asked for.
    discretization : dict or None
        Error bar of the objective, :class:`efield.search.discretization.Discretization`.
    search : dict
        ``n_positions``, ``n_yaw``, ``n_placements``, ``grid_best``, ``refined_gain``, and
        ``center_mm``: the scalp point the search is centred on.
    warnings : tuple of ResultWarning
    timings : dict
        Seconds per stage, and ``total``.
    provenance : dict
        :func:`efield.results.provenance.provenance`.
    field : Field or None
        The forward field at the optimum, where one was computed and is still in memory.
    scene : Scene or None
        The coil and the target's elements, for pictures.
    """

    placement: Placement
    placement_info: dict
    objective: ObjectiveValue
    didt: float
    target: dict
    metrics: dict
    candidates: Candidates
    best: tuple
    check: Check | None
    search: dict
    warnings: tuple
    timings: dict
    provenance: dict
    scene: object = field(default=None, repr=False)
    field: object = field(default=None, repr=False)
    robustness: dict | None = None
    certificate: dict | None = None
    discretization: dict | None = None

    schema = OPTIMIZE_SCHEMA

    def _own_body(self):
        check = self.check
        return {
            "objective": vars(self.objective),
            "didt": self.didt,
            "target": self.target,
            "check": None if check is None else vars(check),
            "robustness": self.robustness,
            "certificate": self.certificate,
            "discretization": self.discretization,
            "search": self.search,
            "best": [
                {**_pose(b.placement, b.info), "value": b.value, "search_value": b.search_value}
                for b in self.best
            ],
        }

    @classmethod
    def _from_json(cls, body, folder):
        check = body["check"]
        return cls(
            **_common_from_json(body),
            objective=ObjectiveValue(**body["objective"]),
            target=body["target"],
            candidates=read_candidates(folder / store.CANDIDATES),
            best=tuple(_best_from_json(pose) for pose in body["best"]),
            check=None if check is None else Check(**check),
            search=body["search"],
            robustness=body.get("robustness"),
            certificate=body.get("certificate"),
            scene=read_scene(folder / store.SCENE),
            discretization=body.get("discretization"),
        )


@dataclass(frozen=True, eq=False)
class SimulateResult(_Record):
    """The field of one placement in numbers.

    Parameters
    ----------
    placement, placement_info, didt, warnings, timings, provenance, field, scene
        As in `OptimizeResult`.
    target : dict
        The region the metrics are about, as in `OptimizeResult`.
    metrics : dict
        :func:`efield.metrics.field_metrics` over that region.
    """

    placement: Placement
    placement_info: dict
    didt: float
    target: dict
    metrics: dict
    warnings: tuple
    timings: dict
    provenance: dict
    scene: object = field(default=None, repr=False)
    field: object = field(default=None, repr=False)

    schema = SIMULATE_SCHEMA
    candidates = None  # a simulation has no search

    def _own_body(self):
        return {"didt": self.didt, "target": self.target}

    @classmethod
    def _from_json(cls, body, folder):
        scene = read_scene(folder / store.SCENE)
        return cls(**_common_from_json(body), target=body["target"], scene=scene)


def _pose(placement, info):
    return {"matsimnibs": placement.matsimnibs, **info}


def _best_from_json(pose):
    info = {key: value for key, value in pose.items() if key not in ("value", "search_value")}
    return BestPlacement(Placement(pose["matsimnibs"]), info, pose["value"], pose["search_value"])


def _common_from_json(body):
    return {
        "placement": Placement(body["placement"]["matsimnibs"]),
        "placement_info": body["placement"],
        "didt": body["didt"],
        "metrics": body["metrics"],
        "warnings": tuple(ResultWarning(**w) for w in body["warnings"]),
        "timings": body["timings_s"],
        "provenance": body["provenance"],
    }
