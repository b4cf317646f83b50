import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from studio.errors import ConfigError, ProjectError, UnavailableError
from studio.files import atomic_directory, atomic_file
from studio.project.project import Project
from studio.project.settings import ProjectSettings, UserSettings, read_settings, write_settings
from tests.conftest import snapshot


def test_a_project_is_what_was_put_into_it(make_project: Callable[..., Project]) -> None:
    project = make_project([("q", "p"), ("\x1b[31mq\u202e", "linha\r\n\x00[bold]")])
    again = Project.open(project.root)
    assert again.snapshot.equals(project.snapshot)
    assert again.snapshot["positive"][1] == "linha\r\n\x00[bold]"
    assert again.settings == project.settings


def test_the_snapshot_never_changes(make_project: Callable[..., Project]) -> None:
    project = make_project([("q", "p")])
    same = Project.create(project.root, snapshot([("q", "p")]), ProjectSettings(name="other"))
    assert same.settings.name == "test"
    other = snapshot([{"row_id": "zz", "query": "q", "positive": "p"}])
    with pytest.raises(ProjectError, match="never changes"):
        Project.create(project.root, other, ProjectSettings(name="x"))
    path = project.root / ".studio" / "snapshot.parquet"
    other.write_parquet(path)
    with pytest.raises(ProjectError, match="not the one"):
        Project.open(project.root).snapshot  # noqa: B018
    path.write_bytes(b"PAR1 nonsense")
    with pytest.raises(ProjectError, match="cannot be read"):
        Project.open(project.root).snapshot  # noqa: B018


def test_two_processes_cannot_both_write(make_project: Callable[..., Project]) -> None:
    project = make_project([("q", "p")])
    other = (
        "import sys; from pathlib import Path; from studio.project.project import Project\n"
        "from studio.errors import UnavailableError\n"
        "try:\n  with Project.open(Path(sys.argv[1])).locked(): print('held')\n"
        "except UnavailableError as error: print(error.why)"
    )
    command = [sys.executable, "-c", other, str(project.root)]
    with project.locked():
        said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        assert f"process {os.getpid()}" in said
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip() == "held"


def test_an_unknown_setting_is_an_error_that_names_the_nearest(tmp_path: Path) -> None:
    path = tmp_path / "studio.toml"
    path.write_text('name = "x"\n[model]\nmax_lenght = 3\n')
    with pytest.raises(ConfigError) as caught:
        read_settings(path, ProjectSettings)
    assert "model.max_lenght" in caught.value.what
    assert "max_length" in str(caught.value.remedy)
    assert caught.value.where == str(path)


@pytest.mark.parametrize("text", ["name = ", "\x00", "format = 2\nname = 'x'", "[model]\nmax_length = 2\n", ""])
def test_bad_settings_are_errors(tmp_path: Path, text: str) -> None:
    path = tmp_path / "studio.toml"
    path.write_text(text)
    with pytest.raises(ConfigError):
        read_settings(path, ProjectSettings)


def test_writing_settings_keeps_a_persons_comments(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_text("# mine\n[model]\nmax_length = 64 # short\n")
    settings = read_settings(path, UserSettings)
    write_settings(path, settings)
    assert "# mine" in path.read_text()
    assert "64 # short" in path.read_text()
    assert read_settings(path, UserSettings) == settings


def test_prompts_keep_every_byte_in_the_settings(tmp_path: Path) -> None:
    path = tmp_path / "studio.toml"
    for query in ("Instruct: x\nQuery: ", " \t\r\n", 'aspas " e \\n', "\u202e\u00a0", ""):
        settings = ProjectSettings(name="x", prompts={"query": query, "origin": "custom"})
        path.unlink(missing_ok=True)
        write_settings(path, settings)
        assert read_settings(path, ProjectSettings).prompts.query == query


def test_a_failed_write_leaves_what_was_there(tmp_path: Path) -> None:
    file, folder = tmp_path / "f", tmp_path / "d"
    file.write_text("old")
    folder.mkdir()
    (folder / "a").write_text("old")

    def fail(beside: Path) -> None:
        (beside / "a" if beside.is_dir() else beside).write_text("half")
        raise OSError(28, "No space left on device")

    with pytest.raises(UnavailableError, match="untouched"), atomic_file(file) as beside:
        fail(beside)
    with pytest.raises(UnavailableError, match="untouched"), atomic_file(file) as beside:
        raise pl.exceptions.ComputeError("No space left on device (os error 28)")
    with pytest.raises(UnavailableError, match="untouched"), atomic_directory(folder) as beside:
        fail(beside)
    assert file.read_text() == (folder / "a").read_text() == "old"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["d", "f"]


def test_what_a_killed_process_left_is_swept_and_what_a_living_one_writes_is_not(tmp_path: Path) -> None:
    target = tmp_path / "out"
    dead = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, text=True)
    (tmp_path / f".out.harrier-tmp-{dead.stdout.strip()}-x").mkdir()
    living = tmp_path / ".out.harrier-tmp-1-x"
    living.mkdir()
    with atomic_directory(target) as beside:
        (beside / "a").write_text("new")
    assert sorted(path.name for path in tmp_path.iterdir()) == [living.name, "out"]
