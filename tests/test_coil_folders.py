"""Coil files in the user's folders."""

import os

import numpy as np
import pytest

from efield.errors import CoilError
from efield.io.ccd import CcdRecord, write_ccd
from efield.model import coil_folders
from efield.model.coil_folders import COIL_PATH, coil_files, find_coil
from efield.model.coils import load_coil

ONE = np.array([[0.0, 0, -0.01]])


@pytest.fixture
def folders(tmp_path, monkeypatch):
    """An empty machine: a home of its own, no SimNIBS."""
    monkeypatch.setattr(coil_folders, "_roots", lambda: [tmp_path / "home"])
    monkeypatch.setattr(coil_folders, "_site_of_simnibs", lambda: None)
    monkeypatch.delenv(COIL_PATH, raising=False)
    return tmp_path


def coil_file(path, moment=1.0):
    path.parent.mkdir(parents=True, exist_ok=True)
    write_ccd(path, CcdRecord(ONE, moment * ONE))
    return path


def test_nothing_there(folders, monkeypatch):
    assert coil_files() == [] and find_coil("a.ccd") is None
    monkeypatch.setenv(COIL_PATH, str(folders / "missing"))
    assert coil_files() == []
    with pytest.raises(CoilError, match=r"a\.ccd does not exist"):
        load_coil("a.ccd")


def test_own_folders_by_name_and_by_stem(folders, monkeypatch):
    path = coil_file(folders / "one" / "sub" / "My_Coil.ccd")
    coil_file(folders / "two" / "other.CCD")
    (folders / "one" / "notes.txt").write_text("no coil")
    monkeypatch.setenv(COIL_PATH, os.pathsep.join([str(folders / "one"), str(folders / "two")]))
    assert [p.name for p in coil_files()] == ["My_Coil.ccd", "other.CCD"]
    assert find_coil("my_coil") == find_coil("My_Coil.ccd") == path
    assert load_coil("My_Coil").name == "My_Coil"
    assert find_coil("sub/My_Coil.ccd") is None and find_coil("") is None


def test_dipoles_come_before_what_is_made_of_them(folders, monkeypatch):
    path = coil_file(folders / "coils" / "a.ccd")
    (folders / "coils" / "a.nii.gz").write_bytes(b"")
    monkeypatch.setenv(COIL_PATH, str(folders / "coils"))
    assert find_coil("a") == path and find_coil("a.nii.gz").name == "a.nii.gz"


def test_two_files_of_one_name_are_not_guessed_between(folders, monkeypatch):
    for name in ("x", "y"):
        coil_file(folders / name / "a.ccd")
    monkeypatch.setenv(COIL_PATH, os.pathsep.join(str(folders / n) for n in ("x", "y")))
    with pytest.raises(CoilError, match="'a' names 2 files"):
        load_coil("a")


def test_a_file_that_is_there_comes_first(folders, monkeypatch):
    coil_file(folders / "lib" / "a.ccd", 1.0)
    coil_file(folders / "here" / "a.ccd", 3.0)
    monkeypatch.setenv(COIL_PATH, str(folders / "lib"))
    monkeypatch.chdir(folders / "here")
    assert load_coil("a.ccd").moments[0, 2] == pytest.approx(-0.03)


@pytest.mark.parametrize(
    "installed",
    [
        "home/SimNIBS-4.1/simnibs_env/lib/python3.11/site-packages/simnibs/resources/coil_models/D/a.ccd",
        "home/SimNIBS-4.1/simnibs_env/Lib/site-packages/simnibs/resources/coil_models/D/a.ccd",
        "home/simnibs-3.2/simnibs_env/lib/python3.7/site-packages/simnibs/ccd-files/a.ccd",
    ],
)
def test_coils_of_simnibs_are_found(folders, installed):
    path = coil_file(folders / installed)
    assert find_coil("a") == path
