"""Meshes in the formats of other programs."""

import os
import subprocess
import sys
from importlib.util import find_spec

import meshio
import numpy as np
import pytest
from boxes import box_record

from efield.errors import FormatError, MissingExtraError
from efield.io.gmsh import write_msh
from efield.io.meshfile import read_mesh_file
from efield.io.packed import write_packed

FORMATS = {
    "head.vtu": {},
    "plain.vtu": {"binary": False},
    "head.vtk": {},
    "text.vtk": {"binary": False},
    "head.xdmf": {},
    "head.mesh": {},
    "head.meshb": {},
    "head.msh": {"file_format": "gmsh22"},
}


def named(name):
    """A parameter; meshio needs h5py for every kind of XDMF."""
    lacks = name.endswith(".xdmf") and find_spec("h5py") is None
    return pytest.param(name, marks=pytest.mark.skipif(lacks, reason="h5py is not installed"))


@pytest.fixture(scope="module")
def box():
    return box_record(3, jitter=0.2)


def as_meshio(record, **cell_data):
    cells = [("triangle", record.tets[:5, :3]), ("tetra", record.tets)]
    data = {name: [np.full(5, 1005, values.dtype), values] for name, values in cell_data.items()}
    return meshio.Mesh(record.nodes, cells, cell_data=data)


def write_xdmf(record, path):
    """An XDMF file with its arrays in the XML: meshio's writer wants h5py even for that."""

    def item(values):
        kind = "Float" if values.dtype.kind == "f" else "Int"
        shape = " ".join(map(str, values.shape))
        text = "\n".join(" ".join(map(str, row)) for row in np.atleast_2d(values).tolist())
        precision = values.dtype.itemsize
        return (
            f'<DataItem DataType="{kind}" Dimensions="{shape}" Format="XML" Precision="{precision}">\n'
            f"{text}\n</DataItem>"
        )

    cells = np.concatenate(
        [np.insert(record.tets[:5, :3], 0, 4, axis=1).ravel(), np.insert(record.tets, 0, 6, axis=1).ravel()]
    )
    tags = np.concatenate([np.full(5, 1005, np.int32), record.tet_tags])
    path.write_text(
        '<Xdmf Version="3.0"><Domain><Grid Name="Grid">'
        f'<Geometry GeometryType="XYZ">{item(record.nodes)}</Geometry>'
        f'<Topology TopologyType="Mixed" NumberOfElements="{len(tags)}">{item(cells)}</Topology>'
        f'<Attribute Name="tags" AttributeType="Scalar" Center="Cell">{item(tags)}</Attribute>'
        "</Grid></Domain></Xdmf>"
    )


def write(record, path):
    """Write in the format of the name, with the tags under the name usual there."""
    if path.suffix == ".xdmf":
        write_xdmf(record, path)
        return
    arrays = {"tags": record.tet_tags}
    if path.suffix == ".msh":
        arrays = {"gmsh:physical": record.tet_tags, "gmsh:geometrical": record.tet_tags}
    if ".mesh" in path.name:
        arrays = {"medit:ref": record.tet_tags}
    as_meshio(record, **arrays).write(path, **FORMATS[path.name])


@pytest.mark.parametrize("name", [named(name) for name in FORMATS])
def test_formats_of_meshio(tmp_path, box, name):
    write(box, tmp_path / name)
    record = read_mesh_file(tmp_path / name)
    np.testing.assert_allclose(record.nodes, box.nodes, atol=1e-9)
    np.testing.assert_array_equal(record.tets, box.tets)
    np.testing.assert_array_equal(record.tet_tags, box.tet_tags)
    np.testing.assert_array_equal(record.triangles, box.tets[:5, :3])
    np.testing.assert_array_equal(record.tri_tags, 1005)


def test_own_formats_by_content(tmp_path, box):
    write_msh(tmp_path / "head.bin", box)
    write_packed(tmp_path / "head.dat", box)
    for name in ("head.bin", "head.dat"):
        np.testing.assert_array_equal(read_mesh_file(tmp_path / name).tets, box.tets)


def test_the_telling_name_wins(tmp_path, box):
    arrays = {"id": np.arange(len(box.tets)), "Region": box.tet_tags, "sigma": np.full(len(box.tets), 0.3)}
    as_meshio(box, **arrays).write(tmp_path / "head.vtu")
    np.testing.assert_array_equal(read_mesh_file(tmp_path / "head.vtu").tet_tags, box.tet_tags)


def test_the_only_whole_numbers_are_the_tags(tmp_path, box):
    arrays = {"compartment": box.tet_tags.astype(float), "sigma": np.full(len(box.tets), 0.3)}
    as_meshio(box, **arrays).write(tmp_path / "head.vtu")
    record = read_mesh_file(tmp_path / "head.vtu")
    np.testing.assert_array_equal(record.tet_tags, box.tet_tags)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({}, "no integer cell array is the tissue tags .cell arrays: none"),
        ({"sigma": 0.3}, "no integer cell array is the tissue tags .cell arrays: 'sigma'"),
        ({"a": 1, "b": 2}, "several integer cell arrays could be the tissue tags .cell arrays: 'a', 'b'"),
    ],
)
def test_doubtful_tags_are_refused_with_what_there_is(tmp_path, box, arrays, message):
    arrays = {name: np.full(len(box.tets), value) for name, value in arrays.items()}
    as_meshio(box, **arrays).write(tmp_path / "head.vtu")
    with pytest.raises(FormatError, match=message):
        read_mesh_file(tmp_path / "head.vtu")


def test_surfaces_and_second_order_are_refused(tmp_path, box):
    path = tmp_path / "head.vtu"
    meshio.Mesh(box.nodes, [("triangle", box.tets[:, :3])]).write(path)
    with pytest.raises(FormatError, match=r"no 4-node tetrahedra \(cell types found: triangle\)"):
        read_mesh_file(path)
    meshio.Mesh(box.nodes, [("tetra10", np.arange(10)[None])]).write(path)
    with pytest.raises(FormatError, match="tetra10"):
        read_mesh_file(path)


def test_indices_beyond_the_nodes(tmp_path, box):
    path = tmp_path / "head.vtu"
    meshio.Mesh(box.nodes[:-1], [("tetra", box.tets)], cell_data={"tags": [box.tet_tags]}).write(path)
    with pytest.raises(FormatError, match=r"uses nodes 0\.\.63, but the file has nodes 0\.\.62"):
        read_mesh_file(path)


@pytest.mark.parametrize("name", [named(name) for name in FORMATS])
def test_damage_is_a_format_error(tmp_path, box, name, capfd):
    """Nothing else is raised, printed, or ends the process."""
    path = tmp_path / name
    write(box, path)
    data = path.read_bytes()
    for length in (0, 1, 30, len(data) // 3, len(data) // 2, 2 * len(data) // 3):
        path.write_bytes(data[:length])
        with pytest.raises(FormatError):
            read_mesh_file(path)
    path.write_bytes(np.random.default_rng(0).bytes(3000))
    with pytest.raises(FormatError, match=name):
        read_mesh_file(path)
    assert capfd.readouterr().out == ""


@pytest.mark.parametrize("name", ["head.mat", "head.nii", "head"])
def test_unknown_suffixes_list_the_known_ones(tmp_path, name):
    (tmp_path / name).write_bytes(b"MATLAB 5.0 MAT-file")
    with pytest.raises(FormatError, match=r"no known mesh format; efield reads .*\.msh\.gz .*\.vtu"):
        read_mesh_file(tmp_path / name)


def test_missing_file(tmp_path):
    with pytest.raises(FormatError, match="cannot read"):
        read_mesh_file(tmp_path / "none.vtu")


def test_a_reader_that_needs_another_package(tmp_path, box):
    script = (
        "import sys; sys.modules['h5py'] = None\n"
        "from efield.io.meshfile import read_mesh_file\n"
        "from efield.errors import MissingExtraError\n"
        "try: read_mesh_file(sys.argv[1])\n"
        "except MissingExtraError as error: print(error)\n"
    )
    path = tmp_path / "head.xdmf"
    write(box, path)
    path.write_text(path.read_text().replace('Format="XML"', 'Format="HDF"'))
    run = subprocess.run(
        [sys.executable, "-c", script, os.fspath(path)], capture_output=True, text=True, check=True
    )
    assert "pip install h5py" in run.stdout
    assert issubclass(MissingExtraError, ImportError)
