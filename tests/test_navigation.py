"""Files of navigation systems: the poses they mean, round trips, and what can be wrong with them."""

import datetime
import json
import re
import warnings
import zipfile
from pathlib import Path
from types import SimpleNamespace
from xml.etree import ElementTree

import nibabel
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles import random_rotation

import efield
from efield.errors import EfieldError, FormatError, OutputError, PlacementError
from efield.io.navigation.axes import AXES
from efield.io.navigation.files import FORMATS
from efield.io.navigation.invesalius import angles_of, rotation_of
from efield.model.session import NamedPlacement, Session

BRAINSIGHT = "data/neuronav/brainsight/niiImage_"
LOCALITE = "data/neuronav/localite/"
INSTRUMENT = LOCALITE + "InstrumentMarkers/{}_InstrumentMarker{}.xml"
TRIGGER = LOCALITE + "TMSTrigger/TriggerMarkers_Coil{}_20210409170817799.xml"

RIGHT, ANTERIOR, SUPERIOR = np.eye(3)
VERTEX = np.array([0.0, 0.0, 100.0])


def pose_of(x, y, z, centre):
    pose = np.eye(4)
    pose[:3] = np.column_stack([x, y, z, centre])
    return pose


def at_vertex():
    """Coil flat on the vertex: z down, y forwards (a handle at -y points backwards), x = y cross z."""
    return pose_of(-RIGHT, ANTERIOR, -SUPERIOR, VERTEX)


def random_placements(n, seed=0, **said):
    rng = np.random.default_rng(seed)
    poses = [pose_of(*random_rotation(rng).T, rng.uniform(-120, 120, 3)) for _ in range(n)]
    return [NamedPlacement(pose, name=f"p {i}", **said) for i, pose in enumerate(poses)]


def quiet(path, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return efield.load_placements(path, **options)


def written(tmp_path, format, placements, **options):
    path = tmp_path / f"file{FORMATS[format].suffix}"
    assert efield.save_placements(placements, path, format=format, **options) == path
    return path


@pytest.fixture(scope="module")
def image(tmp_path_factory):
    """A NIfTI whose voxel axes are turned and flipped: i to the left, j up, k backwards, tilted."""
    small = _small_rotation(0.1) @ np.column_stack([-RIGHT, SUPERIOR, -ANTERIOR]) * [1.0, 1.5, 2.0]
    affine = np.eye(4)
    affine[:3, :3], affine[:3, 3] = small, [90.0, 110.0, -70.0]
    made = nibabel.Nifti1Image(np.zeros((20, 30, 40), np.uint8), affine)
    made.set_sform(affine, code=2)
    made.set_qform(affine, code=2)
    made.header.set_xyzt_units("mm")
    path = tmp_path_factory.mktemp("image") / "t1.nii.gz"
    nibabel.save(made, path)
    return path


def _small_rotation(angle):
    c, s = np.cos(angle), np.sin(angle)
    return np.array([[c, -s, 0], [s, c, 0], [0, 0, 1.0]]) @ np.array([[1, 0, 0], [0, c, -s], [0, s, c]])


# --- recorded files


def numbers_of(text, pattern):
    return [float(value) for value in re.findall(pattern, text)]


def localite_matrices(text):
    values = numbers_of(text, r'data[0-3][0-3]="([^"]+)"')
    return np.reshape(values, (-1, 4, 4))


@pytest.mark.parametrize(
    ("space", "stamp", "count", "names"),
    [
        ("RAS", "20170316160859032", 6, ["M0", "M+45", "M-45"]),
        ("LPS", "20120925124022687", 4, ["hotspot", "PA", "premot"]),
    ],
)
def test_localite_instrument_markers(shared, space, stamp, count, names):
    path = shared(INSTRUMENT.format(space, stamp))
    with pytest.warns(RuntimeWarning, match=r"deviate from rigid by up to .*e-05"):
        session = efield.load_placements(path)
    assert [p.name for p in session[:3]] == names
    assert (len(session), session.format, session.skipped) == (count, "localite", ())
    for raw, placement in zip(localite_matrices(path.read_text()), session, strict=True):
        if space == "LPS":
            raw = np.diag([-1, -1, 1, 1]) @ raw
        meant = np.column_stack([raw[:, 2], -raw[:, 1], raw[:, 0], raw[:, 3]])
        np.testing.assert_allclose(placement.matsimnibs, meant, atol=1e-4)
        # z of the coil must look at the head's inside: towards the middle of the brain
        towards = np.array([0.0, -10.0, 20.0]) - placement.center_mm
        assert placement.matsimnibs[:3, 2] @ towards / np.linalg.norm(towards) > 0.7


def test_localite_triggers_have_times_and_intensities(shared):
    path = shared(TRIGGER.format(1))
    session = quiet(path)
    text = path.read_text()
    times = [float(t) / 1000 for t in re.findall(r'recordingTime="(\d+)"', text)]
    didt = [1e6 * d for d in numbers_of(text, r'"valueA" response="([^"]+)"')]
    assert [p.time_s for p in session] == times
    assert [p.didt for p in session] == didt
    assert {p.intensity_percent for p in session} == {45.0}
    assert {p.kind for p in session} == {"sample"}


def test_untracked_samples_are_counted(shared):
    with pytest.warns(RuntimeWarning, match=r"0 placements, 8 skipped \(8 not tracked"):
        session = efield.load_placements(shared(TRIGGER.format(0)))
    assert len(session) == 0
    assert [s.name for s in session.skipped] == [f"trigger {i}" for i in range(1, 9)]
    assert session.skipped[0].where == "line 14, TriggerMarker 1"
    with pytest.raises(PlacementError, match="no placements"):
        efield.simulate("mni152-small", "figure8-70mm", session)


def test_localite_entry_and_target_are_points(shared):
    with pytest.warns(RuntimeWarning, match="0 placements, 2 points that are no poses"):
        session = efield.load_placements(shared(LOCALITE + "EntryTarget/EntryTarget20120925115855953.xml"))
    entry, target = session.points
    assert (entry.kind, target.kind, target.name) == ("entry", "target", "premot")
    np.testing.assert_allclose(
        entry.position_mm, [-34.460376971779084, -32.060835295641006, 95.52184958938703]
    )


@pytest.mark.parametrize("name", ["nifticoord", "niftialignedcoord", "niftialignedcoord_no_samples"])
def test_brainsight(shared, name):
    path = shared(f"{BRAINSIGHT}{name}.txt")
    with pytest.warns(RuntimeWarning, match=r"deviate from rigid by up to 0\.00"):
        session = efield.load_placements(path)
    assert len(session.points) == 26 and session.points[1].name == "Nasion"
    samples = [p for p in session if p.kind == "sample"]
    assert (len(session) - len(samples), len(samples)) == (7, 0 if "no_samples" in name else 101)
    rows = [line.split("\t") for line in path.read_text().splitlines() if line.startswith("Sample ")]
    for row, placement in zip(rows, session, strict=True):
        start = 1 if len(row) == 13 else 4
        values = np.array(row[start : start + 12], float)
        x, y, z = values[3:].reshape(3, 3)
        np.testing.assert_allclose(placement.matsimnibs, pose_of(-x, y, -z, values[:3]), atol=2e-3)
        assert placement.name == row[0]
    if samples:
        assert samples[0].recorded_at == datetime.datetime(2021, 6, 25, 11, 48, 47, 502000)
        assert samples[0].intensity_percent is None


def test_brainsights_own_coordinates_need_the_image(shared, tmp_path):
    path = shared(f"{BRAINSIGHT}brainsightcoord.txt")
    with pytest.warns(RuntimeWarning, match=r"0 placements, 108 skipped .*give image="):
        efield.load_placements(path)
    # The same recording in the image's frame tells where its corner voxel and its axes lie.
    same = quiet(shared(f"{BRAINSIGHT}nifticoord.txt"))
    rows = [
        r.split("\t") for r in path.read_text().splitlines() if r.startswith("Sample ") and r.count("\t") > 20
    ]
    places = np.array([row[4:7] for row in rows], float)
    ours = np.array([p.center_mm for p in same if p.kind == "sample"])
    fit = np.linalg.lstsq(np.c_[places, np.ones(len(places))], ours, rcond=None)[0].T
    affine = np.vstack([fit, [0, 0, 0, 1]])
    shape = (180, 240, 200)
    stored = affine.copy()  # voxels counted from the other end along x and y
    stored[:3, 3] += affine[:3, :2] @ [shape[0] - 1, shape[1] - 1]
    stored[:3, :2] *= -1
    made = nibabel.Nifti1Image(np.zeros(shape, np.uint8), stored)
    made.header.set_xyzt_units("mm")
    nibabel.save(made, tmp_path / "t1.nii")
    read = quiet(path, image=tmp_path / "t1.nii")
    assert len(read) == 108
    for a, b in zip(read, same, strict=True):
        np.testing.assert_allclose(a.matsimnibs, b.matsimnibs, atol=2e-3)


def test_every_recorded_file_reads(shared):
    folder = shared("data/neuronav")
    paths = [path for path in folder.rglob("*") if path.is_file()]
    assert len(paths) == 9
    for path in paths:
        session = quiet(path)
        assert len(session) + len(session.skipped) + len(session.points) > 0


# --- what each system means by its axes


def expected_axes(format):
    """Axes of the coil at the vertex in a system's own words: (x, y, z), RAS."""
    return {
        "localite": (-SUPERIOR, -ANTERIOR, -RIGHT),  # x into the head
        "brainsight": (RIGHT, ANTERIOR, SUPERIOR),  # z out of the head
        "navinibs": (RIGHT, ANTERIOR, SUPERIOR),  # z out of the head, handle at -y: backwards
        "invesalius": (ANTERIOR, -RIGHT, SUPERIOR),  # x from the handle forwards, z out of the head
        "softaxic": (ANTERIOR, RIGHT, -SUPERIOR),  # z into the head
        "ant": (-RIGHT, ANTERIOR, -SUPERIOR),
        "simnibs": (-RIGHT, ANTERIOR, -SUPERIOR),
    }[format]


def raw_pose(format, path):
    """The matrix a file holds, taken from its text by hand."""
    text = path.read_text() if format != "simnibs" else ""
    if format == "localite":
        return localite_matrices(text)[0]
    if format == "brainsight":
        row = next(line for line in text.splitlines() if line.startswith("vertex\t")).split("\t")
        values = np.array(row[1:13], float)
        return pose_of(*values[3:].reshape(3, 3), values[:3])
    if format == "softaxic":
        found = dict(re.findall(r'\b(m\d\d|[xyz])="([^"]+)"', text))
        rotation = np.array([[float(found[f"m{i}{j}"]) for j in range(3)] for i in range(3)])
        return pose_of(*rotation.T, [float(found[axis]) for axis in "xyz"])
    if format == "ant":
        marker = json.loads(text)["TargetMarkers"][0]["CoilTarget"]
        return np.array(marker["CoilPose"]["RigidTransformMatrix4x4"])
    if format == "navinibs":
        return np.array(json.loads(text)["targets"][0]["coilToMRITransf"])
    if format == "invesalius":
        from scipy.spatial.transform import Rotation

        head, row = (line.split("\t") for line in text.splitlines()[1:3])
        cells = dict(zip([h.strip('"') for h in head], row, strict=True))
        angles = [float(cells[f"{name}_world"]) for name in ("alpha", "beta", "gamma")]
        centre = [float(cells[f"{name}_world"]) for name in "xyz"]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # gimbal lock
            return pose_of(*Rotation.from_euler("xyz", angles, degrees=True).as_matrix().T, centre)
    from scipy.io import loadmat

    position = loadmat(path)["poslist"][0, 0]["pos"][0, 0]
    return position["matsimnibs"].ravel()[0]


@pytest.mark.parametrize("format", sorted(AXES))
def test_axes_point_where_the_system_says(tmp_path, format):
    path = written(tmp_path, format, NamedPlacement(at_vertex(), name="vertex"))
    np.testing.assert_allclose(raw_pose(format, path), pose_of(*expected_axes(format), VERTEX), atol=1e-12)
    np.testing.assert_allclose(quiet(path)[0].matsimnibs, at_vertex(), atol=1e-12)


@pytest.mark.parametrize("system", AXES)
def test_axes_are_rotations(system):
    matrix = AXES[system].matrix
    np.testing.assert_array_equal(matrix.T @ matrix, np.eye(4))
    assert np.linalg.det(matrix) == pytest.approx(1.0)


def test_axes_table_is_the_one_in_the_docs():
    text = Path(__file__).parents[1].joinpath("docs", "navigation.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (\w+) \| `(\S+)` \| `(\S+)` \| `(\S+)` \|", text, re.MULTILINE)
    documented = {name.lower(): tuple(axes) for name, *axes in rows}
    assert documented == {name: (a.x, a.y, a.z) for name, a in AXES.items()}


# --- round trips


def test_poses_survive_a_chain_through_all_systems(tmp_path, image):
    start = random_placements(20)
    current = start
    for format in [*FORMATS, *reversed(FORMATS)]:
        current = quiet(written(tmp_path, format, current, image=image))
        assert [p.name for p in current] == [p.name for p in start]
    for a, b in zip(start, current, strict=True):
        np.testing.assert_allclose(a.matsimnibs, b.matsimnibs, rtol=0, atol=1e-6)


@pytest.mark.parametrize("format", FORMATS)
def test_what_is_written_reads_back(tmp_path, format):
    placements = random_placements(3, seed=4)
    session = quiet(written(tmp_path, format, placements))
    assert session.format == format.split("-")[0].removesuffix("14")
    for a, b in zip(placements, session, strict=True):
        np.testing.assert_allclose(a.matsimnibs, b.matsimnibs, rtol=0, atol=1e-9)
        assert (a.name, a.didt, a.time_s, a.recorded_at) == (b.name, b.didt, b.time_s, b.recorded_at)


WHEN = datetime.datetime(2024, 2, 3, 4, 5, 6, 789000)


@pytest.mark.parametrize(
    ("format", "kept"),
    [
        ("csv", {"kind", "time_s", "recorded_at", "didt", "intensity_percent"}),
        ("localite-trigger", {"kind", "time_s", "didt", "intensity_percent"}),
        ("brainsight", {"kind", "recorded_at", "intensity_percent"}),
        ("brainsight14", {"kind", "recorded_at", "intensity_percent"}),
        ("softaxic", {"kind"}),
        ("invesalius", {"kind"}),
        ("simnibs", {"didt"}),
    ],
)
def test_what_a_format_has_a_place_for_is_kept(tmp_path, format, kept):
    said = {"kind": "sample", "time_s": 12.5, "recorded_at": WHEN, "didt": 63e6, "intensity_percent": 45.5}
    (read,) = quiet(written(tmp_path, format, random_placements(1, **said)))
    for key in kept:
        assert getattr(read, key) == said[key], key
    if format == "softaxic":  # milliseconds since 1970, UTC
        assert read.recorded_at == WHEN.replace(tzinfo=datetime.UTC)


@given(
    names=st.lists(st.text(min_size=1, max_size=20), min_size=1, max_size=4),
    format=st.sampled_from(list(FORMATS)),
)
@settings(max_examples=150)
def test_any_name_is_kept_or_refused(tmp_path_factory, names, format):
    placements = [NamedPlacement(at_vertex(), name=name) for name in names]
    path = tmp_path_factory.mktemp("names") / f"a{FORMATS[format].suffix}"
    try:
        efield.save_placements(placements, path, format=format)
    except FormatError:
        assert not path.exists()
    else:
        assert [p.name for p in quiet(path)] == names


def test_angles_of_every_rotation():
    rng = np.random.default_rng(1)
    rotations = [random_rotation(rng) for _ in range(50)]
    for beta in (90.0, -90.0, 90 - 1e-7, 90 - 1e-9, -90 + 1e-8):
        rotations += [rotation_of([alpha, beta, 20.0]) for alpha in (-170.0, 0.0, 33.0)]
    for rotation in rotations:
        np.testing.assert_allclose(rotation_of(angles_of(rotation)), rotation, atol=1e-7)


def test_invesalius_places_markers_in_its_image(tmp_path, image):
    """x, y, z count millimetres from the corner voxel of the image turned to RAS, y from its far end."""
    placement = NamedPlacement(at_vertex(), name="a")
    head, row = (
        r.split("\t")
        for r in written(tmp_path, "invesalius", placement, image=image).read_text().splitlines()[1:]
    )
    cells = dict(zip([h.strip('"') for h in head], row, strict=True))
    canonical = nibabel.as_closest_canonical(nibabel.load(image))
    voxel = np.linalg.inv(canonical.affine) @ [*VERTEX, 1]
    spacing = np.array(canonical.header.get_zooms())
    expected = voxel[:3] * spacing
    expected[1] = spacing[1] * (canonical.shape[1] - 1) - expected[1]
    np.testing.assert_allclose([float(cells[c]) for c in "xyz"], expected, atol=1e-4)
    without = written(tmp_path, "invesalius", placement).read_text().splitlines()[2].split("\t")
    assert without[1:7] == ["None"] * 6


@pytest.mark.parametrize(
    ("format", "line"),
    [
        ("brainsight", "# Coordinate system: NIfTI:Aligned"),
        ("brainsight14", "# Coordinate system: NIfTI:S:Aligned"),
    ],
)
def test_brainsight_names_the_frame_of_the_image(tmp_path, image, format, line):
    lines = (
        written(tmp_path, format, NamedPlacement(at_vertex(), name="a"), image=image).read_text().splitlines()
    )
    assert lines[:2] == [f"# Version: {14 if '14' in format else 12}", line]


@pytest.mark.parametrize("kinds", [("target",), ("sample",), ("target", "sample")])
def test_simnibs_reads_the_brainsight_file(tmp_path, kinds):
    """Its reader (simnibs/utils/nnav.py) takes every line after a table's column names for a row of it, up to
    one that begins with #; at the end of the file it takes the empty one, too, after samples."""
    placements = [p for k in kinds for p in random_placements(2, kind=k)]
    lines = written(tmp_path, "brainsight", placements).read_text(encoding="utf-8").split("\n")
    assert "# Coordinate system: NIfTI:Aligned" in lines and "# Encoding: UTF-8" in lines
    first = next(i for i, line in enumerate(lines) if line.startswith(("# Target Name", "# Sample Name")))
    counted = {}
    for line in lines[first:]:
        if line.startswith("# "):
            table, names = line[2:].split()[0], line[2:].split("\t")
            counted.setdefault(table, 0)
        elif line or table == "Sample":
            row = dict(zip(names, line.split("\t"), strict=True))
            assert all(np.isfinite(float(row[f"m{i}n{j}"])) for i in range(3) for j in range(3))
            assert all(np.isfinite(float(row[f"Loc. {axis}"])) for axis in "XYZ")
            counted[table] += 1
    assert [counted.get(k.capitalize(), 0) for k in ("target", "sample")] == [
        2 * (k in kinds) for k in ("target", "sample")
    ]


def test_simnibs_reads_localite_and_softaxic_files(tmp_path):
    """The elements and attributes that its readers look up without a default (simnibs/utils/nnav.py)."""
    placements = random_placements(2)
    matrix = [f"data{i}{j}" for i in range(4) for j in range(4)]
    root = ElementTree.parse(written(tmp_path, "localite", placements)).getroot()
    assert root.get("coordinateSpace") == "RAS"
    markers = [m.find("Marker") for m in root.iter("InstrumentMarker")]
    assert len(markers) == 2 and all(m.get("description") for m in markers)
    assert all(np.isfinite(float(m.find("Matrix4D").get(key))) for m in markers for key in matrix)
    triggers = list(
        ElementTree.parse(written(tmp_path, "localite-trigger", placements)).getroot().iter("TriggerMarker")
    )
    assert len(triggers) == 2 and all(t.get("description") for t in triggers)
    for trigger in triggers:
        assert all(np.isfinite(float(trigger.find("Matrix4D").get(key))) for key in matrix)
        values = {v.get("key"): v.get("response") for v in trigger.find("ResponseValues").findall("Value")}
        assert values == {"valueA": "NaN", "amplitudeA": "NaN"}  # known: dI/dt is 1 A/us by its default then
    points = list(ElementTree.parse(written(tmp_path, "softaxic", placements)).getroot().iter("fmp"))
    assert len(points) == 2 and all(p.attrib["id"] for p in points)
    keys = [*(f"m{i}{j}" for i in range(3) for j in range(3)), "x", "y", "z"]
    assert all(np.isfinite(float(p.find("fp").attrib[key])) for p in points for key in keys)


def test_invesalius_reads_its_file(tmp_path, image):
    """Its reader (invesalius/data/markers/marker.py, from_dict) looks these columns up without a default."""
    needed = "x y z alpha beta gamma r g b x_seed y_seed z_seed x_cortex y_cortex z_cortex alpha_cortex "
    needed += "beta_cortex gamma_cortex size label is_target session_id"
    path = written(tmp_path, "invesalius", random_placements(2), image=image)
    magic, header, *rows = path.read_text(encoding="utf-8").splitlines()
    assert magic.startswith("##INVESALIUS3_MARKER_FILE_") and int(magic.split("_")[-1]) in range(5)
    names = [name.strip('"') for name in header.split("\t")]
    assert set(needed.split()) <= set(names) and len(rows) == 2
    for row in rows:
        values = dict(zip(names, row.split("\t"), strict=True))
        assert all(np.isfinite(float(values[k])) for k in needed.split()[:6])
        assert int(values["marker_type"]) in range(5)


def test_ant_names_its_image(tmp_path, image):
    body = json.loads(written(tmp_path, "ant", at_vertex(), image=image).read_text())
    info = body["Configuration"]["AssociatedImageInfo"]
    header = nibabel.load(image).header
    assert info["NIfTI_qoffset"] == [float(header[f"qoffset_{a}"]) for a in "xyz"]


@pytest.mark.parametrize("format", FORMATS)
def test_every_file_says_where_handle_and_current_point(tmp_path, format):
    path = written(tmp_path, format, NamedPlacement(at_vertex(), name="a"))
    if format == "simnibs":
        from scipy.io import loadmat

        body = loadmat(path)
        text = str(body["comment"][0]) + str(body["poslist"][0, 0]["pos"][0, 0]["orient"])
    else:
        beside = path.with_name(path.name + ".txt")
        text = beside.read_text() if beside.exists() else path.read_text()
    text = text.replace("&apos;", "'")
    assert "current under the coil's centre runs along -y" in text
    assert "anterior" in text and "posterior" in text
    if format != "csv":
        assert "+y, the handle in efield, points anterior; -y" in text


def test_placements_of_every_kind_can_be_written(tmp_path):
    for one in (at_vertex(), efield.Placement(at_vertex()), [at_vertex(), efield.Placement(at_vertex())]):
        session = quiet(efield.save_placements(one, tmp_path / "a.csv"))
        assert session[0].name == "placement 1"
        np.testing.assert_allclose(session[0].matsimnibs, at_vertex(), atol=1e-15)


def test_suffix_tells_the_format(tmp_path):
    expected = {".csv": "csv", ".xml": "localite", ".txt": "brainsight", ".stmpx": "softaxic", ".mrk": "ant"}
    for suffix, format in {**expected, ".mkss": "invesalius", ".json": "navinibs", ".mat": "simnibs"}.items():
        efield.save_placements(at_vertex(), tmp_path / f"a{suffix}")
        assert quiet(tmp_path / f"a{suffix}").format == format


def test_single_poses_are_sessions_of_one(tmp_path):
    np.savetxt(tmp_path / "pose.txt", at_vertex())
    np.save(tmp_path / "pose.npy", at_vertex())
    (tmp_path / "pose.json").write_text(json.dumps({"placement": {"matsimnibs": at_vertex().tolist()}}))
    for suffix in ("txt", "npy", "json"):
        session = efield.load_placements(tmp_path / f"pose.{suffix}")
        assert (session.format, session[0].name) == ("pose", "pose")
        np.testing.assert_array_equal(session[0].matsimnibs, at_vertex())


def test_session_is_a_sequence_that_simulate_takes(monkeypatch, tmp_path):
    from efield import forward

    efield.save_placements(random_placements(3), tmp_path / "a.csv")
    session = efield.load_placements(tmp_path / "a.csv")
    assert isinstance(session, Session)
    assert (len(session), session[-1].name, len(session[:2])) == (3, "p 2", 2)
    assert "3 placements" in repr(session)
    poses, single = forward._as_placements(session)
    assert [p.name for p in poses] == ["p 0", "p 1", "p 2"] and not single


# --- SimNIBS


def test_simnibs_structures_as_matlab_writes_them(tmp_path):
    """poslist as a cell of structures, pos as a structure array or a single structure."""
    from scipy.io import savemat

    position = {"type": "POSITION", "name": "M1", "matsimnibs": at_vertex(), "didt": 2e6}
    bare = {
        "type": "POSITION",
        "name": "C3",
        "centre": "C3",
        "pos_ydir": "CP3",
        "matsimnibs": np.empty((0, 0)),
    }
    cell = np.empty((1, 2), dtype=object)
    cell[0, 0] = {"type": "TMSLIST", "fnamecoil": "a.ccd", "pos": position}
    both = np.empty((1, 2), dtype=object)
    both[0, 0], both[0, 1] = position, bare
    cell[0, 1] = {"type": "TMSLIST", "fnamecoil": "a.ccd", "pos": both}
    savemat(tmp_path / "a.mat", {"type": "SESSION", "poslist": cell})
    with pytest.warns(RuntimeWarning, match=r"2 placements, 1 skipped \(1 given by centre and pos_ydir"):
        session = efield.load_placements(tmp_path / "a.mat")
    assert [(p.name, p.didt) for p in session] == [("M1", 2e6), ("M1", 2e6)]
    savemat(tmp_path / "b.mat", {"type": "TMSoptimize", "fnamecoil": "a.ccd"})
    with pytest.raises(FormatError, match=r"simnibs_simulation_\*\.log"):
        efield.load_placements(tmp_path / "b.mat")
    savemat(
        tmp_path / "c.mat", {"type": "SESSION", "poslist": np.array([[{"type": "TDCSLIST"}]], dtype=object)}
    )
    with pytest.raises(FormatError, match="no TMSLIST"):
        efield.load_placements(tmp_path / "c.mat")


def test_a_written_session_is_laid_out_as_simnibs_reads_it(tmp_path):
    """The look-ups that SimNIBS does on what SciPy returns, without its code."""
    from scipy.io import loadmat

    placements = random_placements(2, didt=5e6)
    efield.save_placements(placements, tmp_path / "a.mat")
    body = loadmat(tmp_path / "a.mat")
    simulation = body["poslist"][0][0][0][0]
    assert (body["type"][0], str(simulation["type"][0])) == ("SESSION", "TMSLIST")
    assert len(simulation["cond"][0]) == 10
    assert float(simulation["cond"][0][1]["value"][0][0]) == 0.275  # tag 2, grey matter
    for position, placement in zip(simulation["pos"][0], placements, strict=True):
        np.testing.assert_array_equal(position["matsimnibs"], placement.matsimnibs)
        assert (str(position["name"][0]), float(position["didt"][0][0])) == (placement.name, 5e6)


@pytest.mark.parametrize(
    "heading", ["Best coil position\n=============================\n", "Matsimnibs result:\n"]
)
def test_simnibs_optimum_in_its_log(tmp_path, heading):
    pose = random_placements(1)[0].matsimnibs
    text = f"[ simnibs ]INFO: start\n{heading}{np.eye(4)}\n[ simnibs ]INFO: again\n{heading}"
    path = tmp_path / "simnibs_simulation_1.log"
    with np.printoptions(precision=9):
        path.write_text(text + f"{pose}\n\n[ simnibs ]INFO: end\n")
    np.testing.assert_allclose(quiet(path)[0].matsimnibs, pose, atol=1e-6)
    for broken in (text, text + str(pose)[:60], text + str(np.eye(3)), text + str(pose).replace(".", "x")):
        path.write_text(broken)
        with pytest.raises(EfieldError, match=r"simnibs_simulation_1\.log"):
            efield.load_placements(path)


@pytest.mark.parametrize("kind", ["TmsFlexOptimize", "TMSoptimize"])
def test_where_an_optimization_of_simnibs_began_is_no_optimum(tmp_path, kind):
    from scipy.io import savemat

    pose, path = random_placements(1)[0].matsimnibs, tmp_path / "settings.mat"
    savemat(path, {"type": kind, "pos": {"matsimnibs": pose, "name": "start", "didt": 1e6}})
    with pytest.raises(EfieldError, match=r"settings of an optimization.*into its log"):
        efield.load_placements(path)
    savemat(path, {"type": "TMSLIST", "pos": {"matsimnibs": pose, "name": "one", "didt": 1e6}})
    np.testing.assert_allclose(quiet(path)[0].matsimnibs, pose, atol=1e-9)


# --- what is refused


def edited(tmp_path, format, change, **said):
    path = written(tmp_path, format, random_placements(2, seed=1, **said))
    before = path.read_text()
    after = change(before)
    assert before != after
    path.write_text(after)
    return path


def swap(old, new):
    return lambda text: text.replace(old, new, 1)


@pytest.mark.parametrize(
    ("format", "change", "words"),
    [
        ("localite", swap("RAS", "LAS"), "line 2: coordinateSpace is 'LAS'"),
        ("localite", swap(' coordinateSpace="RAS"', ""), "coordinateSpace is ''"),
        ("localite", swap("data12=", "data21="), "not well-formed XML"),
        ("localite", swap("data12=", "other="), "no attribute 'data12'"),
        ("localite", swap('data03="', 'data03="x'), "line 6, InstrumentMarker 1|line 4, InstrumentMarker 1"),
        ("localite", swap('data03="', 'data03="nan" d="'), "not a finite number"),
        ("localite", swap("<Matrix4D", "<Matrix3D"), "has no <Matrix4D>"),
        ("localite", swap("InstrumentMarkerList", "Scene"), "not well-formed"),
        ("localite-trigger", swap('unit="A/us"', 'unit="A/s"'), "unit of valueA is 'A/s'"),
        ("localite-trigger", swap('response="NaN"', 'response="many"'), "valueA: 'many' is not a number"),
        ("brainsight", swap("NIfTI:Aligned", "Talairach"), "coordinate system 'Talairach' is unknown"),
        ("brainsight", swap("# Coordinate system:", "# Frame:"), "no line '# Coordinate system"),
        ("brainsight", swap("UTF-8", "UTF-16"), "line 5: Encoding: UTF-16"),
        ("brainsight", swap("millimetres", "metres"), "line 4: Units: metres.*must be in millimetres"),
        ("brainsight", swap("Loc. Y", "Loc. Q"), "lacks the columns Loc. Y"),
        ("brainsight", lambda t: t[: t.rindex("\t")] + "\n", "12 of at least 13 columns"),
        (
            "brainsight",
            lambda t: re.sub(r"^p 1\t[^\t]+", "p 1\t1,5", t, flags=re.M),
            "line 11, Loc. X: '1,5'",
        ),
        ("softaxic", swap('m11="', 'n11="'), "no attribute 'm11'"),
        ("softaxic", swap('ts="0"', 'ts="1e30"'), "is no date"),
        ("softaxic", swap("<!DOCTYPE stmp>", '<!DOCTYPE stmp SYSTEM "a.dtd">'), "document type 'stmp'"),
        ("ant", swap("ASSOCIATED_IMAGE", "WORLD"), "CoordinateSystem is 'WORLD'"),
        ("ant", swap('"mm"', '"m"'), "PositionalUnit is 'm'"),
        ("ant", swap("simnibs", "localite"), "CoilAxesConvention is 'localite'"),
        ("ant", swap("RigidTransformMatrix4x4", "Pose"), "expected four rows of four numbers"),
        ("ant", lambda t: t[: len(t) // 2], "not valid JSON"),
        ("navinibs", swap('"key"', '"name"'), "expected an object with a 'key'"),
        ("navinibs", swap('"targets": [', '"targets": {"a": ['), "not valid JSON"),
        ("invesalius", swap("FILE_3", "FILE_9"), "version '9' is unknown"),
        ("invesalius", swap("FILE_3", "FILE_" + "9" * 5000), "version '9999"),
        ("invesalius", swap("alpha_world", "omega_world"), "lacks the columns alpha_world"),
        ("invesalius", lambda t: t[: t.rindex("\t")] + "\n", "of 35 columns"),
        ("invesalius", swap("\t3\t0.0\t0.0\t", "\t7\t0.0\t0.0\t"), "marker_type is '7'"),
        ("csv", lambda t: t[: t.rindex(",")] + "\n", "line 4: 23 of 24 columns"),
        ("csv", swap(",target,", ",treat,"), "kind is 'treat'"),
        (
            "csv",
            lambda t: re.sub(r"^p 0,target,,", "p 0,target,,never", t, flags=re.M),
            "recorded_at: 'never'",
        ),
    ],
)
def test_damage_is_named(tmp_path, format, change, words):
    path = edited(tmp_path, format, change)
    with pytest.raises(EfieldError, match=words) as caught:
        quiet(path)
    assert str(path) in str(caught.value)


def scaled(factor):
    """Multiply the first rotation entry of an ANT file's first pose."""

    def change(text):
        body = json.loads(text)
        rows = body["TargetMarkers"][0]["CoilTarget"]["CoilPose"]["RigidTransformMatrix4x4"]
        for row in rows[:3]:
            row[0] *= factor
        return json.dumps(body)

    return change


def test_poses_that_are_not_rigid(tmp_path):
    for factor, words in ((1.2, "not orthonormal"), (-1.0, "left-handed")):
        with pytest.raises(PlacementError, match=rf"TargetMarkers\[0\] \(p 0\).*{words}"):
            efield.load_placements(edited(tmp_path, "ant", scaled(factor)))
    with pytest.warns(RuntimeWarning, match=r"1 of 2 rotations deviate from rigid by up to 0\.002"):
        session = efield.load_placements(edited(tmp_path, "ant", scaled(1.001)))
    rotation = session[0].matsimnibs[:3, :3]
    np.testing.assert_allclose(rotation.T @ rotation, np.eye(3), atol=1e-14)


def test_metres_are_refused(tmp_path):
    small = [NamedPlacement(pose_of(-RIGHT, ANTERIOR, -SUPERIOR, VERTEX / 1000), name="a")]
    with pytest.raises(PlacementError, match="look like metres"):
        efield.load_placements(written(tmp_path, "csv", small))


def test_brainsight_world_of_a_dicom_is_lps(tmp_path):
    path = edited(tmp_path, "brainsight", swap("NIfTI:Aligned", "World"))
    for a, b in zip(random_placements(2, seed=1), quiet(path), strict=True):
        np.testing.assert_allclose(b.center_mm, a.center_mm * [-1, -1, 1], atol=1e-12)


@pytest.mark.parametrize("format", ["csv", "brainsight", "invesalius"])
def test_a_number_that_may_be_cut_short_is_warned_of(tmp_path, format):
    path = edited(tmp_path, format, lambda text: text[:-2])
    with pytest.warns(RuntimeWarning, match="the last line has no line end"):
        efield.load_placements(path)


def test_null_positions_are_skipped(tmp_path):
    row = r"^(p 1\t)[^\t]+"
    path = edited(tmp_path, "brainsight", lambda t: re.sub(row, r"\1(null)", t, flags=re.M))
    with pytest.warns(RuntimeWarning, match=r"1 placements, 1 skipped \(1 not tracked \(null position\)\)"):
        session = efield.load_placements(path)
    assert session.skipped[0].name == "p 1"


def test_navinibs_samples(tmp_path):
    pose = at_vertex() @ np.diag([-1, 1, -1, 1])
    items = [
        {
            "key": "s 1",
            "timestamp": "2024-02-03T04:05:06.789000",
            "coilToMRITransf": pose.tolist(),
            "targetKey": "M1",
        },
        {"key": "s 2", "timestamp": "2024-02-03T04:05:07.000000"},
    ]
    (tmp_path / "a.json").write_text(json.dumps(items))
    with pytest.warns(RuntimeWarning, match="1 placements, 1 skipped"):
        session = efield.load_placements(tmp_path / "a.json")
    assert (session[0].kind, session[0].recorded_at) == ("sample", WHEN)
    np.testing.assert_allclose(session[0].matsimnibs, at_vertex(), atol=1e-15)
    (tmp_path / "b.json").write_text(json.dumps([{"key": "t", "targetCoord": [1, 2, 3]}]))
    assert quiet(tmp_path / "b.json").points[0].kind == "target"


def test_navinibs_session_file(tmp_path):
    pose = (at_vertex() @ np.diag([-1, 1, -1, 1])).tolist()
    parts = {
        "SessionConfig.json": {"formatVersion": "1"},
        "SessionConfig_Targets.json": [{"key": "M1", "coilToMRITransf": pose}],
        "SessionConfig_Samples.json": [{"key": "s", "timestamp": WHEN.isoformat(), "coilToMRITransf": pose}],
    }
    path = tmp_path / "a.navinibs"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, body in parts.items():
            archive.writestr(f"./{name}", json.dumps(body))
    session = efield.load_placements(path)
    assert [(p.name, p.kind) for p in session] == [("M1", "target"), ("s", "sample")]
    data = path.read_bytes()
    for cut in range(5, len(data), 40):
        path.write_bytes(data[:cut])
        with pytest.raises(FormatError, match=r"a\.navinibs"):
            efield.load_placements(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("other.txt", "x")
    with pytest.raises(FormatError, match="no session of NaviNIBS"):
        efield.load_placements(path)


def test_invesalius_other_markers_are_points(tmp_path):
    path = edited(tmp_path, "invesalius", swap("\t3\t0.0\t0.0\t", "\t0\t0.0\t0.0\t"))
    session = quiet(path)
    assert (len(session), session.points[0].kind) == (1, "fiducial")
    np.testing.assert_allclose(session.points[0].position_mm, random_placements(2, seed=1)[0].center_mm)


BOMB = """<?xml version="1.0"?>
<!DOCTYPE lolz [<!ENTITY a0 "lol">{}]>
<InstrumentMarkerList coordinateSpace="RAS">&a9;</InstrumentMarkerList>
""".format("".join(f'<!ENTITY a{i} "{f"&a{i - 1};" * 10}">' for i in range(1, 10)))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (BOMB, "document type 'lolz'"),
        ('<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]><a>&x;</a>', "document type"),
        ('<!DOCTYPE a SYSTEM "http://localhost/a.dtd"><a/>', "document type"),
        ("<a>" * 1000 + "</a>" * 1000, "nested deeper than 100"),
        ("<InstrumentMarkerList", "not well-formed"),
        ("<html><body/></html>", "<html> is no known kind"),
        ("[" * 100000, "nested far too deep|not valid JSON"),
        ('{"TargetMarkers": NaN}', "NaN is not a number"),
        ('{"TargetMarkers": 3}', "must be a list"),
        ("", "is empty"),
        ("some words", "cannot tell what|no 4 x 4 pose"),
        ("##INVESALIUS3_MARKER_FILE_3", "no line of column names"),
    ],
)
def test_hostile_and_foreign_files(tmp_path, text, words):
    for suffix in (".xml", ".json", ".txt"):
        path = tmp_path / f"a{suffix}"
        path.write_text(text)
        with pytest.raises(EfieldError, match=words):
            quiet(path)


def test_files_that_are_not_there_or_not_text(tmp_path):
    with pytest.raises(FormatError, match=r"cannot read .*none\.xml"):
        efield.load_placements(tmp_path / "none.xml")
    with pytest.raises(FormatError, match="cannot read"):
        efield.load_placements(tmp_path)
    (tmp_path / "a.txt").write_bytes(b"# Version: 12\n\xff\xfe\xfa")
    with pytest.raises(FormatError, match="byte 14 is not UTF-8"):
        efield.load_placements(tmp_path / "a.txt")


def test_what_cannot_be_written(tmp_path):
    with pytest.raises(PlacementError, match="no placements"):
        efield.save_placements([], tmp_path / "a.csv")
    with pytest.raises(FormatError, match="known: csv, localite"):
        efield.save_placements(at_vertex(), tmp_path / "a.csv", format="loaclite")
    with pytest.raises(FormatError, match="give format="):
        efield.save_placements(at_vertex(), tmp_path / "a.dat")
    with pytest.raises(OutputError):
        efield.save_placements(at_vertex(), tmp_path / "none" / "a.csv")
    with pytest.raises(FormatError, match="unique names"):
        efield.save_placements([NamedPlacement(at_vertex(), name="a")] * 2, tmp_path / "a.json")
    with pytest.raises(FormatError, match="cannot be read as NIfTI"):
        efield.save_placements(at_vertex(), tmp_path / "a.mrk", image=tmp_path / "none.nii")
    assert list(tmp_path.iterdir()) == []


# --- fuzzing


@pytest.fixture(scope="module")
def valid(tmp_path_factory):
    """One valid file of each format, as bytes."""
    folder = tmp_path_factory.mktemp("valid")
    said = {"kind": "sample", "time_s": 1.5, "recorded_at": WHEN, "didt": 6e7, "intensity_percent": 45.0}
    files = {}
    for format, facts in FORMATS.items():
        path = folder / f"{format}{facts.suffix}"
        efield.save_placements(random_placements(2, **said), path, format=format)
        files[format] = path.read_bytes()
    return SimpleNamespace(files=files, folder=folder)


def assert_read_or_refused(folder, format, data):
    path = folder / f"fuzz{FORMATS[format].suffix}"
    path.write_bytes(data)
    try:
        session = quiet(path)
    except EfieldError as error:
        assert "fuzz" in str(error)
        return None
    for placement in session:
        rotation = placement.matsimnibs[:3, :3]
        np.testing.assert_allclose(rotation.T @ rotation, np.eye(3), atol=1e-9)
    return session


@pytest.mark.parametrize("format", FORMATS)
@given(share=st.floats(0, 1))
@settings(max_examples=25)
def test_truncated_files(valid, format, share):
    data = valid.files[format]
    session = assert_read_or_refused(valid.folder, format, data[: int(share * len(data))])
    assert session is None or len(session) <= 2


@pytest.mark.parametrize("format", FORMATS)
@given(
    edits=st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), min_size=1, max_size=5)
)
@settings(max_examples=40)
def test_damaged_bytes(valid, format, edits):
    data = bytearray(valid.files[format])
    for place, value in edits:
        data[int(place * len(data))] = value
    assert_read_or_refused(valid.folder, format, bytes(data))


@given(place=st.integers(0, 255), value=st.integers(0, 255), cut=st.booleans())
@settings(max_examples=150)
def test_damaged_arrays(valid, place, value, cut):
    np.save(valid.folder / "pose.npy", at_vertex())
    data = bytearray((valid.folder / "pose.npy").read_bytes())
    data[place] = value
    path = valid.folder / "fuzz.npy"
    path.write_bytes(bytes(data[:place] if cut else data))
    try:
        quiet(path)
    except EfieldError as error:
        assert "fuzz" in str(error)


@pytest.mark.parametrize("format", [f for f in FORMATS if f != "simnibs"])
@given(
    which=st.integers(0, 10**6),
    token=st.sampled_from(
        ["", "nan", "inf", "-inf", "1e999", "1_0", "x", "1,5", "null", "(null)", "9" * 5000]
    ),
)
@settings(max_examples=40)
def test_damaged_numbers(valid, format, which, token):
    text = valid.files[format].decode()
    found = list(re.finditer(r"-?\d+\.\d+(e-?\d+)?", text))
    match = found[which % len(found)]
    assert_read_or_refused(
        valid.folder, format, (text[: match.start()] + token + text[match.end() :]).encode()
    )
