"""Tapes, geodesics, landmarks and the 10-10 system: against spheres, ellipsoids and published positions."""

from functools import cache

import numpy as np
import pytest
from m2m_folders import make_folder, to_subject, write_eeg
from scipy.spatial import ConvexHull
from scipy.spatial.transform import Rotation
from small_heads import mni_small, sphere

from efield.errors import LandmarkError
from efield.io.eeg import read_eeg_positions
from efield.model.head import HeadModel
from efield.model.heads import load_head
from efield.model.placement import Placement
from efield.model.surface import TriSurface
from efield.scalp.curve import Curve
from efield.scalp.fiducials import MNI_FIDUCIALS, Fiducials, find_fiducials
from efield.scalp.geodesic import geodesic
from efield.scalp.marks import TapeMark, mark_of, point_of, tape_instructions
from efield.scalp.tape import tape
from efield.scalp.ten_ten import TenTen, ten_ten

AXES_MM = np.array([78.0, 98.0, 90.0])
TURN = Rotation.from_euler("xyz", [7, -9, 12], degrees=True).as_matrix()
SHIFT = np.array([4.0, -15.0, 8.0])


@cache
def ball(n=12000):
    """Points and outward triangles of a unit sphere."""
    k = np.arange(n) + 0.5
    z, angle = 1 - 2 * k / n, np.pi * (1 + 5**0.5) * k
    points = np.stack([np.sqrt(1 - z**2) * np.cos(angle), np.sqrt(1 - z**2) * np.sin(angle), z], axis=1)
    faces = ConvexHull(points).simplices
    a, b, c = (points[faces[:, i]] for i in range(3))
    flip = np.einsum("ij,ij->i", np.cross(b - a, c - a), a) < 0
    faces[flip] = faces[flip][:, [0, 2, 1]]
    return points, faces


@cache
def round_head(radius=90.0):
    points, faces = ball()
    return TriSurface(radius * points, faces)


@cache
def ellipsoid():
    """A turned, shifted ellipsoid."""
    points, faces = ball()
    return TriSurface((points * AXES_MM) @ TURN.T + SHIFT, faces)


def there(point):
    """From the ellipsoid's own axes to where it lies."""
    return np.asarray(point, float) @ TURN.T + SHIFT


def on_ellipsoid(direction):
    direction = np.asarray(direction, float)
    return direction / np.linalg.norm(direction / AXES_MM, axis=-1, keepdims=True)


def section(start, end, over, n=400_000):
    """Arc of the plane section of the ellipsoid (own axes): by rays in the plane, densely."""
    along = (end - start) / np.linalg.norm(end - start)
    up = over - start - ((over - start) @ along) * along
    up /= np.linalg.norm(up)
    middle = (start + end) / 2
    angle = np.linspace(0, np.pi, n)
    rays = -np.cos(angle)[:, None] * along + np.sin(angle)[:, None] * up
    a, b = np.sum((rays / AXES_MM) ** 2, axis=1), np.sum(rays * middle / AXES_MM**2, axis=1)
    c = np.sum((middle / AXES_MM) ** 2) - 1
    return middle + ((-b + np.sqrt(b**2 - a * c)) / a)[:, None] * rays


def length(points):
    return np.linalg.norm(np.diff(points, axis=0), axis=1).sum()


def at_share(points, share):
    marks = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(points, axis=0), axis=1))])
    return points[np.searchsorted(marks, share * marks[-1])]


# --- curves


def test_points_along_a_curve():
    curve = Curve(np.array([[0.0, 0, 0], [3, 0, 0], [3, 4, 0]]))
    assert curve.length_mm == 7
    np.testing.assert_allclose(curve.at([0, 1.5, 5, 7]), [[0, 0, 0], [1.5, 0, 0], [3, 2, 0], [3, 4, 0]])
    np.testing.assert_allclose(curve.part(0.5), [3, 0.5, 0])
    assert curve.length_to(np.array([9.0, 1, 1])) == 4
    for length_mm in (-0.1, 7.1, np.nan):
        with pytest.raises(LandmarkError, match=r"beyond the ends of a curve 7\.0 mm long"):
            curve.at(length_mm)


# --- tapes


@pytest.mark.parametrize("degrees", [40, 120, 180, 250])
def test_tape_on_a_sphere(degrees):
    half = np.radians(degrees) / 2
    start, end = ([s * 90 * np.sin(half), 0, 90 * np.cos(half)] for s in (-1, 1))
    assert tape(round_head(), start, end, (0, 0, 90)).length_mm == pytest.approx(180 * half, rel=5e-4)
    off = np.array([0, 30, 0])  # a smaller circle
    radius = np.sqrt(90**2 - 30**2)
    ends = [[s * radius * np.sin(half), 30, radius * np.cos(half)] for s in (-1, 1)]
    small = tape(round_head(), *ends, np.array([0, 0, radius]) + off).length_mm
    assert small == pytest.approx(2 * radius * half, rel=5e-4)


@pytest.mark.parametrize(
    ("start", "end", "over"),
    [
        ((0, 1, -0.3), (0, -1, -0.2), (0, 0.1, 1)),
        ((-1, 0, -0.2), (1, 0, -0.3), (0, 0, 1)),
        ((-0.2, 1, 0.4), (0.1, -1, 0.3), (-1, 0, 0.35)),
        ((-0.6, 0.5, 0.9), (-0.2, -0.9, 0.1), (-0.7, -0.2, 0.4)),
    ],
)
def test_tape_on_an_ellipsoid(start, end, over):
    start, end, over = (on_ellipsoid(p) for p in (start, end, over))
    expected = section(start, end, over)
    got = tape(ellipsoid(), there(start), there(end), there(over))
    assert got.length_mm == pytest.approx(length(expected), rel=1e-3)
    for share in (0.1, 0.5, 0.8):
        assert np.linalg.norm(got.part(share) - there(at_share(expected, share))) < 0.5
    np.testing.assert_allclose(got.points_mm[[0, -1]], [there(start), there(end)], atol=1e-9)


def test_a_tape_spans_hollows():
    """A dent in the sphere under the tape leaves it as it was: straight over it."""
    points, faces = ball()
    dented = 90.0 * points
    dent = np.arccos(points[:, 2]) < np.radians(10)
    dented[dent] *= 0.9
    across = tape(TriSurface(dented, faces), [-90, 0, 0], [90, 0, 0], [0, 1e-9, 81])
    straight = 2 * 90 * np.sin(np.radians(10))
    assert across.length_mm == pytest.approx(90 * np.radians(160) + straight, rel=5e-3)


def test_points_no_tape_can_join():
    with pytest.raises(LandmarkError, match="lie on one line"):
        tape(round_head(), [-90, 0, 0], [90, 0, 0], [0, 0, 0])
    with pytest.raises(LandmarkError, match="lie on one line"):
        tape(round_head(), [-90, 0, 0], [-90, 0, 0], [0, 0, 90])
    with pytest.raises(LandmarkError, match="no scalp between"):
        tape(round_head(), [-90, 0, 200], [90, 0, 200], [0, 0, 300])


# --- geodesics


def test_geodesics_on_a_sphere():
    rng = np.random.default_rng(3)
    ends = rng.normal(size=(12, 2, 3))
    ends *= 90 / np.linalg.norm(ends, axis=2, keepdims=True)
    ends[0] = 90 * np.array([[0.0, 0, 1], [1e-3, 0, 1]])  # within one triangle
    ends[1] = round_head().vertices_mm[[10, 4000]]
    ends[2, 0] = round_head().corners_mm[77, :2].mean(axis=0)  # on an edge
    for a, b in ends:
        got = geodesic(round_head(), a, b)
        expected = 90 * np.arctan2(np.linalg.norm(np.cross(a, b)), a @ b)
        assert got.length_mm == pytest.approx(expected, rel=2e-3, abs=0.02)
        assert np.linalg.norm(got.points_mm[[0, -1]] - [a, b], axis=1).max() < 0.2


def test_geodesics_along_the_principal_sections_of_an_ellipsoid():
    for start, end in (((0, 0.4, 1), (0, 1, 0.1)), ((-0.5, 0, 1), (-1, 0, 0)), ((0.3, 1, 0), (-0.9, 1, 0))):
        start, end = on_ellipsoid(start), on_ellipsoid(end)
        plane = section(start, end, (start + end) / 2 * 1.5)
        got = geodesic(ellipsoid(), there(start), there(end)).length_mm
        assert got == pytest.approx(length(plane), rel=2e-3)


def test_a_geodesic_is_no_longer_than_a_tape():
    start, end = on_ellipsoid((-0.7, 0.9, 0.1)), on_ellipsoid((-0.3, -0.8, 0.6))
    over = on_ellipsoid((-0.2, 0.2, 1))
    shortest = geodesic(ellipsoid(), there(start), there(end)).length_mm
    assert shortest < tape(ellipsoid(), there(start), there(end), there(over)).length_mm - 5
    assert shortest > np.linalg.norm(start - end)


def test_a_surface_that_touches_itself_is_cut_open_there():
    """A flap on an edge: three triangles share it, which no manifold has; the way round is as before."""
    plain = round_head()
    top = plain.triangles[np.argmax(plain.centroids_mm[:, 2])]
    n = len(plain.vertices_mm)
    vertices = np.concatenate([plain.vertices_mm, [[0, 0, 100.0], [1, 0, 101]]])
    flap = [[top[0], top[1], n], [top[1], top[0], n + 1]]
    flapped = TriSurface(vertices, np.concatenate([plain.triangles, flap]))
    assert not flapped.is_closed
    a, b = [60.0, 0, 67], [10.0, -65, 60]
    assert geodesic(flapped, a, b).length_mm == pytest.approx(geodesic(plain, a, b).length_mm, rel=1e-9)


def test_surfaces_without_a_shortest_path():
    fan = TriSurface(
        np.array([[0.0, 0, 0], [0, 0, 9], [9, 0, 4], [0, 9, 4], [-9, -9, 4]]),
        [[0, 1, 2], [0, 1, 3], [0, 1, 4]],
    )
    with pytest.raises(LandmarkError, match="no shortest path over the scalp"):
        geodesic(fan, [6, 0, 4], [0, 6, 4])


# --- the 10-10 system in closed form


def equator(radius=90.0):
    return Fiducials(*(radius * np.array([[0, 1, 0], [0, -1, 0], [-1, 0, 0], [1, 0, 0.0]])))


def test_the_system_on_a_sphere():
    """Landmarks on the equator: Cz is the pole and a tenth is 18 degrees."""
    system = TenTen(round_head(), equator())
    up, out = np.sin(np.radians([18, 54])), np.cos(np.radians([18, 54]))
    expected = {
        "Cz": (0, 0, 1),
        "Fpz": (0, out[0], up[0]),
        "Fz": (0, out[1], up[1]),
        "Oz": (0, -out[0], up[0]),
        "T7": (-out[0], 0, up[0]),
        "C4": (out[1], 0, up[1]),
        "Fp1": (-out[0] * up[0], out[0] * out[0], up[0]),
        "F7": (-out[0] * up[1], out[0] * out[1], up[0]),
        "P8": (out[0] * up[1], -out[0] * out[1], up[0]),
        "AF9": (-np.sin(np.radians(36)), np.cos(np.radians(36)), 0),
        "T10": (1, 0, 0),
    }
    for name, point in expected.items():
        assert np.linalg.norm(system.positions[name] - 90 * np.array(point)) < 0.4, name
    measures = system.measures
    assert measures.nasion_inion_cm == pytest.approx(9 * np.pi, rel=1e-3)
    assert measures.tragus_tragus_cm == pytest.approx(9 * np.pi, rel=1e-3)
    assert measures.circumference_cm == pytest.approx(18 * np.pi * out[0], rel=1e-3)
    assert measures.ears == "preauricular"


def test_positions_across_a_sphere():
    """F3 halves the arc from F7 to Fz of the circle through F7, Fz and F8."""
    system = TenTen(round_head(), equator())
    a, b, c = (system.positions[n] for n in ("F7", "Fz", "F8"))
    normal = np.cross(b - a, c - a)
    normal /= np.linalg.norm(normal)
    middle = (a @ normal) * normal
    halfway = (a - middle) + (b - middle)
    radius = np.linalg.norm(a - middle)
    expected = middle + radius * halfway / np.linalg.norm(halfway)
    assert np.linalg.norm(system.positions["F3"] - expected) < 0.4
    mirrored = system.positions["F4"] * [-1, 1, 1]
    assert np.linalg.norm(system.positions["F3"] - mirrored) < 0.6


def test_measures_of_an_ellipsoid():
    own = [on_ellipsoid(p) for p in ((0, 1, -0.2), (0, -1, -0.2), (-1, 0, -0.2), (1, 0, -0.2))]
    system = TenTen(ellipsoid(), Fiducials(*(there(p) for p in own)))
    top = np.array([0, 0, AXES_MM[2]])
    midline, coronal = section(own[0], own[1], top), section(own[2], own[3], top)
    fpz, oz, t7 = at_share(midline, 0.1), at_share(midline, 0.9), at_share(coronal, 0.1)
    assert np.linalg.norm(system.vertex_mm - there(top)) < 0.3
    measures = system.measures
    assert measures.nasion_inion_cm == pytest.approx(length(midline) / 10, rel=1e-3)
    assert measures.tragus_tragus_cm == pytest.approx(length(coronal) / 10, rel=1e-3)
    assert measures.circumference_cm == pytest.approx(2 * length(section(fpz, oz, t7)) / 10, rel=1e-3)
    np.testing.assert_allclose(system.axes, TURN.T, atol=0.01)


def test_tragi_are_measured_apart_from_the_preauricular_points():
    low = [on_ellipsoid(p) for p in ((-1, -0.1, -0.4), (1, -0.1, -0.4))]
    own = [on_ellipsoid(p) for p in ((0, 1, -0.2), (0, -1, -0.2), (-1, 0, -0.2), (1, 0, -0.2))]
    marks = Fiducials(*(there(p) for p in own), left_tragus=there(low[0]), right_tragus=there(low[1]))
    system, plain = TenTen(ellipsoid(), marks), TenTen(ellipsoid(), Fiducials(*(there(p) for p in own)))
    expected = length(section(low[0], low[1], np.array([0, 0, AXES_MM[2]])))
    assert system.measures.ears == "tragus"
    assert system.measures.tragus_tragus_cm == pytest.approx(expected / 10, rel=2e-3)
    assert system.measures.nasion_inion_cm == plain.measures.nasion_inion_cm
    np.testing.assert_allclose(system.positions["T7"], plain.positions["T7"])


def test_a_given_vertex_is_kept():
    marks = equator()
    given = Fiducials(**{**marks.points, "vertex": np.array([0, 6.0, 90])})
    system = TenTen(round_head(), given)
    vertex = 90 * np.array([0, 6.0, 90]) / np.hypot(6, 90)
    assert np.linalg.norm(system.positions["Cz"] - vertex) < 0.3
    angle = 0.6 * np.arctan2(90, 6.0)  # Fz, three fifths of the way from the nasion to the vertex
    assert np.linalg.norm(system.positions["Fz"] - 90 * np.array([0, np.cos(angle), np.sin(angle)])) < 0.3


# --- real heads


def differences(system, reference, surface):
    """Distances to a reference projected to the scalp, by name."""
    names = sorted(set(system.positions) & set(reference))
    projected = surface.closest(np.array([reference[n] for n in names]))[0]
    found = np.array([system.positions[n] for n in names])
    return dict(zip(names, np.linalg.norm(found - projected, axis=1), strict=True))


@pytest.mark.parametrize("name", ["mni152", "mni152-small"])
def test_the_built_in_head_against_the_jurak_cap(shared, name):
    """From its four landmarks; measured on mni152: at most 6.3 mm (Cz), median 2.0."""
    cap = read_eeg_positions(shared("data/eeg/mni/EEG10-10_UI_Jurak_2007.csv"))
    reference = {p.name: p.point_mm for p in cap}
    for mark, label in (("nasion", "Nz"), ("inion", "Iz"), ("left", "LPA"), ("right", "RPA")):
        np.testing.assert_allclose(MNI_FIDUCIALS[mark], reference[label], atol=1e-9)
    head = load_head(name)
    away = differences(ten_ten(head), reference, head.scalp)
    assert len(away) == 77
    assert max(away.values()) <= 8
    assert np.median(list(away.values())) <= 4


@pytest.fixture(scope="module")
def colin(shared):
    folder = "data/volumes/colin27_atlasviewer/"
    points = np.loadtxt(shared(folder + "refpts.txt"))
    names = shared(folder + "refpts_labels.txt").read_text().split()
    to_ras = np.loadtxt(shared(folder + "headvol2ras.txt"))
    reference = dict(zip(names, points @ to_ras[:3, :3].T + to_ras[:3, 3], strict=True))
    head = load_head(shared("data/meshes/colin27_fullhead_4tissue_derived.msh.gz"))
    return head, reference


def test_colin27_against_its_own_reference_points(colin):
    """From the five points its list begins with, Cz among them: at most 5.4 mm, median 2.0."""
    head, reference = colin
    marks = Fiducials(*(reference[n] for n in ("Nz", "Iz", "LPA", "RPA")), vertex=reference["Cz"])
    away = differences(ten_ten(head, marks), reference, head.scalp)
    assert len(away) >= 85
    assert max(away.values()) <= 6


def test_colin27_from_four_landmarks(colin):
    """Its Cz halves neither tape: constructed, ours lies 4 mm away, and PO5 6.4, PO3 6.1 mm."""
    head, reference = colin
    marks = Fiducials(*(reference[n] for n in ("Nz", "Iz", "LPA", "RPA")))
    away = differences(ten_ten(head, marks), reference, head.scalp)
    assert sorted(away, key=away.get)[-2:] == ["PO3", "PO5"]
    assert max(away.values()) <= 6.5
    assert sorted(away.values())[-3] <= 6


# --- landmarks


def test_landmarks_of_the_built_in_head():
    marks = find_fiducials(mni_small().head)
    assert "Jurcak" in marks.source
    np.testing.assert_array_equal(marks.nasion, MNI_FIDUCIALS["nasion"])


def test_landmarks_of_a_subject(tmp_path):
    folder = make_folder(tmp_path, mni_small().head, affines=False)
    head = load_head(folder)
    with pytest.raises(
        LandmarkError, match=r"it has no CSV file\); add Fiducials\.csv with Nz, Iz, LPA and RPA"
    ):
        find_fiducials(head)
    points = {n: to_subject(p)[0] for n, p in MNI_FIDUCIALS.items()}
    names = {"nasion": "Nz", "inion": "Iz", "left": "LPA", "right": "RPA"}
    rows = [("Fiducial", points[n], names[n]) for n in points]
    write_eeg(folder / "eeg_positions/Cap.csv", rows[:3])
    with pytest.raises(LandmarkError, match=r"Cap\.csv lacks right"):
        find_fiducials(head)
    write_eeg(folder / "eeg_positions/Other.csv", [*rows, ("Electrode", points["left"], "Cz")])
    marks = find_fiducials(head)
    assert marks.source.endswith("Other.csv")
    assert marks.vertex is None
    np.testing.assert_allclose(marks.inion, points["inion"], atol=1e-6)
    assert ten_ten(head).fiducials.source == marks.source
    write_eeg(
        folder / "eeg_positions/Fiducials.csv",
        [(k, p, n) for (k, p, _), n in zip(rows, ["Nz", "Iz", "RPA", "LPA"], strict=True)],
    )
    with pytest.raises(LandmarkError, match=r"right .* is not to the right .* of left .*swapped"):
        find_fiducials(head)


def test_the_system_moves_with_the_head():
    system = ten_ten(mni_small())
    surface, marks = system.surface, system.fiducials.points
    moved = TenTen(
        TriSurface(there(surface.vertices_mm), surface.triangles),
        Fiducials(**{n: there(p) for n, p in marks.items()}),
    )
    for name, point in system.positions.items():
        np.testing.assert_allclose(moved.positions[name], there(point), atol=0.02)
    assert moved.measures.circumference_cm == pytest.approx(system.measures.circumference_cm, rel=1e-5)


def test_a_bare_mesh_needs_landmarks_and_takes_them():
    head = HeadModel.from_mesh(mni_small().head.mesh, name="bare")
    with pytest.raises(LandmarkError, match=r"'bare' brings no landmarks; give nasion.*efield\.Fiducials"):
        ten_ten(head)
    system = ten_ten(head, Fiducials(**MNI_FIDUCIALS))
    np.testing.assert_allclose(system.positions["F3"], ten_ten(mni_small().head).positions["F3"])


def test_unusable_landmarks():
    given = dict(MNI_FIDUCIALS)
    with pytest.raises(
        LandmarkError, match=r"nasion \(0.0, -116.2, -30.5\) is not anterior .*: they are swapped"
    ):
        Fiducials(**given | {"nasion": given["inion"], "inion": given["nasion"]})
    with pytest.raises(
        LandmarkError, match=r"right .* is not to the right .*swapped, or the coordinates are not RAS"
    ):
        Fiducials(**given | {"left": given["right"], "right": given["left"]})
    with pytest.raises(LandmarkError, match="must be in mm"):
        Fiducials(**{k: np.array(v) / 1000 for k, v in given.items()})
    for value in ((1, 2), "here", (1, 2, np.nan), None):
        with pytest.raises(LandmarkError, match="nasion must be three finite"):
            Fiducials(**given | {"nasion": value})
    with pytest.raises(LandmarkError, match="both tragi"):
        Fiducials(**given, left_tragus=(-80, -25, -50))
    marks = Fiducials(**given | {"inion": (0, -170, -30)}, source="a table")
    with pytest.raises(LandmarkError, match=r"landmark inion .*\(a table\) lies 5\d mm from the scalp"):
        ten_ten(mni_small(), marks)


# --- marks


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize(("x", "y"), [(3.0, 5.0), (7.1, 9.8), (20.0, 6.0)])
def test_marks_on_a_sphere(side, x, y):
    """The circumference is the circle of latitude 18 degrees; y is an arc from the pole."""
    system = TenTen(round_head(), equator())
    azimuth, colatitude = 10 * x / (90 * np.cos(np.radians(18))), 10 * y / 90
    across = np.sin(azimuth) * np.sin(colatitude) * (-1 if side == "left" else 1)
    expected = 90 * np.array([across, np.cos(azimuth) * np.sin(colatitude), np.cos(colatitude)])
    point = point_of(system, TapeMark(side, x, y))
    assert np.linalg.norm(point - expected) < 0.4
    mark = mark_of(system, expected)
    assert mark.side == side
    assert (mark.x_cm, mark.y_cm) == pytest.approx((x, y), abs=0.06)


def test_marks_on_a_head_there_and_back():
    system = ten_ten(mni_small())
    for name in ("F3", "F4", "AF3", "P3", "FC1", "Pz", "C3", "F7", "TP8"):
        mark = mark_of(system, system.positions[name])
        assert np.linalg.norm(point_of(system, mark) - system.positions[name]) < 0.3, name
    assert mark_of(system, system.vertex_mm).y_cm == pytest.approx(0, abs=1e-6)


def test_places_that_cannot_be_marked():
    system = ten_ten(mni_small())
    with pytest.raises(LandmarkError, match="lies below the circumference"):
        mark_of(system, system.positions["F9"])
    with pytest.raises(LandmarkError, match=r"40\.00 cm along the circumference: its left half measures 3"):
        point_of(system, TapeMark("left", 40.0, 5.0))
    with pytest.raises(
        LandmarkError, match=r"20\.00 cm from the vertex: the circumference is reached after 1"
    ):
        point_of(system, TapeMark("left", 5.0, 20.0))


def test_instructions_for_a_placement():
    head = mni_small().head
    system = ten_ten(head)
    placement = Placement.on_scalp(head, system.positions["F3"], yaw_deg=-50.0)
    told = tape_instructions(head, placement)
    assert told.handle_to_midline_deg == pytest.approx(-50)
    place = point_of(system, told.mark)
    assert np.linalg.norm(place - system.positions["F3"]) < 1.0  # the coil's axis is the smoothed normal
    assert (told.to_mark.x_cm * 2 % 1, told.to_mark.y_cm * 2 % 1) == (0, 0)
    assert abs(told.to_mark.x_cm - told.mark.x_cm) <= 0.25
    marked = point_of(system, told.to_mark)
    assert told.error_mm >= np.linalg.norm(marked - place) - 0.05
    assert told.error_mm < np.hypot(2.5, 2.5) + 0.5
    words = str(told)
    assert f"{told.to_mark.x_cm:.1f} cm to the left" in words
    assert "50 degrees from straight back towards the right" in words
    assert f"{system.measures.circumference_cm:.1f} cm round" in words
    assert tape_instructions(system, placement) == told


def test_instructions_for_a_coil_in_the_air():
    pose = np.eye(4)
    pose[:3, 3] = [0, 0, 150.0]
    with pytest.raises(LandmarkError, match="axis misses the scalp"):
        tape_instructions(mni_small(), Placement(pose))
    with pytest.raises(LandmarkError, match="brings no landmarks"):
        tape_instructions(sphere(), Placement(pose))
