"""Opening heads: names, files, folders, units, conductivities, and clear refusals."""

import shutil

import meshio
import numpy as np
import pytest
from boxes import box_record, signed_volumes

import efield
from efield.errors import FormatError, MeshError
from efield.io.gmsh import read_msh, write_msh
from efield.io.records import MeshRecord
from efield.model.heads import BUILTIN_HEADS, load_head


def with_changes(record, **changes):
    fields = {name: getattr(record, name) for name in ("nodes", "tets", "tet_tags", "triangles", "tri_tags")}
    return MeshRecord(**{**fields, **changes})


@pytest.fixture
def save(tmp_path):
    """Write a record (changed) as a .msh file and return its path."""

    def write(record=None, name="box.msh", **changes):
        write_msh(tmp_path / name, with_changes(record or box_record(4, jitter=0.2), **changes))
        return tmp_path / name

    return write


@pytest.fixture(scope="module")
def small():
    return load_head("mni152-small")


def test_the_small_built_in_head(small):
    assert (small.name, small.space) == ("mni152-small", "mni")
    assert (len(small.nodes_mm), len(small.tets)) == (43997, 259714)
    assert small.mesh.signed_volumes_mm3.min() > 0
    assert dict(small.tag_conductivity) == {1: 0.126, 2: 0.275, 3: 1.654, 4: 0.01, 5: 0.465, 6: 0.5}
    millilitres = np.bincount(small.tags, weights=small.mesh.volumes_mm3)[1:] / 1000
    np.testing.assert_allclose(millilitres, [633, 1078, 268, 632, 1617, 13], atol=0.6)
    assert small.scalp.is_closed


def test_the_large_built_in_head():
    head = load_head("mni152")
    assert (head.name, head.space) == ("mni152", "mni")
    assert (len(head.nodes_mm), len(head.tets)) == (268559, 1608575)
    assert head.mesh.signed_volumes_mm3.min() > 0
    assert "mni152" in BUILTIN_HEADS


def test_built_in_equals_the_file_it_was_made_from(shared, small):
    record = read_msh(shared("heads/mni152_5tissue_small.msh.gz"))
    head = efield.load_head(shared("heads/mni152_5tissue_small.msh.gz"))
    np.testing.assert_array_equal(head.tets, small.tets)
    np.testing.assert_array_equal(head.tags, small.tags)
    np.testing.assert_array_equal(head.nodes_mm, record.nodes)
    assert np.linalg.norm(head.nodes_mm - small.nodes_mm, axis=1).max() <= 0.001
    np.testing.assert_allclose(small.mesh.volumes_mm3, signed_volumes(record.nodes, record.tets), rtol=4e-3)
    assert (head.name, head.space) == ("mni152_5tissue_small", "subject")


def test_a_file_keeps_its_order(save):
    record = box_record(4, jitter=0.2)
    head = load_head(save(record))
    np.testing.assert_array_equal(head.nodes_mm, record.nodes)
    np.testing.assert_array_equal(head.tets, record.tets)
    np.testing.assert_array_equal(head.tags, record.tet_tags)
    assert (head.name, head.space, head.scalp_triangles) == ("box", "subject", None)
    assert load_head(str(save(record))).sha256 == head.sha256


def test_scalp_triangles_of_the_file(save):
    record = box_record(4)
    triangles = np.array([[0, 1, 6], [0, 5, 6], [0, 25, 30]], np.int32)
    head = load_head(save(triangles=triangles, tri_tags=np.array([1005, 1002, 1005], np.int32)))
    np.testing.assert_array_equal(head.scalp_triangles, triangles[[0, 2]])
    assert load_head(save(record)).scalp_triangles is None


@pytest.mark.parametrize("name", ["box.vtu", "box.vtk", "box.mesh"])
def test_formats_of_other_programs(tmp_path, name):
    record = box_record(3)
    tags = "medit:ref" if name == "box.mesh" else "region"
    mesh = meshio.Mesh(record.nodes, [("tetra", record.tets)], cell_data={tags: [record.tet_tags]})
    mesh.write(tmp_path / name)
    head = load_head(tmp_path / name)
    np.testing.assert_array_equal(head.tags, record.tet_tags)
    assert head.name == "box"


def test_charm_and_other_real_heads(shared):
    patch = load_head(shared("data/meshes/charm_head_patch_r25.msh.gz"))
    assert patch.name == "charm_head_patch_r25"
    assert len(patch.scalp_triangles) == 1125
    assert patch.tag_conductivity[8] == 0.025
    sphere = load_head(shared("data/meshes/simnibs_sphere3.msh"))
    np.testing.assert_allclose(np.linalg.norm(sphere.scalp.vertices_mm, axis=1), 95, atol=1e-6)


# --- folders ---


def test_an_m2m_folder(save, tmp_path):
    folder = tmp_path / "m2m_ernie"
    folder.mkdir()
    shutil.copy(save(), folder / "ernie.msh")
    head = load_head(folder)
    assert (head.name, head.space) == ("ernie", "subject")
    assert load_head(f"{folder}/").name == "ernie"


def test_folders_without_a_head(tmp_path):
    with pytest.raises(MeshError, match="not named m2m_<subject>"):
        load_head(tmp_path)
    (tmp_path / "m2m_ernie").mkdir()
    with pytest.raises(MeshError, match=r"has no ernie\.msh"):
        load_head(tmp_path / "m2m_ernie")


# --- units ---


def test_metres_are_converted(save):
    record = box_record(4, jitter=0.2)
    head = load_head(save(record, nodes=record.nodes / 1000), unit="m")
    np.testing.assert_allclose(head.nodes_mm, record.nodes, rtol=1e-15)


def test_metres_taken_for_millimetres(save):
    path = save(nodes=box_record(4).nodes / 1000)
    with pytest.raises(MeshError, match=r'0\.173 mm across.*pass unit="m" .*--unit m') as caught:
        load_head(path)
    assert str(path) in str(caught.value)


def test_millimetres_taken_for_metres(save):
    with pytest.raises(MeshError, match=r'hardly metres; pass unit="mm"'):
        load_head(save(), unit="m")


def test_unknown_units(save):
    with pytest.raises(MeshError, match=r"unit must be one of 'mm', 'm', not 'cm'"):
        load_head(save(), unit="cm")


# --- conductivity ---


def test_overrides_by_name_tag_and_array(save):
    path = save()
    tensor = np.diag([0.1, 0.2, 0.3])
    assert load_head(path, conductivity={"csf": 2.0, 5: 0.4}).tag_conductivity == {3: 2.0, 5: 0.4}
    np.testing.assert_array_equal(load_head(path, conductivity={"csf": tensor}).tag_conductivity[3], tensor)
    values = np.linspace(0.1, 1, 384)
    np.testing.assert_array_equal(load_head(path, conductivity=values).conductivity, values)


def test_a_head_passes_through_or_takes_new_conductivities(small):
    assert load_head(small) is small
    other = load_head(small, conductivity={"bone": 0.02})
    assert other.tag_conductivity[4] == 0.02
    assert other.mesh is small.mesh
    assert (other.name, other.space) == (small.name, small.space)
    assert small.tag_conductivity[4] == 0.01


def test_tags_without_conductivity(save):
    path = save(tet_tags=np.where(box_record(4).tet_tags == 3, 12, 2).astype(np.int32))
    with pytest.raises(MeshError, match=r"no conductivity for tag 12 \(fat\); pass conductivity"):
        load_head(path)
    assert load_head(path, conductivity={"fat": 0.04}).tag_conductivity[12] == 0.04


# --- refusals ---


@pytest.mark.parametrize("source", ["mni153", "no/such/file.msh", "none.vtu"])
def test_unknown_names_list_the_valid_ones(source):
    with pytest.raises(MeshError, match=f"no head '{source}'.*mni152, mni152-small"):
        load_head(source)


@pytest.mark.parametrize("source", [None, 5, ["mni152"]])
def test_things_that_are_no_head(source):
    with pytest.raises(MeshError, match="a head is a name"):
        load_head(source)


def test_files_that_are_no_mesh(tmp_path):
    (tmp_path / "head.mat").write_bytes(b"MATLAB 5.0 MAT-file")
    with pytest.raises(FormatError, match=r"'\.mat' is no known mesh format"):
        load_head(tmp_path / "head.mat")
    (tmp_path / "head.msh").write_bytes(b"")
    with pytest.raises(FormatError, match="not a Gmsh"):
        load_head(tmp_path / "head.msh")


def test_coordinates_that_are_not_finite(save):
    nodes = box_record(4).nodes.copy()
    nodes[17, 1] = np.nan
    with pytest.raises(MeshError, match="the first is node 17"):
        load_head(save(nodes=nodes))


def test_flat_tetrahedra(save):
    record = box_record(4)
    tets = record.tets.copy()
    tets[7, 3] = tets[7, 2]
    tets[9, 3] = tets[9, 0]
    with pytest.raises(MeshError, match="2 tetrahedra have no volume, the first is 7"):
        load_head(save(tets=tets))


def test_inverted_tetrahedra_are_kept_as_they_are(save):
    tets = box_record(4).tets.copy()
    tets[::2] = tets[::2][:, [1, 0, 2, 3]]
    head = load_head(save(tets=tets))
    np.testing.assert_array_equal(head.tets, tets)
    assert (head.mesh.volumes_mm3 > 0).all()


def test_an_incomplete_installation(monkeypatch, tmp_path):
    monkeypatch.setattr("efield.model.heads.__file__", str(tmp_path / "a" / "b" / "heads.py"))
    with pytest.raises(MeshError, match="install efield again"):
        load_head("mni152")
