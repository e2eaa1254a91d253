"""Fields for other programs: images, surfaces, tables, Gmsh; and fields read back."""

import csv
import json
import warnings
from types import SimpleNamespace

import nibabel
import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st
from msh_files import SMALL, msh22_ascii, msh22_binary
from oracles import random_rotation
from results_fake import fake_optimize_result
from scipy.spatial import Delaunay
from test_metrics import block_head

import efield
from efield.analytic.shapes import random_layered_sphere
from efield.cli import main
from efield.errors import EfieldError, FormatError
from efield.forward import StoredField
from efield.io.fields import write_field
from efield.io.gmsh import read_msh_fields
from efield.io.sampling import tets_at_points, tets_at_voxels
from efield.model.head import HeadModel


def cloud(seed=0, n=60):
    """Tetrahedra of a random cloud of points, in no order."""
    rng = np.random.default_rng(seed)
    nodes = rng.uniform(-10, 10, (n, 3))
    tets = Delaunay(nodes).simplices
    return nodes, tets[rng.permutation(len(tets))]


def holders(nodes, tets, points):
    """First tetrahedron that holds each point, by solving for its barycentric coordinates one by one."""
    found = np.full(len(points), -1)
    for t in range(len(tets) - 1, -1, -1):
        system = np.vstack([nodes[tets[t]].T, np.ones(4)])
        if abs(np.linalg.det(system)) < 1e-9:
            continue
        weights = np.linalg.solve(system, np.vstack([points.T, np.ones(len(points))]))
        found[(weights >= -1e-9).all(axis=0)] = t
    return found


@pytest.mark.parametrize("seed", range(4))
def test_points_find_their_tetrahedron(seed):
    nodes, tets = cloud(seed)
    rng = np.random.default_rng(seed + 10)
    points = np.concatenate([rng.uniform(-12, 12, (400, 3)), nodes[tets].mean(axis=1)])
    expected = holders(nodes, tets, points)
    assert (expected >= 0).any() and (expected < 0).any()
    np.testing.assert_array_equal(tets_at_points(nodes, tets, points), expected)


def test_voxels_find_their_tetrahedron():
    nodes, tets = cloud(7)
    affine = np.eye(4)
    affine[:3, :3] = random_rotation(np.random.default_rng(1)) * [1.3, -0.9, 2.1]
    affine[:3, 3] = -affine[:3, :3] @ [9, 12, 6] + 0.3
    shape = (19, 25, 13)
    index = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), axis=-1).reshape(-1, 3)
    expected = holders(nodes, tets, index @ affine[:3, :3].T + affine[:3, 3]).reshape(shape)
    assert 0.02 < (expected >= 0).mean() < 0.98
    np.testing.assert_array_equal(tets_at_voxels(nodes, tets, affine, shape), expected)


def test_points_on_faces_take_the_first_tetrahedron():
    nodes, tets = cloud(2)
    np.testing.assert_array_equal(
        tets_at_points(nodes, tets, nodes), [np.flatnonzero((tets == i).any(axis=1))[0] for i in range(60)]
    )


# --- files


@pytest.fixture(scope="module")
def head():
    return block_head(n=4)


@pytest.fixture(scope="module")
def e_field(head):
    return np.random.default_rng(0).normal(size=(len(head.tets), 3))


def save_image(path, shape=(12, 10, 11), code=1, unit="mm"):
    c, d = np.cos(0.2), np.sin(0.2)  # tilted, so that no voxel centre lies on a face
    affine = np.array([[-c, -1.1 * d, 0, 9.27], [-d, 1.1 * c, 0, 0.41], [0, 0, 0.9, -0.73], [0, 0, 0, 1]])
    made = nibabel.Nifti1Image(np.zeros(shape, np.int16), affine)
    made.set_sform(affine, code=code)
    made.set_qform(affine, code=code)
    made.header.set_xyzt_units(unit)
    nibabel.save(made, path)
    return path, affine


@pytest.mark.parametrize("quantity", ["magnE", "E"])
@pytest.mark.parametrize("name", ["a.nii.gz", "a.nii"])
def test_nifti_in_the_grid_of_an_image(tmp_path, head, e_field, quantity, name):
    image, affine = save_image(tmp_path / "t1.nii")
    write_field(tmp_path / name, head, e_field, image=image, quantity=quantity, facts={"coil": "mine"})
    made = nibabel.load(tmp_path / name)
    np.testing.assert_allclose(made.affine, affine, atol=1e-6)
    affine = nibabel.load(image).affine  # as stored
    assert (int(made.header["sform_code"]), made.header.get_xyzt_units()[0]) == (1, "mm")
    assert b"tetrahedron at voxel centre; NaN outside" in bytes(made.header["descrip"])
    data = made.get_fdata().squeeze()
    index = np.stack(np.meshgrid(*map(np.arange, (12, 10, 11)), indexing="ij"), axis=-1).reshape(-1, 3)
    owner = holders(head.nodes_mm, head.tets, index @ affine[:3, :3].T + affine[:3, 3])
    values = e_field if quantity == "E" else np.linalg.norm(e_field, axis=1)
    expected = np.where((owner >= 0).reshape(-1, *[1] * (values.ndim - 1)), values[owner], np.nan)
    np.testing.assert_allclose(data.reshape(expected.shape), expected, rtol=1e-6)
    said = json.loads((tmp_path / "a.json").read_text())
    assert "holds the voxel centre" in said["rule"] and said["unit"] == "V/m" and said["coil"] == "mine"
    assert said["voxels_in_head"] == np.count_nonzero(owner >= 0)


def save_surface(path, points):
    array = nibabel.gifti.GiftiDataArray(points.astype(np.float32), intent="NIFTI_INTENT_POINTSET")
    nibabel.save(nibabel.gifti.GiftiImage(darrays=[array]), path)
    return path


def test_gifti_on_a_surface(tmp_path, head, e_field):
    rng = np.random.default_rng(5)
    low, high = head.nodes_mm.min(axis=0), head.nodes_mm.max(axis=0)
    inside = rng.uniform(low + 0.1, high - 0.1, (50, 3)).astype(np.float32)
    beside = np.array([[high[0] + 0.5, *head.mesh.barycentres_mm[0][1:]]], np.float32)
    far = np.array([[high[0] + 30, 0, 0]], np.float32)
    surface = save_surface(tmp_path / "lh.gii", np.concatenate([inside, beside, far]))
    write_field(tmp_path / "out.gii", head, e_field, surface=surface)
    made = nibabel.load(tmp_path / "out.gii")
    magnitude, *components = (array.data for array in made.darrays)
    owner = holders(head.nodes_mm, head.tets, inside.astype(float))
    np.testing.assert_allclose(np.stack(components, axis=1)[:50], e_field[owner], rtol=1e-6)
    np.testing.assert_allclose(magnitude[:50], np.linalg.norm(e_field[owner], axis=1), rtol=1e-6)
    nearest = np.argmin(np.linalg.norm(head.mesh.barycentres_mm - beside, axis=1))
    np.testing.assert_allclose(magnitude[50], np.linalg.norm(e_field[nearest]), rtol=1e-6)
    assert np.isnan(magnitude[51])
    assert "within 3 mm" in made.meta["Rule"]
    said = json.loads((tmp_path / "out.json").read_text())
    assert (said["vertices"], said["in_grey_matter"], said["without_value"]) == (52, 50, 1)


def test_recovered_values_in_images_and_on_surfaces(tmp_path, head, e_field):
    image, _ = save_image(tmp_path / "t1.nii")
    field = StoredField(head, e_field, None, 1e6, "coil")
    recovered = field.recovered()
    field.save(tmp_path / "a.nii.gz", image=image, quantity="E", recovered=True)
    made = nibabel.load(tmp_path / "a.nii.gz")
    data = made.get_fdata().squeeze()
    index = np.stack(np.meshgrid(*map(np.arange, data.shape[:3]), indexing="ij"), axis=-1).reshape(-1, 3)
    affine = nibabel.load(image).affine
    expected = recovered.at(index @ affine[:3, :3].T + affine[:3, 3], outside="nan")
    assert 0.02 < np.isfinite(expected).mean() < 0.98
    np.testing.assert_allclose(data.reshape(-1, 3), expected, atol=1e-6)
    said = json.loads((tmp_path / "a.json").read_text())
    assert "Zienkiewicz" in said["recovery"] and "holds the voxel centre" in said["rule"]
    points = head.mesh.barycentres_mm[::5]
    field.save(tmp_path / "b.gii", surface=save_surface(tmp_path / "lh.gii", points), recovered=True)
    got = np.stack([array.data for array in nibabel.load(tmp_path / "b.gii").darrays[1:]], axis=1)
    np.testing.assert_allclose(got, recovered.at(np.float32(points).astype(float)), atol=1e-5)
    field.save(tmp_path / "c.msh", recovered=True)
    np.testing.assert_allclose(efield.load_field(tmp_path / "c.msh").E, recovered.element_means)


def test_the_mid_layer_is_written_with_its_field(tmp_path):
    layered = HeadModel.from_mesh(random_layered_sphere((60.0, 65.0, 70.0), (1, 2, 3), 8.0))
    field = StoredField(layered, layered.mesh.barycentres_mm, None, 1e6, "coil")
    result = fake_optimize_result(field=field)
    result.export(tmp_path / "a.gii", surface="mid-layer")
    made = nibabel.load(tmp_path / "a.gii")
    surface = efield.mid_layer(layered)
    np.testing.assert_allclose(made.agg_data("pointset"), surface.vertices_mm, rtol=1e-6)
    np.testing.assert_array_equal(made.agg_data("triangle"), surface.triangles)
    components = np.stack([array.data for array in made.darrays[3:]], axis=1)
    np.testing.assert_allclose(components, field.at(surface.vertices_mm, tissue="grey_matter"), rtol=1e-6)
    assert json.loads((tmp_path / "a.json").read_text())["surface"] == "mid-layer of grey matter"


def test_the_command_line_exports_recovered_values(tmp_path):
    layered = HeadModel.from_mesh(random_layered_sphere((60.0, 65.0, 70.0), (1, 2, 3), 12.0))
    field = StoredField(layered, layered.mesh.barycentres_mm, None, 1e6, "coil")
    field.save(tmp_path / "field.msh")
    options = ["--surface", "mid-layer", "--recovered"]
    run = CliRunner().invoke(main, ["export", str(tmp_path / "field.msh"), *options, str(tmp_path / "a.gii")])
    assert run.exit_code == 0, run.output
    got = np.stack([array.data for array in nibabel.load(tmp_path / "a.gii").darrays[3:]], axis=1)
    vertices = efield.mid_layer(layered).vertices_mm
    expected = field.recovered().at(vertices, tissue="grey_matter")
    np.testing.assert_allclose(got, expected, rtol=0, atol=1e-4)
    assert "Zienkiewicz" in json.loads((tmp_path / "a.json").read_text())["recovery"]


def test_csv(tmp_path, head, e_field):
    write_field(tmp_path / "a.csv", head, e_field)
    lines = (tmp_path / "a.csv").read_text().splitlines()
    table = np.array([line.split(",") for line in lines[1:]], float)
    assert lines[0].startswith("tag,x_mm") and lines[0].endswith("magnE_V_per_m")
    np.testing.assert_allclose(table[:, 1:4], head.mesh.barycentres_mm, rtol=1e-8)
    np.testing.assert_allclose(table[:, 4], head.mesh.volumes_mm3, rtol=1e-8)
    np.testing.assert_allclose(table[:, 5:8], e_field, rtol=1e-8)


def test_what_an_image_cannot_show(tmp_path, head, e_field):
    image, _ = save_image(tmp_path / "t1.nii")
    with pytest.raises(FormatError, match="reference image"):
        write_field(tmp_path / "a.nii.gz", head, e_field)
    with pytest.raises(FormatError, match="needs a surface"):
        write_field(tmp_path / "a.gii", head, e_field)
    with pytest.raises(FormatError, match="unknown quantity 'J'"):
        write_field(tmp_path / "a.nii", head, e_field, image=image, quantity="J")
    with pytest.raises(FormatError, match="known: vtu, msh"):
        write_field(tmp_path / "a.docx", head, e_field)
    far = SimpleNamespace(nodes_mm=head.nodes_mm + 500, tets=head.tets, tags=head.tags)
    with pytest.raises(FormatError, match="none of its voxels lies in the head"):
        write_field(tmp_path / "a.nii", far, e_field, image=image)
    surface = save_surface(tmp_path / "lh.gii", head.nodes_mm)
    with pytest.raises(FormatError, match="only 0% of its vertices"):
        write_field(tmp_path / "a.gii", far, e_field, surface=surface)
    white = SimpleNamespace(nodes_mm=head.nodes_mm, tets=head.tets, tags=np.ones_like(head.tags))
    with pytest.raises(FormatError, match="no grey matter"):
        write_field(tmp_path / "a.gii", white, e_field, surface=surface)
    for damage in ({"code": 0}, {"unit": "micron"}, {"shape": (4, 4)}):
        bad, _ = save_image(tmp_path / "bad.nii", **damage)
        with pytest.raises(FormatError, match=r"bad\.nii"):
            write_field(tmp_path / "a.nii", head, e_field, image=bad)
    for path in (tmp_path / "none.nii", surface):
        with pytest.raises(FormatError, match=path.name.replace(".", r"\.")):
            write_field(tmp_path / "a.nii", head, e_field, image=path)
    for path in (tmp_path / "none.gii", image):
        with pytest.raises(FormatError, match=path.name.replace(".", r"\.")):
            write_field(tmp_path / "a.gii", head, e_field, surface=path)
    assert not list(tmp_path.glob("a.*"))


def test_field_saves_by_its_suffix(tmp_path, head, e_field):
    image, _ = save_image(tmp_path / "t1.nii")
    field = StoredField(head, e_field, None, 1e6, "coil")
    field.save(tmp_path / "a.nii.gz", image=image)
    assert json.loads((tmp_path / "a.json").read_text())["didt_A_per_s"] == 1e6
    field.save(tmp_path / "a.csv")
    field.save(tmp_path / "a.msh")
    again = efield.load_field(tmp_path / "a.msh")
    np.testing.assert_array_equal(again.E, e_field)
    np.testing.assert_array_equal(again.head.tets, head.tets)
    assert (again.placement, again.didt, again.residual) == (None, None, None)
    assert again.metrics(np.arange(5))["mean"] == pytest.approx(field.metrics(np.arange(5))["mean"])


# --- fields that Gmsh files hold


def section(name, values, numbers, title, binary):
    """A data section written by hand from the format's description."""
    components = values.shape[1]
    text = f'${name}\n1\n"{title}"\n1\n0.0\n3\n0\n{components}\n{len(values)}\n'.encode()
    for number, row in zip(numbers, values, strict=True):
        if binary:
            text += np.int32(number).tobytes() + row.astype("<f8").tobytes()
        else:
            text += (" ".join([str(number), *(repr(float(v)) for v in row)]) + "\n").encode()
    return text + f"$End{name}\n".encode()


@pytest.mark.parametrize("binary", [True, False])
def test_fields_of_a_simulation(tmp_path, binary):
    """Values are found by number, whatever their order, and triangles' values are left aside."""
    mesh = msh22_binary() if binary else msh22_ascii()
    n_before = len(SMALL["points"]) + len(SMALL["triangles"])
    elements = np.arange(1, n_before + len(SMALL["tets"]) + 1)
    turned = elements[::-1]
    e_field = np.stack([turned, 10.0 * turned, -1.0 * turned], axis=1)
    nodes = np.arange(1, len(SMALL["nodes"]) + 1)
    data = mesh + section("ElementData", e_field, turned, "E", binary)
    data += section("NodeData", nodes[:, None] * 2.0, nodes, "v", binary)
    data += b"$Comments\nanything\n$EndComments\n"
    (tmp_path / "a.msh").write_bytes(data)
    found = read_msh_fields(tmp_path / "a.msh")
    numbers = elements[n_before:]
    np.testing.assert_array_equal(
        found.element_data["E"], np.stack([numbers, 10 * numbers, -numbers], axis=1)
    )
    np.testing.assert_array_equal(found.node_data["v"][:, 0], 2.0 * nodes)
    field = efield.load_field(tmp_path / "a.msh")
    np.testing.assert_allclose(field.magnitude, numbers * np.sqrt(102))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda e: (e[:-1], "E"), "no value for 1 of 2"),
        (lambda e: (np.where(e == e.max(), np.nan, e), "E"), "not finite at number"),
        (lambda e: (e, "J"), r"no element data E .*fields found: J"),
        (lambda e: (e[:, :1], "E"), "three components"),
        (lambda e: (np.hstack([e, e]), "E"), "6 components"),
    ],
)
@pytest.mark.parametrize("binary", [True, False])
def test_fields_that_cannot_be_used(tmp_path, change, words, binary):
    count = sum(len(SMALL[kind]) for kind in ("points", "triangles", "tets"))
    values, title = change(np.arange(3.0 * count).reshape(-1, 3))
    numbers = np.arange(1, len(values) + 1)
    mesh = msh22_binary() if binary else msh22_ascii()
    (tmp_path / "a.msh").write_bytes(mesh + section("ElementData", values, numbers, title, binary))
    with pytest.raises(FormatError, match=words):
        efield.load_field(tmp_path / "a.msh")


@pytest.mark.parametrize("binary", [True, False])
@given(share=st.floats(0, 1), value=st.integers(0, 255), cut=st.booleans())
@settings(max_examples=60)
def test_damaged_fields_never_crash(tmp_path_factory, binary, share, value, cut):
    count = sum(len(SMALL[kind]) for kind in ("points", "triangles", "tets"))
    mesh = msh22_binary() if binary else msh22_ascii()
    e_field = np.arange(3.0 * count).reshape(-1, 3)
    tail = bytearray(section("ElementData", e_field, np.arange(1, count + 1), "E", binary))
    place = int(share * (len(tail) - 1))
    if cut:
        del tail[place:]
    else:
        tail[place] = value
    path = tmp_path_factory.mktemp("msh") / "a.msh"
    path.write_bytes(mesh + bytes(tail))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            field = efield.load_field(path)
        except EfieldError as error:
            assert "a.msh" in str(error)
        else:
            assert np.isfinite(field.E).all()


def test_a_mesh_without_fields_says_so(shared):
    with pytest.raises(
        FormatError, match=r"simnibs_sphere3\.msh: holds no element data E .*fields found: none"
    ):
        efield.load_field(shared("data/meshes/simnibs_sphere3.msh"))


# --- results


def field_of(head, e_field):
    return SimpleNamespace(head=head, E=e_field)


@pytest.mark.parametrize(
    ("name", "format", "count"),
    [
        ("a.mrk", None, 2),
        ("a.mkss", None, 2),
        ("a.stmpx", None, 2),
        ("a.xml", None, 2),
        ("a.mat", None, 2),
        ("a.txt", "brainsight14", 2),
        ("a.json", "navinibs", 2),
        ("a.csv", None, 2),
        ("a.txt", None, 1),
    ],
)
def test_results_export_for_navigation(tmp_path, name, format, count):
    result = fake_optimize_result()
    assert result.export(tmp_path / name, format) == tmp_path / name
    session = efield.load_placements(tmp_path / name)
    assert len(session) == count
    for placement, best in zip(session, result.best, strict=False):
        np.testing.assert_allclose(placement.matsimnibs, best.placement.matsimnibs, atol=1e-9)


def test_results_export_fields(tmp_path, head, e_field):
    image, _ = save_image(tmp_path / "t1.nii")
    result = fake_optimize_result(field=field_of(head, e_field))
    result.export(tmp_path / "e.nii.gz", image=image)
    said = json.loads((tmp_path / "e.json").read_text())
    assert (said["didt_A_per_s"], said["coil"], said["head"]) == (1e6, "figure8-70mm", "mni152")
    result.export(tmp_path / "e.csv", "field-csv")
    assert (tmp_path / "e.csv").read_text().startswith("tag,")
    result.export(tmp_path / "coil.geo")
    assert 'View "best 1: x, y (pos_ydir), z"{' in (tmp_path / "coil.geo").read_text()


@pytest.mark.parametrize(("name", "said"), [("pose.txt", "pose.txt"), ("pose.npy", "pose.npy.txt")])
def test_a_pose_says_what_its_numbers_are(tmp_path, name, said):
    fake_optimize_result().export(tmp_path / name)
    text = (tmp_path / said).read_text()
    assert "columns x y z centre, z into the head; RAS of the head model, mm" in text
    assert "-y, the handle of SimNIBS's figure-8" in text
    assert "current under the coil's centre runs along -y" in text


def test_the_table_of_best_placements_says_where_handle_and_current_point(tmp_path):
    result = fake_optimize_result()
    result.export(tmp_path / "best.csv")
    with open(tmp_path / "best.csv", newline="") as file:
        row = next(csv.DictReader(file))
    y = result.best[0].placement.matsimnibs[:3, 1]
    names = {0: ("left", "right"), 1: ("posterior", "anterior"), 2: ("inferior", "superior")}
    k = int(np.argmax(np.abs(y)))
    assert names[k][int(y[k] > 0)] in row["ydir_points"]
    assert names[k][int(y[k] < 0)] in row["current_points"]
