"""Gmsh files: every variant, real files against meshio, damage, and the writer."""

import gzip

import meshio
import msh_files
import numpy as np
import pytest
from boxes import box_record
from msh_files import VARIANTS, msh22_ascii, msh22_binary, msh41

from efield.errors import FormatError, OutputError
from efield.io.gmsh import read_msh, write_msh
from efield.io.records import MeshRecord


def read(tmp_path, data, name="head.msh"):
    path = tmp_path / name
    path.write_bytes(data)
    return read_msh(path)


def assert_is_small(record):
    nodes, tets, tet_tags, triangles, tri_tags = msh_files.expected()
    np.testing.assert_array_equal(record.nodes, nodes)
    np.testing.assert_array_equal(record.tets, tets)
    np.testing.assert_array_equal(record.tet_tags, tet_tags)
    np.testing.assert_array_equal(record.triangles, triangles)
    np.testing.assert_array_equal(record.tri_tags, tri_tags)
    assert record.nodes.dtype == np.float64
    assert {a.dtype for a in (record.tets, record.tet_tags, record.triangles, record.tri_tags)} == {
        np.dtype(np.int32)
    }


@pytest.mark.parametrize("sparse", [False, True], ids=["consecutive", "sparse"])
@pytest.mark.parametrize("variant", VARIANTS)
def test_every_variant_reads_the_same(tmp_path, variant, sparse):
    assert_is_small(read(tmp_path, VARIANTS[variant](sparse)))


@pytest.mark.parametrize("name", ["head.msh", "head.msh.gz", "head.dat"])
def test_gzip_is_found_by_content(tmp_path, name):
    assert_is_small(read(tmp_path, gzip.compress(msh22_binary()), name))


def test_numbers_spread_too_far_for_a_table(tmp_path):
    text = msh22_ascii().decode().replace("5 10 10 10", "2000000000 10 10 10")
    text = text.replace("1 2 3 4 5", "1 2 3 4 2000000000").replace("2 3 4 5\n", "2 3 4 2000000000\n")
    text = text.replace("77 2 3 5\n", "77 2 3 2000000000\n").replace("77 3 4 5\n", "77 3 4 2000000000\n")
    assert_is_small(read(tmp_path, text.encode()))


def test_names_and_unknown_sections(tmp_path):
    data = b"$Comments\nany text\n$EndComments\n" + msh22_ascii()
    data = data.replace(b"$Nodes\n", b"$Periodic\n0\n$EndPeriodic\n$Nodes\n")
    record = read(tmp_path, data)
    assert_is_small(record)
    assert record.names == {2: "grey", 5: "the scalp"}


def test_elements_without_a_physical_group_have_their_entity(tmp_path):
    record = read(tmp_path, msh41(binary=True, physical=False))
    assert record.tet_tags.tolist() == [22, 25]
    record = read(tmp_path, msh22_ascii().replace(b"4 2 5 77", b"4 2 0 77"))
    assert record.tet_tags.tolist() == [2, 77]
    record = read(tmp_path, msh22_ascii().replace(b"4 2 5 77", b"4 1 5").replace(b"4 2 2 77", b"4 0"))
    assert record.tet_tags.tolist() == [0, 5]


@pytest.mark.parametrize(
    "name", ["simnibs_sphere3.msh", "simnibs_sphere3_v4_1_ascii.msh", "simnibs_sphere3_v4_1_binary.msh"]
)
def test_real_files_as_meshio_reads_them(shared, name):
    path = shared(f"data/meshes/{name}")
    record, other = read_msh(path), meshio.read(path)
    np.testing.assert_array_equal(record.nodes, other.points)
    assert record.tets.shape == (22704, 4)
    for kind, nodes, tags in (
        ("tetra", record.tets, record.tet_tags),
        ("triangle", record.triangles, record.tri_tags),
    ):
        np.testing.assert_array_equal(nodes, np.concatenate([b.data for b in other.cells if b.type == kind]))
        theirs = [
            t for b, t in zip(other.cells, other.cell_data["gmsh:physical"], strict=True) if b.type == kind
        ]
        np.testing.assert_array_equal(tags, np.concatenate(theirs))


def test_three_encodings_of_the_sphere_agree(shared):
    barycentres = []
    for name in ("simnibs_sphere3.msh", "simnibs_sphere3_v4_1_ascii.msh", "simnibs_sphere3_v4_1_binary.msh"):
        record = read_msh(shared(f"data/meshes/{name}"))
        centres = np.column_stack([record.nodes[record.tets].mean(axis=1), record.tet_tags])
        barycentres.append(centres[np.lexsort(np.round(centres, 6).T)])
    for other in barycentres[1:]:
        np.testing.assert_allclose(other, barycentres[0], atol=1e-9)


def test_charm_head_patch(shared):
    record = read_msh(shared("data/meshes/charm_head_patch_r25.msh.gz"))
    assert record.nodes.shape == (8404, 3)
    assert record.tets.shape == (41139, 4)
    assert np.unique(record.tet_tags).tolist() == [1, 2, 3, 5, 7, 8, 9]
    assert record.tri_tags.tolist() == [1005] * 1125


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_truncated_file_is_always_a_format_error(tmp_path, variant):
    data = VARIANTS[variant](True)
    whole = len(data.rstrip())
    for length in [*range(0, whole, 3), *range(whole - 40, whole)]:
        with pytest.raises(FormatError, match=r"head\.msh"):
            read(tmp_path, data[:length])


def test_a_truncated_gzip_stream(tmp_path):
    data = gzip.compress(msh22_binary())
    for length in range(2, len(data), 2):
        with pytest.raises(FormatError, match="gzip"):
            read(tmp_path, data[:length])


@pytest.mark.parametrize("variant", VARIANTS)
def test_damaged_bytes_never_crash(tmp_path, variant):
    """A flipped byte gives an error of ours or a mesh, and nothing else."""
    data = VARIANTS[variant](False)
    rng = np.random.default_rng(7)
    refused = 0
    for _ in range(200):
        damaged = bytearray(data)
        for place in rng.integers(0, len(data), rng.integers(1, 4)):
            damaged[place] = rng.integers(0, 256)
        try:
            record = read(tmp_path, bytes(damaged))
        except FormatError:
            refused += 1
        else:
            assert isinstance(record, MeshRecord)
            assert 0 <= record.tets.min() <= record.tets.max() < len(record.nodes)
    assert refused > 25


@pytest.mark.parametrize("count", [b"2000000000", b"99999999999999999999", b"-3", b"4.5", b"x", b""])
@pytest.mark.parametrize("section", [b"Nodes", b"Elements"])
@pytest.mark.parametrize("data", [msh22_ascii(), msh22_binary()], ids=["ascii", "binary"])
def test_wrong_counts_are_refused_at_once(tmp_path, section, count, data):
    start = data.index(b"$" + section + b"\n") + len(section) + 2
    stop = data.index(b"\n", start)
    with pytest.raises(FormatError, match=f"\\${section.decode()}"):
        read(tmp_path, data[:start] + count + data[stop:])


def test_huge_counts_in_version_4_do_not_allocate(tmp_path):
    data = msh41(binary=True)
    start = data.index(b"$Nodes\n") + 7
    for offset in (0, 8, 32 + 12):
        huge = data[: start + offset] + b"\xff" * 7 + b"\x0f" + data[start + offset + 8 :]
        with pytest.raises(FormatError):
            read(tmp_path, huge)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d.replace(b"$MeshFormat\n2.2", b"$MeshFormat\n4.0"), "version 4.0 is not supported"),
        (lambda d: d.replace(b"$MeshFormat\n2.2", b"$MeshFormat\n1.0"), "save it as 2.2 or 4.1"),
        (lambda d: d.replace(b"2.2 0 8", b"2.2 eight"), "expected version, type and size"),
        (lambda d: d.replace(b"2.2 0 8", b"2.2 0 7"), "size 7"),
        (lambda d: d.replace(b"$MeshFormat", b"$NOD"), "not a Gmsh .msh file"),
        (lambda d: d.replace(b"$Nodes", b"$Dots").replace(b"$EndNodes", b"$EndDots"), r"without \$Nodes"),
        (lambda d: d[: d.index(b"$Elements")], r"without \$Elements"),
        (lambda d: d.replace(b"\n5 10 10 10", b"\n4 10 10 10"), "node number 4 occurs twice"),
        (lambda d: d.replace(b"\n5 10 10 10", b"\n-5 10 10 10"), "must be positive, not -5"),
        (lambda d: d.replace(b"\n5 10 10 10", b"\n5.5 10 10 10"), "must be integers, not 5.5"),
        (lambda d: d.replace(b"\n5 10 10 10", b"\n5 10 ten 10"), "line 15: bad number 'ten'"),
        (lambda d: d.replace(b"77 2 3 4 5", b"77 2 3 4 6"), "tetrahedron 2 uses node 6"),
        (lambda d: d.replace(b"77 2 3 4 5", b"77 2 3 4 0"), "tetrahedron 2 uses node 0"),
        (lambda d: d.replace(b"77 2 3 5", b"77 2 3 55"), "triangle 2 uses node 55"),
        (lambda d: d.replace(b"\n6 4 2", b"\n6 444 2"), "line 24: element 6 has the unknown type 444"),
        (lambda d: d.replace(b"\n6 4 2", b"\n6 4 -2"), "element 6 has -2 tags"),
        (lambda d: d.replace(b" 4 2 2 77 1 2 3 4", b" 3 2 2 77 1 2 3 4").replace(b" 4 2 5 77", b" 3 2 5 77"),
         "no 4-node tetrahedra .element types found: 2, 3, 15"),
        (lambda d: d.replace(b"$EndElements", b"7 4\n$EndElements"), "left over"),
    ],
)  # fmt: skip
def test_messages_name_place_and_cause(tmp_path, change, message):
    data = msh22_ascii()
    changed = change(data)
    assert changed != data
    with pytest.raises(FormatError, match=message):
        read(tmp_path, changed)


def test_binary_messages_name_the_byte(tmp_path):
    data = msh22_binary()
    with pytest.raises(FormatError, match=r"\$MeshFormat, byte 20: the integer 1 is missing"):
        read(tmp_path, data.replace(b"\x01\0\0\0\n$EndMesh", b"\x02\0\0\0\n$EndMesh"))
    with pytest.raises(FormatError, match=r"\$Elements, byte \d+: element 1 has the unknown type 99"):
        read(tmp_path, data.replace(b"6\n\x0f\0\0\0", b"6\n\x63\0\0\0"))


@pytest.mark.parametrize("name", ["no such file.msh", ""])
def test_files_that_cannot_be_opened(tmp_path, name):
    with pytest.raises(FormatError, match="cannot read"):
        read_msh(tmp_path / name)


def test_one_header_per_element_is_quick_where_types_alternate(tmp_path):
    """Runs of unequal headers fall back on a loop, but not on a quadratic one."""
    n = 3000
    mesh = {**msh_files.SMALL, "tets": msh_files.SMALL["tets"] * n}
    mixed = msh22_binary({**mesh, "points": [], "triangles": []}, run=1)
    start = mixed.index(b"$Elements\n") + len(b"$Elements\n%d\n" % (2 * n))
    rows = [mixed[start + 40 * i : start + 40 * i + 40] for i in range(2 * n)]
    point = np.array([15, 1, 2, 7, 9, 9, 1], "<i4").tobytes()
    body = b"".join(row + point for row in rows)
    data = mixed[: mixed.index(b"$Elements\n")] + b"$Elements\n%d\n" % (4 * n) + body + b"$EndElements\n"
    record = read(tmp_path, data)
    np.testing.assert_array_equal(record.tets, np.tile(msh_files.expected()[1], (n, 1)))


# --- writing ---


@pytest.fixture
def box():
    record = box_record(3, jitter=0.2)
    outside = np.array([[0, 1, 5], [0, 5, 4], [1, 0, 16], [21, 22, 26]], np.int32)
    return MeshRecord(record.nodes, record.tets, record.tet_tags, outside, np.full(4, 1005, np.int32))


def element_data(path, name, n):
    """Element numbers and scalar values of a field, by hand."""
    data = path.read_bytes()
    head = f'$ElementData\n1\n"{name}"\n1\n0\n3\n0\n1\n{n}\n'.encode()
    rows = np.frombuffer(data, [("tag", "<i4"), ("value", "<f8")], n, data.index(head) + len(head))
    return rows["tag"], rows["value"]


def test_round_trip(tmp_path, box):
    path = tmp_path / "out.msh"
    write_msh(path, box)
    back = read_msh(path)
    for name in ("nodes", "tets", "tet_tags", "triangles", "tri_tags"):
        np.testing.assert_array_equal(getattr(back, name), getattr(box, name))


def test_fields_as_meshio_reads_them(tmp_path):
    record = box_record(2)
    rng = np.random.default_rng(3)
    e = rng.normal(size=(len(record.tets), 3))
    v = rng.normal(size=len(record.nodes))
    path = tmp_path / "field.msh"
    write_msh(path, record, node_data={"v": v}, element_data={"E": e, "magnE": np.linalg.norm(e, axis=1)})
    other = meshio.read(path)
    np.testing.assert_array_equal(other.points, record.nodes)
    np.testing.assert_array_equal(other.cells_dict["tetra"], record.tets)
    np.testing.assert_array_equal(other.point_data["v"], v)
    np.testing.assert_array_equal(other.cell_data["E"][0], e)
    np.testing.assert_array_equal(other.cell_data["magnE"][0], np.linalg.norm(e, axis=1))


def test_triangles_get_the_value_of_their_tetrahedron(tmp_path, box):
    """SimNIBS wants a value for every element, triangles first."""
    path = tmp_path / "field.msh"
    write_msh(path, box, element_data={"index": np.arange(len(box.tets))})
    numbers, values = element_data(path, "index", 4 + len(box.tets))
    np.testing.assert_array_equal(numbers, np.arange(1, len(numbers) + 1))
    sets = [set(tet) for tet in box.tets.tolist()]
    for triangle, value in zip(box.triangles.tolist(), values[:4], strict=True):
        owners = [t for t, tet in enumerate(sets) if set(triangle) <= tet]
        assert value in owners if owners else np.isnan(value)
    assert np.isnan(values).tolist() == [False, False, True, False] + [False] * len(box.tets)
    np.testing.assert_array_equal(values[4:], np.arange(len(box.tets)))


def test_layout_that_simnibs_expects(tmp_path, box):
    """Sections in order, nothing before $Nodes, data straight before their end mark."""
    path = tmp_path / "field.msh"
    write_msh(path, box, element_data={"magnE": np.zeros(len(box.tets))})
    data = path.read_bytes()
    assert data.startswith(b"$MeshFormat\n2.2 1 8\n\x01\0\0\0\n$EndMeshFormat\n$Nodes\n64\n")
    assert b'$EndElements\n$ElementData\n1\n"magnE"\n1\n0\n3\n0\n1\n166\n' in data
    assert data.endswith(np.float64(0).tobytes() + b"$EndElementData\n")


@pytest.mark.parametrize("shape", [(7,), (162, 2), (162, 3, 3)])
def test_fields_that_do_not_fit(tmp_path, box, shape):
    with pytest.raises(FormatError, match="field 'E' has shape"):
        write_msh(tmp_path / "x.msh", box, element_data={"E": np.zeros(shape)})
    assert list(tmp_path.iterdir()) == []


def test_unwritable(tmp_path, box):
    with pytest.raises(OutputError, match="does not exist"):
        write_msh(tmp_path / "missing" / "x.msh", box)
