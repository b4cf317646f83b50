"""A fault of the studio itself: words and a report, and not one word of the person's data in either."""

import asyncio
import contextlib
import io
from pathlib import Path
from typing import Any

import pytest

import studio.tui.app
from studio.tui.app import StudioApp
from studio.tui.crash import CrashNotice, crash_folder, report_crash

SECRET = "patient Ana Souza, CPF 529.982.247-25"


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Nothing is written into the home of whoever runs the tests."""
    home = tmp_path / "home"
    monkeypatch.setenv("HOME", str(home))
    for name in ("STATE", "CACHE", "CONFIG", "DATA"):
        monkeypatch.setenv(f"XDG_{name}_HOME", str(home / name.lower()))
    monkeypatch.setenv("HARRIER_STUDIO_CONFIG", str(home / "config.toml"))
    return home


class _SecretError(ValueError):
    """Its message, arguments and notes hold data, as those of a library may."""


def _fails(row: str) -> None:
    copied = {"row": row}
    try:
        int(copied["row"])
    except ValueError as error:
        failure = _SecretError(row, copied)
        failure.add_note(row)
        raise failure from error


def _failed() -> Exception:
    try:
        _fails(SECRET)
    except _SecretError as error:
        return error
    raise AssertionError


def words_of_secret(text: str) -> list[str]:
    return [word for word in ("patient", "Ana", "Souza", "529.982", "247-25") if word in text]


def test_a_report_names_types_and_places_only(own_home: Path) -> None:
    notice = report_crash(_failed(), "pairs")
    assert notice.report is not None
    assert notice.report.is_relative_to(own_home)
    report = notice.report.read_text("utf-8")
    assert not words_of_secret(report)
    for wanted in (
        "error: _SecretError from ValueError",
        "panel: pairs",
        "test_crash.py:",
        " _fails",
        "Python 3",
        "textual",
    ):
        assert wanted in report
    assert notice.where.startswith("test_crash.py:")
    assert not words_of_secret(f"{notice} {notice!r} {notice.args}")
    assert str(notice.report) in str(notice.__rich__())


def test_a_report_has_no_path_of_this_machine() -> None:
    """A folder's name may be a person's."""
    notice = report_crash(_failed(), "pairs")
    assert notice.report is not None
    assert str(Path(__file__).parent) not in notice.report.read_text("utf-8")


def test_the_cycle_of_causes_ends() -> None:
    first, second = ValueError(SECRET), KeyError(SECRET)
    first.__cause__, second.__cause__ = second, first
    notice = report_crash(first, "pairs")
    assert notice.report is not None
    assert "ValueError from KeyError from ValueError" in notice.report.read_text("utf-8")


def test_what_cannot_be_saved_is_said(own_home: Path) -> None:
    own_home.mkdir(parents=True)
    (own_home / "state").write_text("a file where the folder should be", "utf-8")
    notice = report_crash(_failed(), "pairs")
    assert notice.report is None
    assert "No report could be saved." in str(notice.__rich__())


class _Failing(StudioApp):
    """Fails where it is told to, with data in the error and in the local variables."""

    CSS_PATH = Path(studio.tui.app.__file__).with_name("studio.tcss")
    place = "handler"

    def on_mount(self) -> None:
        # The handler of the app itself is called as well.
        row = SECRET
        if self.place == "handler":
            _fails(row)
        elif self.place == "callback":
            self.call_later(_fails, row)
        elif self.place == "timer":
            self.set_timer(0.001, lambda: _fails(row))
        else:
            self.run_worker(self._working(row), name=row)

    async def _working(self, row: str) -> None:
        _fails(row)


@pytest.mark.parametrize("place", ["handler", "callback", "timer", "worker"])
def test_the_terminal_is_given_no_data(place: str, own_home: Path) -> None:
    async def run() -> Any:
        app = _Failing(None)
        app.place = place
        async with app.run_test() as pilot:
            while app.is_running and app._exception is None:
                await pilot.pause()
        return app

    said = io.StringIO()
    with contextlib.redirect_stderr(said), contextlib.redirect_stdout(said), pytest.raises(CrashNotice) as notice:
        asyncio.run(run())
    assert not words_of_secret(said.getvalue())
    assert not words_of_secret(str(notice.value))
    # What fails while the app is being torn down has a report of its own.
    reports = [path.read_text("utf-8") for path in crash_folder().glob("*.txt")]
    assert all(path.is_relative_to(own_home) for path in crash_folder().glob("*.txt"))
    assert not words_of_secret("".join(reports))
    assert any("error: _SecretError from ValueError" in report and " _fails" in report for report in reports)
