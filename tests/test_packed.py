"""Packed meshes: exact order, 1 micrometre, and no damage goes unnoticed."""

import json
import zlib

import numpy as np
import pytest
from boxes import box_record, signed_volumes

from efield.errors import FormatError, OutputError
from efield.io import packed
from efield.io.gmsh import read_msh
from efield.io.packed import read_packed, write_packed
from efield.io.records import MeshRecord
from efield.model.heads import builtin_path


def shuffled_box(n=4, seed=0):
    record = box_record(n, jitter=0.3, seed=seed)
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(record.tets))
    renumber = rng.permutation(len(record.nodes))
    nodes = np.empty_like(record.nodes)
    nodes[renumber] = record.nodes
    tets = np.array([rng.permutation(tet) for tet in renumber[record.tets[order]]], np.int32)
    return MeshRecord(nodes, tets, record.tet_tags[order], names={2: "grey matter", 5: "Haut ü"})


def assert_same(back, record):
    np.testing.assert_array_equal(back.tets, record.tets)
    np.testing.assert_array_equal(back.tet_tags, record.tet_tags)
    assert np.abs(back.nodes - record.nodes).max() <= 0.0005 + 1e-9
    assert (back.tets.dtype, back.tet_tags.dtype, back.nodes.dtype) == (np.int32, np.int32, np.float64)
    before, after = (np.sign(signed_volumes(nodes, record.tets)) for nodes in (record.nodes, back.nodes))
    np.testing.assert_array_equal(before, after)


@pytest.mark.parametrize("n", [1, 2, 3, 4, 7])
def test_round_trip_keeps_every_order(tmp_path, n):
    """Nodes, tetrahedra and vertices in any order, of either orientation."""
    record = shuffled_box(n, seed=n)
    path = tmp_path / "box.efmesh"
    write_packed(path, record)
    back = read_packed(path)
    assert_same(back, record)
    assert back.names == record.names
    assert len(back.triangles) == 0


def test_unused_nodes_gaps_in_tags_and_single_tetrahedra(tmp_path):
    nodes = np.array([[5, 5, 5], [0, 0, 0], [-9, 9, 9], [1, 0, 0], [0, 1, 0], [0, 0, 1.0004]], float)
    record = MeshRecord(nodes, np.array([[5, 3, 1, 4]], np.int32), np.array([70000], np.int32))
    write_packed(tmp_path / "one.efmesh", record)
    assert_same(read_packed(tmp_path / "one.efmesh"), record)


def test_writing_is_reproducible(tmp_path):
    for name in ("a", "b"):
        write_packed(tmp_path / name, shuffled_box())
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda r: MeshRecord(r.nodes, r.tets, r.tet_tags, r.tets[:2, :3]), "drop the triangles"),
        (lambda r: MeshRecord(r.nodes * np.nan, r.tets, r.tet_tags), "must be finite"),
        (lambda r: MeshRecord(r.nodes * 100, r.tets, r.tet_tags), "below 1000 mm"),
        (lambda r: MeshRecord(r.nodes, r.tets, -r.tet_tags), "tag -5 is negative"),
        (lambda r: MeshRecord(r.nodes * 1e-5, r.tets, r.tet_tags), "invert or flatten"),
        (lambda r: MeshRecord(r.nodes, r.tets[:, [0, 1, 2, 2]], r.tet_tags), "invert or flatten 384"),
    ],
)  # fmt: skip
def test_what_cannot_be_packed_is_refused(tmp_path, change, message):
    with pytest.raises(FormatError, match=message):
        write_packed(tmp_path / "x.efmesh", change(box_record(4)))
    assert list(tmp_path.iterdir()) == []


def test_unwritable(tmp_path):
    with pytest.raises(OutputError):
        write_packed(tmp_path / "missing" / "x.efmesh", box_record(2))


@pytest.fixture(scope="module")
def small_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("packed") / "box.efmesh"
    write_packed(path, shuffled_box(2))
    return path.read_bytes()


def test_truncation_is_noticed(tmp_path, small_file):
    path = tmp_path / "cut.efmesh"
    for length in [*range(0, len(small_file), 5), len(small_file) - 1]:
        path.write_bytes(small_file[:length])
        with pytest.raises(FormatError, match=r"cut\.efmesh"):
            read_packed(path)


def test_every_damaged_byte_is_noticed(tmp_path, small_file):
    path = tmp_path / "bad.efmesh"
    rng = np.random.default_rng(5)
    for place in range(0, len(small_file), 2):
        damaged = bytearray(small_file)
        damaged[place] ^= 1 << rng.integers(8)
        path.write_bytes(damaged)
        try:
            back = read_packed(path)
        except FormatError:
            continue
        assert_same(back, shuffled_box(2))  # only bits of the zlib header may go unnoticed


def with_header(data, change):
    """The file with a changed header and the right checksum."""
    line, rest = data.split(b"\n", 1)
    size = int(line.split()[2])
    header = json.loads(rest[:size])
    header = change(header) or header
    text = json.dumps(header).encode()
    return packed.MAGIC + b"%d %08x\n" % (len(text), zlib.crc32(text)) + text + rest[size:]


@pytest.mark.parametrize(
    "change",
    [
        lambda h: h.update(n_nodes=10**12),
        lambda h: h.update(n_tets=h["n_tets"] + 1),
        lambda h: h.update(n_tets="many"),
        lambda h: h.pop("arrays"),
        lambda h: h["arrays"].pop(),
        lambda h: h["arrays"][0].__setitem__(1, 10**12),
        lambda h: h["arrays"][0].__setitem__(2, 10**12),
        lambda h: h["arrays"][5].__setitem__(0, "c"),
        lambda h: h["stream_bytes"].__setitem__(0, h["stream_bytes"][0] - 1),
        lambda h: h["stream_bytes"].reverse(),
        lambda h: h.update(names=[1]),
        lambda h: h.update(steps_per_mm=None),
        lambda h: [h],
    ],
)
def test_headers_that_lie_are_refused(tmp_path, small_file, change):
    path = tmp_path / "lie.efmesh"
    path.write_bytes(with_header(small_file, change))
    with pytest.raises(FormatError, match="damaged or truncated"):
        read_packed(path)


def test_unchanged_header_still_reads(tmp_path, small_file):
    path = tmp_path / "same.efmesh"
    path.write_bytes(with_header(small_file, lambda h: None))
    assert_same(read_packed(path), shuffled_box(2))


def test_a_missing_file(tmp_path):
    with pytest.raises(FormatError, match="cannot read"):
        read_packed(tmp_path / "none.efmesh")


# --- the heads that come with efield ---

HEADS = {
    "mni152": ("heads/mni152_5tissue.msh.gz", 20e6, 268559, 1608575),
    "mni152-small": ("heads/mni152_5tissue_small.msh.gz", 2e6, 43997, 259714),
}


@pytest.mark.parametrize("name", HEADS)
def test_built_in_heads_equal_their_originals(shared, name):
    source, most_bytes, n_nodes, n_tets = HEADS[name]
    original = read_msh(shared(source))
    path = builtin_path(name)
    assert path.stat().st_size <= most_bytes
    back = read_packed(path)
    assert (len(back.nodes), len(back.tets)) == (n_nodes, n_tets)
    np.testing.assert_array_equal(back.tets, original.tets)
    np.testing.assert_array_equal(back.tet_tags, original.tet_tags)
    assert np.linalg.norm(back.nodes - original.nodes, axis=1).max() <= 0.001
    assert signed_volumes(back.nodes, back.tets).min() > 0
    assert signed_volumes(original.nodes, original.tets).min() > 0
    assert back.names[2] == "GM"


@pytest.mark.parametrize("name", HEADS)
def test_built_in_heads_carry_their_licence(name):
    text = (builtin_path(name).parent / f"{name}.LICENSE.txt").read_text()
    notice = (
        "Copyright (C) 1993-2009 Louis Collins, McConnell Brain Imaging Centre, "
        "Montreal Neurological Institute, McGill University."
    )
    for part in (notice, "Permission to use, copy, modify", "PROVENANCE", "OPEN POINT", "Fonov et al. 2011"):
        assert part in text
