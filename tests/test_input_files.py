"""Results name the files that they were made from by the hash of their bytes."""

import hashlib
import json

import jsonschema
import nibabel
import numpy as np
import pytest
from click.testing import CliRunner
from small_heads import few_dipoles, sphere
from test_report import Page

from efield.cli import main
from efield.model.coil_files import save_coil
from efield.model.session import load_placements, save_placements
from efield.model.target import Target
from efield.report import write_report
from efield.results import json_schema
from efield.results.session import simulate_session
from efield.scalp.fiducials import read_fiducials
from efield.search.avoid import AvoidedRegion
from efield.targeting.case import PeakMap, TargetingCase
from efield.targeting.compare import _files

NAVIGATED = "Fiducial,0,83,-13,Nz\nFiducial,0,-83,-13,Iz\nFiducial,-83,0,-13,LPA\nFiducial,83,0,-13,RPA\n"


def run(*words):
    return CliRunner().invoke(main, [str(word) for word in words], prog_name="efield")


def digest(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def stated(files):
    return {file.role: (file.name, file.sha256) for file in files}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A ball head with a mask in it, a pose over it and landmarks on it."""
    folder = tmp_path_factory.mktemp("files")
    head = sphere().head
    grid = np.full((24, 24, 24), 0, np.uint8)
    grid[6:12, 12:18, 16:19] = 1
    affine = np.diag([6.0, 6.0, 6.0, 1.0])
    affine[:3, 3] = -72.0
    for name in ("mask.nii.gz", "map.nii.gz"):
        nibabel.save(nibabel.Nifti1Image(grid, affine), folder / name)
    (folder / "marks.csv").write_text(NAVIGATED)
    save_coil(few_dipoles(), folder / "few.ccd")
    from efield.model.placement import Placement

    over = Placement.on_scalp(head, [-30, 30, 70], yaw_deg=20, distance_mm=6.0)
    np.savetxt(folder / "pose.txt", over.matsimnibs)
    save_placements([over], folder / "session.csv", format="csv")
    return folder


def test_a_mask_is_named_by_its_bytes(folder):
    region = Target.mask(folder / "mask.nii.gz").resolve(sphere().head)
    assert stated(region.files) == {"mask": ("mask.nii.gz", digest(folder / "mask.nii.gz"))}
    assert Target.sphere([0, 0, 50.0], 8.0).resolve(sphere().head).files == ()


def test_an_optimization_names_its_masks(folder, tmp_path):
    """The target's and that of a region to avoid; the report shows them, and what was optimised."""
    import efield

    found = efield.optimize_coil(
        sphere(),
        few_dipoles(),
        Target.mask(folder / "mask.nii.gz"),
        objective="magnitude_of_mean",
        search=efield.Search(radius_mm=8.0, spacing_mm=4.0, yaw_step_deg=10.0),
        error_bar=False,
    )
    body = found.to_dict()
    jsonschema.validate(body, json_schema("efield.optimize/1"))
    files = [{"role": "mask", "name": "mask.nii.gz", "sha256": digest(folder / "mask.nii.gz")}]
    assert body["provenance"]["files"] == files
    words = Page(
        write_report(found, tmp_path / "r.html", fiducials=read_fiducials(folder / "marks.csv"))
    ).words
    table = words.split("Provenance")[1]
    assert f"mask, SHA-256 of mask.nii.gz {digest(folder / 'mask.nii.gz')}" in table
    assert f"landmarks, SHA-256 of marks.csv {digest(folder / 'marks.csv')}" in table
    assert f"target mask {folder / 'mask.nii.gz'} at (" in table
    assert "objective magnitude_of_mean: |mean E| in the target" in table


def test_a_region_to_avoid_names_its_mask(folder):
    head = sphere().head
    target = Target.sphere([0.0, -50.0, 20.0], 8.0).resolve(head)
    avoided = AvoidedRegion.of(head, target, Target.mask(folder / "mask.nii.gz"), "mean_magnitude")
    assert stated(avoided.region.files)["mask"][1] == digest(folder / "mask.nii.gz")


def test_a_simulation_names_its_placement_and_mask(folder, tmp_path):
    from efield.io.gmsh import write_msh
    from efield.io.records import MeshRecord

    mesh = sphere().head.mesh
    arrays = (np.asarray(a) for a in (mesh.nodes_mm, mesh.tets, mesh.tags))
    write_msh(tmp_path / "ball.msh", MeshRecord(*arrays))
    words = (
        "simulate",
        tmp_path / "ball.msh",
        "--placement",
        folder / "pose.txt",
        "--coil",
        folder / "few.ccd",
    )
    done = run(*words, "--target", folder / "mask.nii.gz", "--json", "-")
    assert done.exit_code == 0, done.output
    body = json.loads(done.stdout)
    jsonschema.validate(body, json_schema("efield.simulate/1"))
    files = {file["role"]: (file["name"], file["sha256"]) for file in body["provenance"]["files"]}
    assert files == {
        "placements": ("pose.txt", digest(folder / "pose.txt")),
        "mask": ("mask.nii.gz", digest(folder / "mask.nii.gz")),
    }


def test_a_session_names_its_file(folder):
    session = load_placements(folder / "session.csv")
    region = Target.mask(folder / "mask.nii.gz").resolve(sphere().head)
    body = simulate_session(sphere(), few_dipoles(), session, region).to_dict()
    jsonschema.validate(body, json_schema("efield.session/1"))
    assert [file["role"] for file in body["provenance"]["files"]] == ["placements", "mask"]
    assert body["provenance"]["files"][0]["sha256"] == digest(folder / "session.csv")


def test_a_comparison_names_landmarks_and_map(folder):
    marks = read_fiducials(folder / "marks.csv")
    peak = PeakMap(folder / "map.nii.gz", folder / "mask.nii.gz")
    target = Target.mask(folder / "mask.nii.gz")
    case = TargetingCase(sphere(), target, few_dipoles(), marks, peak_map=peak)
    files = stated(_files(case, ["map-peak"]))
    assert files == {
        "mask": ("mask.nii.gz", digest(folder / "mask.nii.gz")),
        "landmarks": ("marks.csv", digest(folder / "marks.csv")),
        "map": ("map.nii.gz", digest(folder / "map.nii.gz")),
        "map's mask": ("mask.nii.gz", digest(folder / "mask.nii.gz")),
    }
    assert stated(_files(case, ["closest-scalp"])).keys() == {"mask", "landmarks"}
    bare = TargetingCase(sphere(), target, few_dipoles())
    assert stated(_files(bare, [])).keys() == {"mask"}
