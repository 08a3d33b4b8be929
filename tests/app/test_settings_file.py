"""settings.toml: what can be used of it, what is said of the rest, and what saving leaves alone."""

from __future__ import annotations

import errno
import os
import stat
import tomllib
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from specchat.settings import ALLOWED, Settings, View, flatten
from specchat.settings_file import load_settings, save_settings, set_value, value_text
from specdec.errors import SpecError, UsageError
from specdec.options import Drafting, Sampling

COMMENTED = """\
# my settings
pair = "demo"  # the small one

[view]          # looks
theme = "nord"  # calm

[sampling]
# lower for code
temperature = 0.7 # a compromise
top_k = 40
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "config" / "settings.toml"


def write(path: Path, text: str | bytes) -> Path:
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def test_no_file_means_the_defaults(path: Path) -> None:
    assert load_settings(path) == (Settings(), "")


def test_saved_settings_come_back_and_are_private(path: Path) -> None:
    settings = Settings(pair="qwen3", sampling=Sampling(temperature=0.5, seed=7), keys={"retry": "ctrl+t"})
    save_settings(path, settings)
    assert load_settings(path) == (settings, "")
    save_settings(path, settings.model_copy(update={"dtype": "int8"}), settings)
    assert tomllib.loads(path.read_text())["dtype"] == "int8"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_only_what_differs_from_the_defaults_is_written(path: Path) -> None:
    save_settings(path, Settings(view=View(markdown=False)))
    assert tomllib.loads(path.read_text()) == {"view": {"markdown": False}}


def test_a_value_already_in_the_file_is_written_though_it_is_the_default(path: Path) -> None:
    write(path, COMMENTED)
    save_settings(path, Settings())
    assert 'theme = "textual-dark"  # calm' in path.read_text()


def test_saving_keeps_comments_and_order(path: Path) -> None:
    write(path, COMMENTED)
    settings, _ = load_settings(path)
    save_settings(path, set_value(settings, "temperature", "0.2"))
    assert path.read_text() == COMMENTED.replace("0.7", "0.2")


def test_unset_values_are_removed(path: Path) -> None:
    write(path, COMMENTED)
    settings, _ = load_settings(path)
    save_settings(path, set_value(settings, "top_k", ""))
    assert path.read_text() == COMMENTED.replace("top_k = 40\n", "")


def test_keys_that_were_taken_back_are_removed(path: Path) -> None:
    before = Settings(keys={"retry": "f9", "fork": "f10"})
    save_settings(path, before)
    save_settings(path, set_value(before, "keys.retry", ""))
    assert tomllib.loads(path.read_text())["keys"] == {"fork": "f10"}


def test_what_an_editor_changed_meanwhile_stays(path: Path) -> None:
    before, _ = load_settings(write(path, COMMENTED))
    write(path, COMMENTED.replace("top_k = 40", "top_k = 50\ntop_p = 0.9 # new").replace("nord", "gruvbox"))
    save_settings(path, set_value(before, "marks", "glyph"), before)
    after, wrong = load_settings(path)
    assert (after.sampling.top_k, after.sampling.top_p, after.view.theme, after.view.marks, wrong) == (50, 0.9, "gruvbox", "glyph", "")
    assert "top_p = 0.9 # new" in path.read_text()


def test_bad_fields_fall_back_one_by_one_and_are_named_with_their_lines(path: Path) -> None:
    write(
        path, 'pair = "qwen3"\nexact = "maybe"\ndtype = "int3"\n[sampling]\ntemperature = "hot"\ntop_k = 40\n[drafting]\naccept = "best"\n'
    )
    settings, wrong = load_settings(path)
    assert settings == Settings(pair="qwen3", sampling=Sampling(top_k=40))
    assert str(path) in wrong
    assert "line 2: exact must be auto, on or off, not 'maybe'" in wrong
    assert "line 3: dtype must be auto, float16, bfloat16, float32 or int8, or empty for the pair's own, not 'int3'" in wrong
    assert "line 5: sampling.temperature must be a number from 0 to 10, or empty for the model's own, not 'hot'" in wrong
    assert "line 8: drafting.accept must be coupled, rejection or threshold:X with X from 0 to 1, not 'best'" in wrong
    assert wrong.endswith("mend the file.")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[sampling]\ntemprature = 0.7\n", "line 2: there is no setting sampling.temprature (did you mean sampling.temperature?)"),
        ("sampling = 3\n", "line 1: sampling must be a table, not 3"),
        ("[sampling]\ntop_k = true\n", "line 2: sampling.top_k must be a whole number from 0"),
        ("[sampling]\ntemperature = nan\n", "line 2: sampling.temperature must be a number"),
        ("[keys]\nretry = 9\n", "line 2: keys.retry must be keys separated by commas"),
        ("pair = 1979-05-27\n", "line 1: pair must be the name of a pair"),
        ('system = """\nexact = 1\n"""\nexact = 1\n', "line 4: exact must be"),
        ("sampling.seed = -1\n", "line 1: sampling.seed must be"),
        ("sampling = { seed = -1 }\n", "line 1: sampling.seed must be"),
        ('[view]\nmarks = "\\u001b[31m"\n', r"not '\x1b[31m'"),
    ],
)
def test_what_is_wrong_is_said_by_line_and_field(path: Path, text: str, said: str) -> None:
    settings, wrong = load_settings(write(path, text))
    assert said in wrong
    assert flatten(settings) | {"system": ""} == flatten(Settings())


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"pair = \n", "line 1"),
        (b"pair = 'a'\n[view\n", "line 2"),
        (b"\xff\xfe", "not UTF-8 at byte offset 0"),
        (b"a = " + b"[" * 9000, "not TOML"),
        (b"a = " + b"9" * 5000, "not TOML"),
    ],
)
def test_a_file_that_is_no_toml_means_the_defaults(path: Path, data: bytes, said: str) -> None:
    settings, wrong = load_settings(write(path, data))
    assert settings == Settings()
    assert said in wrong


def test_a_folder_in_its_place_means_the_defaults(path: Path) -> None:
    path.mkdir(parents=True)
    settings, wrong = load_settings(path)
    assert settings == Settings()
    assert "cannot be read" in wrong


@pytest.mark.parametrize("data", [b"pair = \n", b"\xff", b'exact = "maybe" # hm\n', b"[sampling]\nfoo = 1\n"])
def test_a_broken_file_is_kept_before_it_is_written_over(path: Path, data: bytes) -> None:
    save_settings(write(path, data), Settings(pair="qwen3"))
    assert (path.parent / "settings.toml.bak").read_bytes() == data
    assert load_settings(path) == (Settings(pair="qwen3"), "")


def test_a_sound_file_leaves_no_backup(path: Path) -> None:
    save_settings(write(path, COMMENTED), Settings(pair="qwen3"))
    assert [each.name for each in path.parent.iterdir()] == ["settings.toml"]


def test_a_link_stays_a_link(path: Path, tmp_path: Path) -> None:
    real = tmp_path / "dotfiles.toml"
    real.write_text(COMMENTED)
    path.parent.mkdir()
    path.symlink_to(real)
    save_settings(path, Settings(pair="qwen3"))
    assert path.is_symlink()
    assert load_settings(real)[0].pair == "qwen3"


def test_a_disk_that_cannot_be_written_is_an_error_that_changes_nothing(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    write(path, COMMENTED)
    monkeypatch.setattr(os, "replace", refuse)
    with pytest.raises(SpecError, match="cannot be written"):
        save_settings(path, Settings(pair="qwen3"))
    assert path.read_text() == COMMENTED
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_a_file_in_place_of_the_folder_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "config").write_text("")
    with pytest.raises(SpecError, match="config"):
        save_settings(tmp_path / "config" / "settings.toml", Settings(pair="qwen3"))


FILES = st.sampled_from(
    [
        "",
        COMMENTED,
        "sampling.top_k = 3\nsampling.seed = 4 # fixed\n",
        "sampling = { top_k = 3, temperature = 0.5 }\n[keys]\nretry = 'f9'\n",
        '[view]\nmarks = "off"\n[sampling]\nseed = 1\n[drafting]\ndraft = "off"\n# the end',
        'system = """\nBe brief.\n"""\nmax_tokens = 5',
    ]
)
SETTINGS = st.builds(
    Settings,
    system=st.text(st.characters(codec="utf-8")) | st.sampled_from(["a\nb", "\na\n", "a\r\nb", '"""\n', "\\\n\t x", "\x1b\x00\n"]),
    max_tokens=st.none() | st.integers(1, 9),
    thinking=st.none() | st.booleans(),
    sampling=st.builds(Sampling, temperature=st.none() | st.floats(0, 10), seed=st.none() | st.integers(0, 2**63 - 1)),
    drafting=st.builds(Drafting, draft=st.sampled_from(["auto", "off"]), accept=st.sampled_from(["coupled", "threshold:0.5"])),
    view=st.builds(View, markdown=st.booleans()),
    keys=st.dictionaries(st.sampled_from(["retry", "fork"]), st.sampled_from(["f9", "ctrl+t,f10"])),
)


@given(FILES, SETTINGS, SETTINGS)
@hypothesis_settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=150, deadline=None)
def test_whatever_is_saved_is_read_again(path: Path, text: str, first: Settings, second: Settings) -> None:
    write(path, text)
    save_settings(path, first)
    assert load_settings(path) == (first, "")
    save_settings(path, second, first)
    assert load_settings(path) == (second, "")


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("sampling.temperature", "0.7", 0.7),
        ("temperature", " 0 ", 0.0),
        ("Top-K", "40", 40),
        ("seed", "off", None),
        ("max_tokens", "none", None),
        ("draft_tokens", "auto", None),
        ("draft", "Ngram", "ngram"),
        ("accept", "threshold:0.3", "threshold:0.3"),
        ("markdown", "off", False),
        ("markdown", "on", True),
        ("thinking", "off", False),
        ("thinking", "auto", None),
        ("system", "Be brief.", "Be brief."),
        ("system", "", ""),
        ("keys.retry", "f9", "f9"),
        ("dtype", "INT8", "int8"),
        ("dtype", "auto", "auto"),
        ("dtype", "none", ""),
        ("dtype", "", ""),
    ],
)
def test_set_takes_what_a_user_types(name: str, text: str, value: object) -> None:
    changed = flatten(set_value(Settings(dtype="float32", sampling=Sampling(seed=3), max_tokens=5), name, text))
    full = name if name in changed else next(full for full in changed if full.endswith("." + name.lower().replace("-", "_")))
    assert changed[full] == value


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("temperature", "11"),
        ("temperature", "nan"),
        ("top_k", "many"),
        ("marks", "loud"),
        ("accept", "x"),
        ("seed", "-1"),
        ("dtype", "int3"),
    ],
)
def test_set_names_the_allowed_values(name: str, text: str) -> None:
    with pytest.raises(UsageError) as caught:
        set_value(Settings(), name, text)
    full = next(full for full in ALLOWED if full.endswith(name))
    assert caught.value.cause == f"{full} must be {ALLOWED[full]}, not {text!r}."


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("sampling.temprature", "sampling.temperature"),
        ("tempratur", "sampling.temperature"),
        ("view.mark", "view.marks"),
        ("drafts", "drafting.draft"),
    ],
)
def test_set_names_the_nearest_settings(name: str, near: str) -> None:
    with pytest.raises(UsageError) as caught:
        set_value(Settings(), name, "1")
    assert near in caught.value.next_step


def test_a_name_like_none_lists_all() -> None:
    with pytest.raises(UsageError) as caught:
        set_value(Settings(), "zzzzzz", "1")
    assert all(name in caught.value.next_step for name in ALLOWED)


def test_every_setting_says_what_it_may_be_and_can_be_typed_as_it_is_shown() -> None:
    flat = flatten(Settings())
    assert list(flat) == list(ALLOWED)
    for name, value in flat.items():
        assert set_value(Settings(), name, value_text(value)) == Settings()
