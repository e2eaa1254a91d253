"""Reading and writing .tcd coil files."""

import base64
import copy
import json
import pickle
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from efield.errors import EfieldError, FormatError, OutputError
from efield.io import tcd
from efield.io.stimulator import Stimulator, Waveform
from efield.io.tcd import Deformation, DeformRange, Element, Surface, TcdRecord, read_tcd, write_tcd

GOOD = {
    "name": "Demo",
    "brand": "B",
    "version": "1.0",
    "limits": [[-300, 300], [-200, 200], [-100, 300]],
    "resolution": [2, 2, 2.5],
    "coilCasing": 0,
    "coilElementList": [
        {
            "name": "left",
            "stimulator": 0,
            "elementCasing": 1,
            "deformations": [1, 0],
            "type": 1,
            "points": [[-30, 0, -5], [-20, 1, -5.5]],
            "values": [[0, 0, 1e-3], [0, 1e-4, -1e-3]],
        },
        {
            "stimulator": 1,
            "type": 2,
            "points": [[0, 0, -5], [10, 0, -5]],
            "values": [[10, 0, 0], [-10, 0, 0]],
        },
        {
            "stimulator": 1,
            "type": 3,
            "data": (np.arange(2 * 3 * 2 * 3).reshape(2, 3, 2, 3) * 1e-9).tolist(),
            "affine": [[2, 0, 0, -2], [0, 2, 0, -2], [0, 0, 2, 0], [0, 0, 0, 1]],
        },
    ],
    "stimulatorList": [
        {
            "name": "S",
            "brand": "T",
            "maxdIdt": 1.5e8,
            "waveformList": [
                {"name": "W", "time": [0, 1e-5, 2e-5], "signal": [0, 1, 0.5], "fit": [0, 1, 0.4]}
            ],
        },
        {"name": "U"},
    ],
    "deformList": [
        {"deformRange": 0, "type": "x"},
        {"deformRange": 1, "type": "rot2p", "point1": [0, 0, 0], "point2": [0, 1, 0]},
    ],
    "deformRangeList": [{"initial": 0, "range": [-5, 5]}, {"initial": 10, "range": [0, 30]}],
    "coilModels": [
        {"points": [[0, 0, 0], [10, 0, 0], [0, 10, 0], [0, 0, 10]], "faces": [[0, 1, 2], [0, 1, 3]]},
        {
            "points": [[0, 0, 0], [10, 0, 0], [0, 10, 0]],
            "faces": [[0, 1, 2]],
            "minDistancePoints": [[0, 0, 1]],
        },
    ],
    "selfIntersectionTest": [[0, 1, 2]],
}


def packed(array, dtype="<f8", compress=True):
    data = np.asarray(array, dtype).tobytes()
    return base64.b64encode(zlib.compress(data) if compress else data).decode()


def changed(*keys, value):
    """GOOD with one entry replaced, or removed where the value is KeyError."""
    tree = copy.deepcopy(GOOD)
    node = tree
    for key in keys[:-1]:
        node = node[key]
    if value is KeyError:
        del node[keys[-1]]
    else:
        node[keys[-1]] = value
    return tree


@pytest.fixture
def write(tmp_path):
    def write(tree, name="coil.tcd"):
        path = tmp_path / name
        path.write_bytes(tree if isinstance(tree, bytes) else json.dumps(tree).encode())
        return path

    return write


def assert_equal(a, b):
    """Two records, field by field."""
    assert type(a) is type(b)
    if isinstance(a, np.ndarray):
        assert a.dtype == b.dtype
        np.testing.assert_array_equal(a, b)
    elif isinstance(a, tuple):
        assert len(a) == len(b)
        for x, y in zip(a, b, strict=True):
            assert_equal(x, y)
    elif hasattr(a, "__dataclass_fields__"):
        for name in a.__dataclass_fields__:
            assert_equal(getattr(a, name), getattr(b, name))
    else:
        assert a == b


def test_reads_every_key(write):
    record = read_tcd(write(GOOD))
    left, wire, grid = record.elements
    np.testing.assert_array_equal(left.points_mm, [[-30, 0, -5], [-20, 1, -5.5]])
    np.testing.assert_array_equal(left.values, [[0, 0, 1e-3], [0, 1e-4, -1e-3]])
    assert (left.kind, left.name, left.stimulator, left.casing, left.deformations) == (
        1,
        "left",
        0,
        1,
        (1, 0),
    )
    assert (wire.kind, wire.name, wire.casing, wire.deformations) == (2, None, None, ())
    assert grid.data.shape == (2, 3, 2, 3) and grid.data[1, 2, 1, 2] == 35e-9 and grid.affine[0, 3] == -2
    assert (record.name, record.brand, record.version, record.casing) == ("Demo", "B", "1.0", 0)
    assert record.limits_mm.tolist()[2] == [-100, 300] and record.resolution_mm.tolist() == [2, 2, 2.5]
    first, second = record.stimulators
    assert (first.name, first.brand, first.max_didt, second.max_didt) == ("S", "T", 1.5e8, None)
    assert first.waveforms[0].fit.tolist() == [0, 1, 0.4] and first.waveforms[0].duration == 2e-5
    shift, turn = record.deformations
    assert (shift.kind, shift.range, shift.point1_mm) == ("x", 0, None)
    assert (turn.kind, turn.range, turn.point2_mm.tolist()) == ("rot2p", 1, [0, 1, 0])
    assert [(r.initial, r.low, r.high) for r in record.ranges] == [(0, -5, 5), (10, 0, 30)]
    assert record.surfaces[0].faces.tolist() == [[0, 1, 2], [0, 1, 3]]
    assert record.surfaces[1].min_distance_points_mm.tolist() == [[0, 0, 1]]
    assert record.self_intersection == ((0, 1, 2),)


@pytest.mark.parametrize("compress", [True, False], ids=["zlib", "plain"])
def test_packed_arrays_are_the_same_numbers(write, compress):
    tree = copy.deepcopy(GOOD)
    for element in tree["coilElementList"][:2]:
        for key in ("points", "values"):
            element[key] = packed(element[key], compress=compress)
    for model in tree["coilModels"]:
        model["points"] = packed(model["points"], compress=compress)
        model["faces"] = packed(model["faces"], "<i8", compress)
    assert_equal(read_tcd(write(tree)), read_tcd(write(GOOD, "plain.tcd")))


BAD = {
    "empty": (b"", "line 1, column 1"),
    "cut": (json.dumps(GOOD).encode()[:-30], "truncated"),
    "not text": (b"\xff\xfe{}", "UTF-8"),
    "a list": ([], "must be an object"),
    "NaN": (b'{"limits": NaN}', "NaN"),
    "deep": (b"[" * 100_000, "JSON"),
    "no elements": (changed("coilElementList", value=KeyError), "lacks 'coilElementList'"),
    "empty elements": (changed("coilElementList", value=[]), "key coilElementList: .* at least 1"),
    "unknown key": (
        changed("coilElementList", 0, "deformation", value=[0]),
        r"\[0\]: unknown key 'deformation'",
    ),
    "type 4": (changed("coilElementList", 0, "type", value=4), r"coilElementList\[0\]\.type: is 4"),
    "type 0": (changed("coilElementList", 0, "type", value=0), "known are 1"),
    "type true": (changed("coilElementList", 0, "type", value=True), "whole number, not True"),
    "stimulator": (
        changed("coilElementList", 1, "stimulator", value=2),
        r"\[1\]\.stimulator: is 2, .* 2 stim",
    ),
    "negative index": (changed("coilElementList", 1, "stimulator", value=-1), "is -1"),
    "casing index": (changed("coilElementList", 0, "elementCasing", value=2), "2 coilModels"),
    "no points": (
        changed("coilElementList", 0, "points", value=KeyError),
        r"\[0\]: of type 1 needs 'points'",
    ),
    "grid and points": (changed("coilElementList", 2, "points", value=[[0, 0, 0]]), "may not have 'points'"),
    "two columns": (changed("coilElementList", 0, "points", value=[[1, 2], [3, 4]]), r"n x 3 .* \(2, 2\)"),
    "ragged": (changed("coilElementList", 0, "points", value=[[1, 2, 3], [4, 5]]), "ragged"),
    "text": (
        changed("coilElementList", 0, "points", value=[["1", "2", "3"], ["1", "2", "3"]]),
        "numbers only",
    ),
    "null": (changed("coilElementList", 0, "points", value=None), "list of numbers, not None"),
    "rows differ": (
        changed("coilElementList", 0, "values", value=[[0, 0, 1]]),
        "has 1 rows, but points has 2",
    ),
    "zero": (changed("coilElementList", 0, "values", value=[[0, 0, 0], [0, 0, 0]]), "all zero"),
    "overflow": (changed("coilElementList", 0, "points", value=[[1e400, 0, 0], [0, 0, 0]]), "Infinity"),
    "huge whole number": (
        changed("coilElementList", 0, "points", value=[[10**400, 0, 0], [0, 0, 0]]),
        "points",
    ),
    "micrometres": (changed("coilElementList", 0, "points", value=[[-30000, 0, 0], [0, 0, 0]]), "30000 mm"),
    "line in micrometres": (changed("coilElementList", 1, "values", value=[[1e4, 0, 0]] * 2), "10000 mm"),
    "not base64": (changed("coilElementList", 0, "points", value="%%%"), "not base64"),
    "odd bytes": (
        changed("coilElementList", 0, "points", value=base64.b64encode(b"12345").decode()),
        "5 bytes",
    ),
    "odd count": (changed("coilElementList", 0, "points", value=packed([1.0, 2])), "not a multiple of 3"),
    "packed NaN": (changed("coilElementList", 0, "points", value=packed([[np.nan, 0, 0]] * 2)), "not finite"),
    "zlib cut": (
        changed(
            "coilElementList",
            0,
            "points",
            value=base64.b64encode(zlib.compress(np.random.default_rng(0).bytes(480))[:-40]).decode(),
        ),
        "truncated",
    ),
    "zlib damaged": (
        changed("coilElementList", 0, "points", value=base64.b64encode(b"\x78\x9cnonsense").decode()),
        "does not decompress",
    ),
    "singular affine": (
        changed("coilElementList", 2, "affine", value=np.zeros((4, 4)).tolist()),
        "invertible",
    ),
    "no stimulator list": (changed("stimulatorList", value=KeyError), "lacks 'stimulatorList'"),
    "maxdIdt zero": (changed("stimulatorList", 0, "maxdIdt", value=0), r"\[0\]\.maxdIdt: is 0, outside"),
    "waveform": (
        changed("stimulatorList", 0, "waveformList", 0, "time", value=[0, 2, 1]),
        "waveformList.*rising times",
    ),
    "waveform short": (changed("stimulatorList", 0, "waveformList", 0, "signal", value=[0, 1]), "2 samples"),
    "range": (changed("deformRangeList", 0, "range", value=[1, 5]), "initial 0 lies outside the range"),
    "range upside down": (changed("deformRangeList", 0, "range", value=[5, -5]), "outside the range"),
    "deform type": (changed("deformList", 0, "type", value="rot"), "known are x, y, z, rot2p"),
    "deform range": (changed("deformList", 0, "deformRange", value=7), "is 7"),
    "no axis": (changed("deformList", 1, "point2", value=[0, 0, 0]), "span no axis"),
    "half an axis": (changed("deformList", 1, "point2", value=KeyError), "needs point1 and point2"),
    "face": (changed("coilModels", 0, "faces", value=[[0, 1, 2], [0, 1, 4]]), r"face 1 is \[0, 1, 4\]"),
    "face not whole": (changed("coilModels", 0, "faces", value=[[0, 1, 1.5]]), "whole numbers only"),
    "limits": (changed("limits", value=[[1, 0], [0, 1], [0, 1]]), "below its maximum"),
    "resolution": (changed("resolution", value=[1, 0, 1]), "must be positive"),
    "group": (changed("selfIntersectionTest", value=[[0, 9]]), r"selfIntersectionTest\[0\]\[1\]: is 9"),
    "group twice": (changed("selfIntersectionTest", value=[[1, 1]]), "names a part twice"),
    "name": (changed("name", value=3), "key name: must be text"),
}


@pytest.mark.parametrize(("tree", "message"), BAD.values(), ids=BAD)
def test_bad_files_name_the_key(write, tree, message):
    with pytest.raises(FormatError, match=message) as caught:
        read_tcd(write(tree, "bad.tcd"))
    assert "bad.tcd" in str(caught.value)


class _Trap:
    """Unpickling this would leave a mark."""

    def __reduce__(self):
        return (exec, ("import builtins; builtins.efield_trap = True",))


def test_a_pickle_is_refused_and_never_loaded(write):
    payload = base64.b64encode(zlib.compress(pickle.dumps(_Trap()))).decode()
    with pytest.raises(FormatError, match=r"coilElementList\[2\]\.data: .*pickle.*any code"):
        read_tcd(write(changed("coilElementList", 2, "data", value=payload)))
    with pytest.raises(FormatError):
        read_tcd(write(changed("coilElementList", 0, "points", value=payload)))
    import builtins

    assert not hasattr(builtins, "efield_trap")


def test_decompression_is_bounded(write, monkeypatch):
    monkeypatch.setattr(tcd, "MAX_BYTES", 1 << 20)
    bomb = packed(np.zeros((50_000, 3)))
    assert len(bomb) < 4000
    with pytest.raises(FormatError, match="more than 1 MiB"):
        read_tcd(write(changed("coilElementList", 0, "points", value=bomb)))
    # The bound holds for a file, not for each of its arrays.
    tree = changed("coilElementList", 0, "points", value=packed(np.ones((25_000, 3))))
    tree["coilElementList"][0]["values"] = packed(np.ones((25_000, 3)))
    with pytest.raises(FormatError, match=r"values: .*more than 1 MiB"):
        read_tcd(write(tree))


def test_missing_file_and_folder(tmp_path):
    for path in (tmp_path / "none.tcd", tmp_path):
        with pytest.raises(FormatError, match="cannot be read"):
            read_tcd(path)


MM = st.floats(-500, 500)
FINITE = st.floats(-1e6, 1e6).filter(lambda v: v != 0)
TEXT = st.none() | st.text(max_size=8)


def vectors(values, count):
    return st.lists(st.tuples(values, values, values), min_size=count, max_size=count).map(np.array)


@st.composite
def records(draw):
    n = draw(st.integers(1, 4))
    ranges = tuple(
        DeformRange(float(np.mean([low, low + width])), low, low + width)
        for low, width in draw(st.lists(st.tuples(MM, st.floats(0, 90)), min_size=1, max_size=2))
    )
    axis = draw(vectors(MM, 1))[0]
    deformations = (
        Deformation(draw(st.sampled_from("xyz")), 0),
        Deformation("rot2p", len(ranges) - 1, axis, axis + [0, 0, 1.0]),
    )
    time = np.cumsum(draw(st.lists(st.floats(1e-7, 1e-3), min_size=2, max_size=4)))
    waveform = Waveform(draw(TEXT), time, np.sin(time), draw(st.sampled_from([None, np.cos(time)])))
    surface = Surface(draw(vectors(MM, 3)), np.array([[0, 1, 2]]), draw(st.none() | vectors(MM, 2)))
    grid = draw(st.floats(1e-9, 1e-6)) * np.ones((2, 2, 3, 3))
    return TcdRecord(
        elements=(
            Element(
                1, 0, draw(vectors(MM, n)), draw(vectors(FINITE, n)), name=draw(TEXT), deformations=(1, 0)
            ),
            Element(2, 1, draw(vectors(MM, n)), draw(vectors(MM.filter(bool), n)), casing=0),
            Element(3, 0, data=grid, affine=np.diag([draw(st.floats(0.5, 10)), 2.0, 3.0, 1.0])),
        ),
        stimulators=(
            Stimulator(draw(TEXT), None, draw(st.none() | st.floats(1e5, 1e10)), (waveform,)),
            Stimulator(None, "B"),
        ),
        name=draw(TEXT),
        limits_mm=np.array([[-1.0, 1.0]] * 3),
        casing=0,
        deformations=deformations,
        ranges=ranges,
        surfaces=(surface,),
        self_intersection=((0, 2), (1, 3)),
    )


@settings(max_examples=40)
@given(record=records())
def test_what_is_written_reads_back_equal(tmp_path_factory, record):
    path = tmp_path_factory.mktemp("tcd") / "coil.tcd"
    write_tcd(path, record)
    assert_equal(read_tcd(path), record)


def test_a_record_that_could_not_be_read_is_not_written(tmp_path):
    path = tmp_path / "coil.tcd"
    good = read_tcd_of(GOOD, tmp_path)
    write_tcd(path, good)
    before = path.read_bytes()
    bad = TcdRecord((Element(1, 5, np.zeros((1, 3)), np.ones((1, 3))),), good.stimulators)
    with pytest.raises(FormatError, match=r"cannot be written: .*stimulator"):
        write_tcd(path, bad)
    assert path.read_bytes() == before
    with pytest.raises(OutputError, match="does not exist"):
        write_tcd(tmp_path / "nowhere" / "coil.tcd", good)


def read_tcd_of(tree, folder):
    path = folder / "source.tcd"
    path.write_text(json.dumps(tree))
    return read_tcd(path)


@settings(max_examples=200)
@given(data=st.data())
def test_damage_is_read_or_refused_but_never_crashes(tmp_path_factory, data):
    tree = copy.deepcopy(GOOD)
    tree["coilElementList"][0]["points"] = packed(tree["coilElementList"][0]["points"])
    content = bytearray(json.dumps(tree).encode())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.mktemp("fuzz") / "coil.tcd"
    path.write_bytes(content[: data.draw(st.integers(len(content) // 2, len(content)))])
    try:
        record = read_tcd(path)
    except EfieldError as error:
        assert str(path) in str(error)
    else:
        assert all(np.isfinite(e.points_mm).all() for e in record.elements if e.points_mm is not None)


@settings(max_examples=150)
@given(data=st.data())
def test_values_of_any_kind_are_read_or_refused(tmp_path_factory, data):
    """Any value of the tree replaced by any JSON value."""
    tree, node, keys = copy.deepcopy(GOOD), None, []
    node = tree
    while isinstance(node, dict | list) and node and (not keys or data.draw(st.booleans())):
        keys.append(data.draw(st.sampled_from(sorted(node) if isinstance(node, dict) else range(len(node)))))
        parent, node = node, node[keys[-1]]
    junk = st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
        max_leaves=6,
    )
    parent[keys[-1]] = data.draw(junk)
    path = tmp_path_factory.mktemp("junk") / "coil.tcd"
    path.write_text(json.dumps(tree))
    try:
        read_tcd(path)
    except EfieldError as error:
        assert str(path) in str(error)


@pytest.mark.parametrize(
    ("name", "kinds", "stimulators", "ranges"),
    [
        ("MagVenture_MST-Twin", [1, 1], [2.0008e8], 6),
        ("two_stimulator_example_coil", [2, 2], [1.2222e8, 1.0245e8], 0),
    ],
)
def test_real_files(shared, tmp_path, name, kinds, stimulators, ranges):
    path = shared(f"data/coils/{name}.tcd")
    record = read_tcd(path)
    assert [e.kind for e in record.elements] == kinds
    assert [s.max_didt for s in record.stimulators] == stimulators and len(record.ranges) == ranges
    raw = json.loads(path.read_text())["coilElementList"][0]["points"]
    plain = np.frombuffer(zlib.decompress(base64.b64decode(raw))).reshape(-1, 3)
    np.testing.assert_array_equal(record.elements[0].points_mm, plain)
    write_tcd(tmp_path / "copy.tcd", record)
    assert_equal(read_tcd(tmp_path / "copy.tcd"), record)
