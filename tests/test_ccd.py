"""Reading and writing .ccd coil files."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from efield.errors import FormatError, OutputError
from efield.io.ccd import CcdRecord, read_ccd, write_ccd

HEADER = "# Demo.ccd version 1.0;dIdtmax=114.73;x=-300,300;y=-200,200;z=-100,200;resolution=3;brand=Demo"
ROWS = "-0.01 0 -0.005 0 0 -1e-6\n0.01 0 -0.005 0 0 1e-6\n"
GOOD = f"{HEADER}\n2\n# centers and moments\n{ROWS}"


@pytest.fixture
def write(tmp_path):
    def write(content, name="coil.ccd"):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write


def test_reads_header_and_rows(write):
    record = read_ccd(write(GOOD))
    np.testing.assert_array_equal(record.positions_m, [[-0.01, 0, -0.005], [0.01, 0, -0.005]])
    np.testing.assert_array_equal(record.moments, [[0, 0, -1e-6], [0, 0, 1e-6]])
    assert record.title == "Demo.ccd version 1.0"
    assert record.didt_max == 114.73
    assert record.resolution_mm == 3
    assert record.limits_mm.tolist() == [[-300, 300], [-200, 200], [-100, 200]]
    assert record.get("BRAND") == "Demo"


def test_old_header_has_no_fields(write):
    record = read_ccd(write(f"# number of elements\n2\n# centers\n{ROWS}"))
    assert record.header == {}
    assert (record.didt_max, record.limits_mm, record.resolution_mm) == (None, None, None)


@pytest.mark.parametrize(
    "text",
    [
        GOOD.replace("\n", "\r\n"),
        "\ufeff" + GOOD,
        GOOD.rstrip("\n"),
        f"{HEADER}\n\n# a comment\n2\n\n-0.01 0 -0.005 0 0 -1e-6\n#\n  0.01\t0 -0.005 0 0 1e-6  \n#\n",
    ],
    ids=["crlf", "byte order mark", "no final newline", "comments and blanks anywhere"],
)
def test_layout_does_not_matter(write, text):
    record, reference = read_ccd(write(text)), read_ccd(write(GOOD, "reference.ccd"))
    np.testing.assert_array_equal(record.positions_m, reference.positions_m)
    np.testing.assert_array_equal(record.moments, reference.moments)
    assert record.header == reference.header


def test_a_file_without_any_comment_reads(write):
    record = read_ccd(write(f"2\n{ROWS}"))
    assert (record.title, len(record.moments)) == ("", 2)


def test_fields_that_say_none_are_absent(write):
    record = read_ccd(write(GOOD.replace("brand=Demo", "brand=None;coilname=")))
    assert record.get("brand") is None and record.get("coilname") is None


BAD = {
    "empty": ("", "no number of dipoles"),
    "comments only": ("# a\n# b\n", "no number of dipoles"),
    "count missing": (f"{HEADER}\n{ROWS}", "line 2: expected the number of dipoles"),
    "count zero": (f"{HEADER}\n0\n", "line 2: .* at least 1, not 0"),
    "count not a number": (GOOD.replace("\n2\n", "\ntwo\n"), "line 2: .*'two'"),
    "too few rows": (GOOD.replace("\n2\n", "\n3\n"), "line 2: announces 3 dipoles but 2 rows"),
    "too many rows": (GOOD.replace("\n2\n", "\n1\n"), "line 2: announces 1 dipoles but 2 rows"),
    "five columns": (GOOD + "1 2 3 4 5\n", "line 6: expected six columns .* found 5"),
    "seven columns": (GOOD.replace(" -1e-6", " -1e-6 0"), "line 4: .* found 7"),
    "row cut short": (GOOD[:-12], "line 5: .* found 3"),
    "text in a row": (GOOD.replace("1e-6", "1e-x"), "line 4: '-1e-x' is not a finite number"),
    "NaN": (GOOD.replace("-0.01", "nan"), "line 4: 'nan'"),
    "infinite": (GOOD.replace("-0.01", "-inf"), "line 4: '-inf'"),
    "underscore": (GOOD.replace("-0.01", "1_0"), "line 4: '1_0'"),
    "decimal comma": (GOOD.replace("-0.01", "-0,01"), "line 4: '-0,01'"),
    "millimetres": (GOOD.replace("0.01", "10").replace("0.005", "5"), "look like millimetres"),
    "far away": (GOOD.replace("-0.01", "9.99").replace("0.01", "9.98"), "look like millimetres"),
    "binary": (GOOD.encode() + b"\x00\x01", "binary data at byte"),
    "bytes": (bytes(range(1, 256)), "line 1: expected the number of dipoles"),
    "didt not a number": (GOOD.replace("114.73", "fast"), "line 1: .*dIdtmax='fast'"),
    "didt negative": (GOOD.replace("114.73", "-1"), "line 1: .*lies outside"),
    "one limit": (GOOD.replace("-300,300", "-300"), "line 1: .*expected 2 value"),
    "resolution zero": (GOOD.replace("resolution=3", "resolution=0"), "line 1: .*must be positive"),
}


@pytest.mark.parametrize(("content", "message"), BAD.values(), ids=BAD)
def test_bad_files_say_where(write, content, message):
    with pytest.raises(FormatError, match=message) as caught:
        read_ccd(write(content, "bad.ccd"))
    assert "bad.ccd" in str(caught.value)


def test_missing_file_and_folder(tmp_path):
    for path in (tmp_path / "none.ccd", tmp_path):
        with pytest.raises(FormatError, match="cannot be read"):
            read_ccd(path)


FINITE = st.floats(allow_nan=False, allow_infinity=False)
METRES = st.floats(min_value=-1, max_value=1)
WORDS = st.text("abcXYZ 019.,-+µ/()", max_size=12).map(str.strip)


@settings(max_examples=50)
@given(
    dipoles=st.lists(st.tuples(METRES, METRES, METRES, FINITE, FINITE, FINITE), min_size=1, max_size=8),
    title=WORDS,
    header=st.dictionaries(st.sampled_from(["brand", "coilname", "stimulator"]), WORDS),
    didt=st.one_of(st.none(), st.floats(min_value=0.1, max_value=1e4)),
)
def test_round_trip_is_exact(tmp_path_factory, dipoles, title, header, didt):
    header = header if didt is None else {**header, "dIdtmax": repr(didt)}
    values = np.array(dipoles)
    path = tmp_path_factory.mktemp("ccd") / "coil.ccd"
    write_ccd(path, CcdRecord(values[:, :3], values[:, 3:], title, header))
    back = read_ccd(path)
    np.testing.assert_array_equal(back.positions_m, values[:, :3])
    np.testing.assert_array_equal(back.moments, values[:, 3:])
    assert (back.title, back.header, back.didt_max) == (title, header, didt)


@settings(max_examples=150)
@given(data=st.data())
def test_damage_is_read_or_refused_but_never_crashes(tmp_path_factory, data):
    content = bytearray(GOOD.encode())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.mktemp("fuzz") / "coil.ccd"
    path.write_bytes(content[: data.draw(st.integers(0, len(content)))])
    try:
        record = read_ccd(path)
    except FormatError as error:
        assert str(path) in str(error)
    else:
        assert np.isfinite(record.positions_m).all() and np.isfinite(record.moments).all()


def test_a_failed_write_leaves_the_old_file(tmp_path):
    path = tmp_path / "coil.ccd"
    one = np.array([[0.0, 0.0, -0.01]])
    write_ccd(path, CcdRecord(one, one))
    before = path.read_bytes()
    bad = {
        "not finite": CcdRecord(one, one * np.nan),
        "must both be": CcdRecord(one, np.zeros((2, 3))),
        "millimetres": CcdRecord(one * 1e3, one),
        "do not fit": CcdRecord(one, one, "two\nlines"),
        "title": CcdRecord(one, one, "a;b=1"),
        "separates": CcdRecord(one, one, "a", {"brand": "x;y"}),
    }
    for message, record in bad.items():
        with pytest.raises(FormatError, match=message):
            write_ccd(path, record)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]
    with pytest.raises(OutputError, match="does not exist"):
        write_ccd(tmp_path / "nowhere" / "coil.ccd", CcdRecord(one, one))


@pytest.mark.parametrize(
    ("name", "count", "didt", "resolution"),
    [
        ("MagStim_D70", 964, 114.73, 3),
        ("MagVenture_MCF-B65", 1024, 147.86, 3),
        ("Magstim_70mm_Fig8", 2712, None, None),
        ("testcoil", 4, 100.0, 10),
    ],
)
def test_real_files(shared, tmp_path, name, count, didt, resolution):
    path = shared(f"data/coils/{name}.ccd")
    record = read_ccd(path)
    assert (len(record.moments), record.didt_max, record.resolution_mm) == (count, didt, resolution)
    np.testing.assert_array_equal(
        np.hstack([record.positions_m, record.moments]), np.loadtxt(path, skiprows=3)
    )
    write_ccd(tmp_path / "copy.ccd", record)
    copy = read_ccd(tmp_path / "copy.ccd")
    assert (copy.title, copy.header) == (record.title, record.header)
    np.testing.assert_array_equal(copy.positions_m, record.positions_m)
