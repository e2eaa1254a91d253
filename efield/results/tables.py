"""Candidates and best placements as files: one ``.npz``, two tables."""

import csv

import numpy as np

from efield.errors import FormatError
from efield.io.navigation.table import WORDS
from efield.io.navigation.words import current_words, ydir_words
from efield.results.parts import Candidates

_POSE_COLUMNS = [f"m{i}{j}" for i in range(4) for j in range(4)]


def write_candidates(candidates, path):
    kept = {} if candidates.distance_mm is None else {"distance_mm": candidates.distance_mm}
    with open(path, "wb") as file:
        np.savez_compressed(
            file,
            scalp_mm=candidates.scalp_mm,
            normals=candidates.normals,
            yaw_deg=candidates.yaw_deg,
            values=candidates.values,
            feasible=candidates.feasible,
            **kept,
        )


def read_candidates(path):
    try:
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as arrays:
            return Candidates(**{name: arrays[name] for name in arrays.files})
    except FileNotFoundError as error:
        raise FormatError(f"{path} is missing from the result folder") from error
    except Exception as error:  # zipfile, zlib, NumPy and our own checks each raise their kind
        raise FormatError(f"cannot read {path}: {error}; was it cut short?") from error


def write_candidate_table(candidates, path):
    rows = []
    for scalp, normal, values, feasible in zip(
        candidates.scalp_mm, candidates.normals, candidates.values, candidates.feasible, strict=True
    ):
        if feasible.any():
            best = int(np.argmax(np.where(feasible, values, -np.inf)))
            rows.append([*scalp, *normal, candidates.yaw_deg[best], values[best]])
        else:
            rows.append([*scalp, *normal, "", ""])
    header = ["scalp_x_mm", "scalp_y_mm", "scalp_z_mm", "normal_x", "normal_y", "normal_z"]
    _write_csv(path, [*header, "best_yaw_deg", "best_value_V_per_m"], rows)


def write_best(result, path):
    rows = []
    for rank, best in enumerate(result.best, start=1):
        yaw = best.info["yaw_to_midline_deg"]
        pose = np.asarray(best.placement.matsimnibs)
        scalp = best.info["scalp_mm"] or ["", "", ""]  # None where the coil's axis misses the scalp
        words = ydir_words(pose), current_words(pose)
        rows.append([rank, best.value, best.search_value, yaw, *scalp, *pose.ravel(), *words])
    header = ["rank", "value_V_per_m", "search_value_V_per_m", "yaw_to_midline_deg"]
    header += ["scalp_x_mm", "scalp_y_mm", "scalp_z_mm", *_POSE_COLUMNS, *WORDS]
    _write_csv(path, header, rows)


def _write_csv(path, header, rows):
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        writer.writerows([float(v) if isinstance(v, np.floating) else v for v in row] for row in rows)
