"""Files appear complete or not at all."""

import os
import stat

import pytest

from efield.errors import OutputError
from efield.io.atomic import atomic_path


def test_success_replaces_and_leaves_nothing_behind(tmp_path):
    target = tmp_path / "field.nii.gz"
    target.write_text("old")
    with atomic_path(target) as temporary:
        assert temporary.parent == tmp_path
        assert temporary.name.endswith(".nii.gz")
        temporary.write_text("new")
        assert target.read_text() == "old"
    assert target.read_text() == "new"
    assert list(tmp_path.iterdir()) == [target]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_failure_and_interruption_keep_the_old_file(tmp_path, error):
    target = tmp_path / "result.json"
    target.write_text("old")
    with pytest.raises(error), atomic_path(target) as temporary:
        temporary.write_text("half of it")
        raise error
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_missing_folder_says_which(tmp_path):
    target = tmp_path / "nowhere" / "result.json"
    with pytest.raises(OutputError, match="does not exist; create it") as caught, atomic_path(target):
        pass
    assert str(target) in str(caught.value)
    assert isinstance(caught.value, OSError)


def test_a_folder_is_no_file(tmp_path):
    with pytest.raises(OutputError, match="it is a folder"), atomic_path(tmp_path):
        pass


def test_a_parent_that_is_a_file(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="file"), atomic_path(tmp_path / "file" / "x.json"):
        pass


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write anywhere")
def test_unwritable_folder(tmp_path):
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(OutputError, match="you may write to"), atomic_path(tmp_path / "x.json"):
            pass
    finally:
        tmp_path.chmod(0o700)


def test_an_error_while_writing_names_the_target(tmp_path):
    target = tmp_path / "x.json"
    with pytest.raises(OutputError, match=r"x\.json: disk full"), atomic_path(target):
        raise OSError(28, "disk full")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(os.name != "posix", reason="permission bits")
def test_permissions_are_those_of_any_new_file(tmp_path):
    (tmp_path / "plain").write_text("")
    with atomic_path(tmp_path / "atomic") as temporary:
        temporary.write_text("")
    modes = {stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("plain", "atomic")}
    assert len(modes) == 1
