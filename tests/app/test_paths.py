"""Folders for user data are made on demand and belong to the user alone."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from specchat.paths import private_folder
from specdec.errors import SpecError


def test_a_folder_and_its_missing_parents_are_private(tmp_path: Path) -> None:
    folder = private_folder(tmp_path / "a" / "b" / "c")
    assert [stat.S_IMODE(level.stat().st_mode) for level in (folder, folder.parent, folder.parent.parent)] == [0o700] * 3
    assert private_folder(folder) == folder


def test_a_file_in_the_way_is_a_typed_error(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("")
    with pytest.raises(SpecError, match="cannot be made"):
        private_folder(tmp_path / "a")
    with pytest.raises(SpecError, match="cannot be made"):
        private_folder(tmp_path / "a" / "b")
