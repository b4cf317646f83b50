"""What the studio remembers: in the person's own file, without harming what they wrote there."""

from __future__ import annotations

import json
import os
import threading
import tomllib
from pathlib import Path

import pytest
from filelock import FileLock

from studio.errors import ConfigError, UnavailableError
from studio.project.settings import InterfaceSettings, UserSettings, read_settings
from studio.tui import preferences
from studio.tui.preferences import checked, recent_projects, remember, remember_project

BY_HAND = """# my settings
[checks.near_duplicates]   # as agreed
threshold = 0.85

[interface]
# dark hurts my eyes
theme = "harrier-light"  # by day

[keymap]
"pairs.keep" = "f6"
"""


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "mine" / "config.toml"
    monkeypatch.setenv("HARRIER_STUDIO_CONFIG", str(path))
    return path


def test_a_preference_is_set_and_everything_else_stays(config: Path) -> None:
    config.parent.mkdir()
    config.write_text(BY_HAND, "utf-8")
    remember("theme", "harrier-dark")
    assert config.read_text("utf-8") == BY_HAND.replace('"harrier-light"', '"harrier-dark"')
    remember("two_lines", True)
    settings = read_settings(config, UserSettings)
    assert settings.interface == InterfaceSettings(theme="harrier-dark", two_lines=True)
    assert settings.keymap == {"pairs.keep": "f6"}
    assert settings.checks == {"near_duplicates": {"threshold": 0.85}}
    for comment in ("# my settings", "# as agreed", "# dark hurts my eyes", "# by day"):
        assert comment in config.read_text("utf-8")


def test_the_first_preference_makes_the_file(config: Path) -> None:
    remember("theme", "harrier-contrast")
    assert read_settings(config, UserSettings).interface.theme == "harrier-contrast"


@pytest.mark.parametrize(
    "text",
    ["", "# nothing yet", 'interface.theme = "x"\n', 'interface = { theme = "x" } # short\n', "[keymap]\n[prompts]"],
)
def test_any_way_to_write_the_table_works(config: Path, text: str) -> None:
    config.parent.mkdir()
    config.write_text(text, "utf-8")
    remember("theme", "harrier-light")
    data = tomllib.loads(config.read_text("utf-8"))
    assert data["interface"] == {"theme": "harrier-light"}
    assert set(data) - {"interface"} == set(tomllib.loads(text)) - {"interface"}
    assert [line for line in text.split("\n") if line.startswith("#")] == [
        line for line in config.read_text("utf-8").split("\n") if line.startswith("#")
    ]


def test_line_ends_of_windows_stay(config: Path) -> None:
    config.parent.mkdir()
    config.write_bytes(BY_HAND.replace("\n", "\r\n").encode())
    remember("theme", "harrier-dark")
    assert config.read_bytes() == BY_HAND.replace("\n", "\r\n").replace("harrier-light", "harrier-dark").encode()


@pytest.mark.parametrize(
    "damaged",
    [
        b"[interface\ntheme = 1",
        b'[interface]\ntheme = "a"\ntheme = "b"\n',
        b'[interface]\ntheme = "caf\xe9"\n',
        b"\xef\xbb\xbf[interface]\n",
        b"interface = 3\n",
        b'[keymap]\nx = "unfinished\n',
        b"\x00\x00",
    ],
)
def test_a_damaged_file_is_never_written_over(config: Path, damaged: bytes) -> None:
    config.parent.mkdir()
    config.write_bytes(damaged)
    with pytest.raises(ConfigError) as caught:
        remember("theme", "harrier-dark")
    assert caught.value.where == str(config.resolve()) and caught.value.why and caught.value.remedy
    assert config.read_bytes() == damaged


def test_a_link_stays_a_link(config: Path, tmp_path: Path) -> None:
    real = tmp_path / "dotfiles.toml"
    real.write_text(BY_HAND, "utf-8")
    config.parent.mkdir()
    config.symlink_to(real)
    remember("theme", "harrier-dark")
    assert config.is_symlink()
    assert 'theme = "harrier-dark"' in real.read_text("utf-8")


def test_writers_at_the_same_time_lose_nothing(config: Path) -> None:
    config.parent.mkdir()
    config.write_text(BY_HAND, "utf-8")
    seen: list[dict[str, object]] = []
    done = threading.Event()

    def read() -> None:
        while not done.is_set():
            seen.append(tomllib.loads(config.read_text("utf-8")))

    reader = threading.Thread(target=read)
    writers = [threading.Thread(target=remember, args=(f"preference_{n}", n)) for n in range(12)]
    reader.start()
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    done.set()
    reader.join()
    whole = tomllib.loads(config.read_text("utf-8"))
    assert {f"preference_{n}": n for n in range(12)}.items() <= whole["interface"].items()
    assert seen and all(state["keymap"] == {"pairs.keep": "f6"} for state in seen)


def test_another_process_that_holds_the_file_is_named(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config.parent.mkdir()
    config.write_text(BY_HAND, "utf-8")
    monkeypatch.setattr(preferences, "_PATIENCE", 0.05)
    with FileLock(config.with_name(".config.toml.lock")), pytest.raises(UnavailableError):
        remember("theme", "harrier-dark")
    assert config.read_text("utf-8") == BY_HAND


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_place_that_cannot_be_written_is_said(config: Path) -> None:
    config.parent.mkdir(mode=0o500)
    with pytest.raises(UnavailableError):
        remember("theme", "harrier-dark")


def make(root: Path) -> Path:
    root.mkdir(parents=True)
    (root / "studio.toml").touch()
    return root


def test_recent_projects_are_the_latest_first_and_still_there(config: Path, tmp_path: Path) -> None:
    assert recent_projects() == []
    one, two = make(tmp_path / "one"), make(tmp_path / "two")
    for root in (one, two, one):
        remember_project(root)
    assert recent_projects() == [one, two]
    assert (config.parent / "recent.json").exists()
    (two / "studio.toml").unlink()
    assert recent_projects() == [one]
    remember_project(one)
    (two / "studio.toml").touch()  # its disk is back
    assert recent_projects() == [one, two]
    for number in range(30):
        remember_project(make(tmp_path / "many" / str(number)))
    assert len(recent_projects()) == 12


@pytest.mark.parametrize("damaged", [b"{", b'{"a": 1}', b'"text"', b"[1, null]", b"\xff\xfe", b'["a\\u0000b"]'])
def test_a_damaged_list_is_an_empty_one(config: Path, tmp_path: Path, damaged: bytes) -> None:
    config.parent.mkdir()
    (config.parent / "recent.json").write_bytes(damaged)
    assert recent_projects() == []
    one = make(tmp_path / "one")
    remember_project(one)
    assert recent_projects() == [one]
    assert str(one) in json.loads((config.parent / "recent.json").read_text("utf-8"))


def test_themes_are_checked() -> None:
    assert checked(UserSettings(), "f") == {}
    assert checked(UserSettings(interface=InterfaceSettings(theme="nord")), "f") == {}
    with pytest.raises(ConfigError) as caught:
        checked(UserSettings(interface=InterfaceSettings(theme="harrier-drak")), "f")
    assert caught.value.where == "f, [interface] theme"
    assert caught.value.remedy == "did you mean `harrier-dark`?"
