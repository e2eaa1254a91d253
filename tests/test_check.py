"""Every finding on a mesh damaged on purpose, and none on a sound one."""

import dataclasses
import json

import numpy as np
import pytest
from boxes import box_record

from efield.errors import MeshError
from efield.io.gmsh import write_msh
from efield.io.records import MeshRecord
from efield.model.check import check_head, describe_head, inspect_file
from efield.model.heads import load_head
from efield.model.mesh_checks import SEVERITIES


def damaged(record=None, **changes):
    return dataclasses.replace(record or box_record(5, jitter=0.2), **changes)


def findings_of(record, **kwargs):
    return {finding.code: finding for finding in check_head(record, **kwargs)}


def beside_boxes(record, **kwargs):
    """Findings beside those of every box."""
    return [finding for finding in check_head(record, **kwargs) if finding.code not in OF_BOXES]


def only(record, code, severity, **kwargs):
    """The one finding beside those of every box, which must be of this code and severity."""
    found = beside_boxes(record, **kwargs)
    assert [(f.code, f.severity) for f in found] == [(code, severity)]
    return found[0].message


OF_BOXES = {"no-bone", "coarse"}
"""Cubes of 20 mm around grey matter, with CSF and scalp alone."""


def test_a_sound_mesh_has_no_findings():
    box = box_record(9, size_mm=20.0, jitter=0.2)
    outer, bone = box.tet_tags == 5, box.tet_tags == 3
    assert check_head(damaged(box, tet_tags=np.where(bone, 4, np.where(outer, 5, 2)))) == []


def test_coarse_grey_matter_and_a_head_without_bone():
    found = findings_of(box_record(5))
    assert set(found) == OF_BOXES and {f.severity for f in found.values()} == {"warning"}
    assert "above 3 mm" in found["coarse"].message and "--conductivity scalp" in found["no-bone"].message
    fine = box_record(9, size_mm=20.0)
    assert set(findings_of(fine)) == {"no-bone"}


def test_the_built_in_head():
    findings = check_head(load_head("mni152-small"))
    assert {f.code: f.severity for f in findings} == {"disconnected": "info", "coarse": "warning"}


def test_inverted_tetrahedra():
    tets = box_record(5).tets.copy()
    tets[10:13] = tets[10:13][:, [1, 0, 2, 3]]
    message = only(damaged(tets=tets), "inverted", "warning")
    assert message.startswith("3 tetrahedra are inverted")
    assert str(tets[10].tolist()) in message


def test_all_left_handed():
    message = only(damaged(tets=box_record(5).tets[:, [1, 0, 2, 3]]), "inverted", "info")
    assert "all tetrahedra" in message


def test_flat_tetrahedra():
    record = box_record(5)
    extra = np.append(record.tets, [[0, 1, 2, 3]], axis=0)  # four nodes on one edge of the cube
    found = findings_of(damaged(record, tets=extra, tet_tags=np.append(record.tet_tags, 5)))
    assert found["flat"].severity == "error"
    assert "1 tetrahedra have no volume, the first has nodes [0, 1, 2, 3]" in found["flat"].message


def test_slivers():
    record = box_record(5)
    nodes = np.append(record.nodes, record.nodes[record.tets[0, 1:]].mean(axis=0)[None] * (1 + 1e-6), axis=0)
    new = len(nodes) - 1
    a, b, c, d = record.tets[0]
    thin = [[new, b, c, d], [a, new, c, d], [a, b, new, d], [a, b, c, new]]
    tets = np.concatenate([thin, record.tets[1:]]).astype(np.int32)
    tags = np.concatenate([np.full(3, record.tet_tags[0]), record.tet_tags]).astype(np.int32)
    found = findings_of(damaged(record, nodes=nodes, tets=tets, tet_tags=tags))
    assert found["sliver"].severity == "warning"
    assert "1 tetrahedra have a radius ratio below 0.001" in found["sliver"].message


def test_unused_nodes():
    record = box_record(5)
    nodes = np.append(record.nodes, [[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]], axis=0)
    message = only(damaged(record, nodes=nodes), "unused-nodes", "warning")
    assert message.startswith("2 nodes belong to no tetrahedron, the first is 216")


def test_double_nodes():
    """A tetrahedron that has its own copies of nodes is cut off from its neighbours."""
    record = box_record(5)
    nodes = np.concatenate([record.nodes, record.nodes[record.tets[400]]])
    tets = record.tets.copy()
    tets[400] = np.arange(len(nodes) - 4, len(nodes))
    found = findings_of(damaged(record, nodes=nodes, tets=tets))
    assert found["double-nodes"].severity == "warning"
    assert found["double-nodes"].message.startswith("4 nodes lie exactly on another")
    assert found["separate-parts"].severity == "warning"


def test_overlap():
    record = box_record(5)
    tets = np.append(record.tets, record.tets[60:61], axis=0)
    found = findings_of(damaged(record, tets=tets, tet_tags=np.append(record.tet_tags, 5)))
    assert found["overlap"].severity == "error"
    assert "tetrahedra share a face with more than one other" in found["overlap"].message


def test_tags_without_conductivity():
    record = box_record(5)
    tags = np.where(record.tet_tags == 3, 42, record.tet_tags).astype(np.int32)
    message = only(damaged(record, tet_tags=tags), "no-conductivity", "error")
    assert "have tag 42 (unknown tissue)" in message
    assert "conductivity={42: value in S/m}" in message
    message = only(damaged(record, tet_tags=tags), "unknown-tag", "info", conductivity={42: 0.3})
    assert "conductivity 0.3" in message
    fat = np.where(record.tet_tags == 3, 12, record.tet_tags).astype(np.int32)
    assert "tag 12 (fat)" in only(damaged(record, tet_tags=fat), "no-conductivity", "error")
    assert beside_boxes(damaged(record, tet_tags=fat), conductivity={"fat": 0.04}) == []
    assert beside_boxes(damaged(record, tet_tags=fat), conductivity=np.full(len(fat), 0.1)) == []


def test_disconnected_tissue():
    record = box_record(7)
    tags = record.tet_tags.copy()
    tags[tags == 2] = np.where(np.arange(np.sum(tags == 2)) < 6, 2, 3)
    last = np.flatnonzero(record.tet_tags == 2)[-6:]
    tags[last] = 2
    message = only(damaged(record, tet_tags=tags), "disconnected", "warning")
    assert message.startswith(
        "tag 2 (grey_matter) is in 2 pieces that share no face; all but the largest hold"
    )
    assert "(50 %)" in message


def test_small_islands_are_only_worth_knowing():
    record = box_record(7)
    tags = record.tet_tags.copy()
    tags[0] = 2
    message = only(damaged(record, tet_tags=tags), "disconnected", "info")
    assert "0.486 mL" in message  # a sixth of a cell of (100 / 7)^3 mm^3


def test_two_eyes_are_natural():
    record = box_record(7)
    tags = record.tet_tags.copy()
    csf = np.flatnonzero(tags == 3)
    tags[csf[:6]] = tags[csf[-6:]] = 6
    assert beside_boxes(damaged(record, tet_tags=tags)) == []


def test_metres():
    record = box_record(5)
    message = only(damaged(record, nodes=record.nodes / 1000), "unit", "error")
    assert 'look like metres; pass unit="m" (--unit m)' in message


def test_micrometres():
    record = box_record(5)
    assert "no head in millimetres" in only(damaged(record, nodes=record.nodes * 1000), "unit", "warning")


def test_open_scalp():
    """Scalp triangles of the file that leave a hole."""
    record = box_record(5)
    faces = load_mesh(record).boundary_faces
    closed = damaged(record, triangles=faces, tri_tags=np.full(len(faces), 1005, np.int32))
    assert beside_boxes(closed) == []
    with_hole = damaged(record, triangles=faces[1:], tri_tags=np.full(len(faces) - 1, 1005, np.int32))
    assert "3 of its 450 edges" in only(with_hole, "open-scalp", "warning")


def load_mesh(record):
    from efield.model.mesh import TetMesh

    return TetMesh(record.nodes, record.tets, record.tet_tags)


def test_scalp_triangles_inside_the_head():
    record = box_record(5)
    inner = record.tets[record.tet_tags == 2][:, :3]
    found = findings_of(damaged(record, triangles=inner, tri_tags=np.full(len(inner), 1005, np.int32)))
    assert found["scalp-unusable"].severity == "error"


def test_a_head_that_is_cut_open():
    record = box_record(6)
    keep = record.nodes[record.tets].mean(axis=1)[:, 0] < 0
    cut = MeshRecord(record.nodes, record.tets[keep], record.tet_tags[keep])
    found = findings_of(cut)
    assert found["cut-open"].severity == "warning"
    # the cut is one of six faces; scalp rings it, a third of the width
    assert found["cut-open"].message.startswith("11.1 % of the outer surface is not scalp but tag 2")
    assert found["unused-nodes"].severity == "warning"


def test_no_grey_matter():
    record = box_record(5)
    tags = np.where(record.tet_tags == 2, 1, record.tet_tags).astype(np.int32)
    message = only(damaged(record, tet_tags=tags), "no-grey-matter", "warning")
    assert "found: tag 1 (white_matter), tag 3 (csf), tag 5 (scalp)" in message


def test_not_finite_and_unknown_nodes_leave_the_rest():
    record = box_record(5)
    nodes = record.nodes.copy()
    nodes[0] = np.inf
    tets = record.tets.copy()
    tets[100, 0], tets[101, 0] = -1, 216
    found = findings_of(damaged(record, nodes=nodes, tets=tets))
    assert found["not-finite"].message.startswith(
        "1 nodes have coordinates that are not finite, the first is 0"
    )
    assert found["unknown-nodes"].message.startswith("2 tetrahedra use nodes that do not exist")
    facts = describe_head(damaged(record, nodes=nodes, tets=tets))
    lost = 8  # two at the bad nodes, six that touch node 0
    assert sum(tissue["n_tets"] for tissue in facts["tissues"]) == len(tets) - lost


@pytest.mark.parametrize("n", [0, 1])
def test_nothing_usable(n):
    record = box_record(2)
    empty = MeshRecord(record.nodes * np.nan, record.tets[:n], record.tet_tags[:n])
    assert findings_of(empty)["no-tetrahedra"].severity == "error"
    facts = describe_head(empty)
    assert (facts["n_tets"], facts["tissues"], facts["scalp"]) == (n, [], None)


def test_errors_come_first():
    record = box_record(5)
    tags = np.where(record.tet_tags == 2, 42, record.tet_tags).astype(np.int32)
    tags[0] = 3
    severities = [f.severity for f in check_head(damaged(record, tet_tags=tags))]
    assert severities == sorted(severities, key=SEVERITIES.index)
    assert severities[0] == "error" and severities[-1] == "info"


def test_description():
    facts = describe_head(box_record(6))
    assert facts["n_nodes"] == 343 and facts["n_tets"] == 1296
    assert facts["bounding_box_mm"] == [[-50.0] * 3, [50.0] * 3]
    assert facts["volume_mL"] == pytest.approx(1000)
    assert [(t["tag"], t["name"], t["n_tets"]) for t in facts["tissues"]] == [
        (2, "grey_matter", 48),
        (3, "csf", 336),
        (5, "scalp", 912),
    ]
    cell = 100 / 6
    for tissue in facts["tissues"]:
        assert tissue["volume_mL"] == pytest.approx(tissue["n_tets"] / 6 * cell**3 / 1000)
        assert tissue["mean_edge_mm"] == pytest.approx(cell * (3 + 2 * 2**0.5 + 3**0.5) / 6)
    assert [t["conductivity"] for t in facts["tissues"]] == [0.275, 1.654, 0.465]
    assert facts["scalp"] == {
        "source": "outer boundary",
        "n_triangles": 432,
        "area_cm2": pytest.approx(600),
        "closed": True,
    }
    json.dumps(facts, allow_nan=False)


def test_a_file_that_cannot_be_loaded_can_be_inspected(tmp_path):
    record = box_record(5)
    tags = np.where(record.tet_tags == 2, 42, record.tet_tags).astype(np.int32)
    write_msh(tmp_path / "bad.msh", damaged(record, nodes=record.nodes / 1000, tet_tags=tags))
    with pytest.raises(MeshError):
        load_head(tmp_path / "bad.msh")
    inspection = inspect_file(tmp_path / "bad.msh")
    assert inspection.description["name"] == "bad"
    assert inspection.description["tissues"][-1]["conductivity"] is None
    assert {f.code for f in inspection.findings if f.severity == "error"} == {"unit", "no-conductivity"}
    mended = inspect_file(tmp_path / "bad.msh", unit="m", conductivity={42: 0.3})
    assert {f.severity for f in mended.findings} == {"warning", "info"}  # no grey matter, unknown tag


def test_a_head_and_its_file_give_the_same(tmp_path):
    write_msh(tmp_path / "box.msh", box_record(5, jitter=0.2))
    head = load_head(tmp_path / "box.msh")
    inspection = inspect_file(tmp_path / "box.msh")
    assert describe_head(head) == inspection.description
    assert check_head(head) == list(inspection.findings)
    assert beside_boxes(head) == []


def test_what_is_no_head():
    with pytest.raises(MeshError, match="cannot check str"):
        check_head("mni152")
    with pytest.raises(MeshError, match="no head"):
        inspect_file("nowhere.msh")
