"""Damaged project and export files: every command says so in words, and none blames itself."""

import random
import shutil
from pathlib import Path

import pytest

from studio.cli.main import run as run_here
from studio.errors import ExitCode
from tests.cli.conftest import run

COMMANDS = (["info"], ["check"], ["decide", "--auto"], ["decide", "--list"], ["preview", "--rows", "1"])


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sound")
    source = folder / "pairs.csv"
    source.write_text("query,positive\n" + "".join(f"pergunta {i % 9},resposta número {i % 5}\n" for i in range(30)))
    project = folder / "work" / "project"
    for command in (
        ["import", str(source)],
        ["check"],
        ["decide", "--auto"],
        ["export", "--out", str(folder / "work/out")],
    ):
        assert run(*command, "--project", project).returncode == 0
    return folder / "work"


def damage(path: Path, rng: random.Random) -> None:
    data = bytearray(path.read_bytes())
    kind = rng.randrange(4)
    if kind == 0:
        path.unlink()
    elif kind == 1:
        path.write_bytes(data[: rng.randrange(len(data) + 1)])
    elif kind == 2:
        for _ in range(rng.randrange(1, 30)):
            if data:
                data[rng.randrange(len(data))] = rng.randrange(256)
        path.write_bytes(data)
    else:
        path.write_bytes(
            rng.choice((b"", b"{}", b"[]", b"\xff\xfe\x00", b"null\n" * 9, b"PAR1" * 9, rng.randbytes(300)))
        )


@pytest.mark.parametrize("cases", [8, pytest.param(60, marks=pytest.mark.slow)])
def test_damage_anywhere_is_said_in_words(
    cases: int, sound: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HARRIER_STUDIO_DEBUG", raising=False)
    rng = random.Random(11)
    for case in range(cases):
        place = tmp_path / f"case{case}"
        shutil.copytree(sound, place)
        files = sorted(file for file in place.rglob("*") if file.is_file() and not file.name.startswith("lock"))
        victim = rng.choice(files)
        damage(victim, rng)
        project = ["--project", str(place / "project")]
        commands = [[*command, *project] for command in COMMANDS]
        commands += [["export", "--out", str(place / "out"), *project], ["verify", str(place / "out"), *project]]
        for command in commands:
            code = run_here(command)
            said = capsys.readouterr()
            assert code in (ExitCode.OK, ExitCode.FINDINGS, ExitCode.BAD_INPUT, ExitCode.UNAVAILABLE), (
                victim,
                command,
                said.err,
            )
            assert code in (ExitCode.OK, ExitCode.FINDINGS) or "where" in said.err
        shutil.rmtree(place)
