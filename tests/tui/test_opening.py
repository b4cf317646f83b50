import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from textual.widgets import Button, Input, OptionList, Select, Static

from studio.cli import opening
from studio.cli.dispatch import with_open
from studio.errors import InputError, UsageError
from studio.project.project import Project
from studio.tui.dialogs import Tell
from studio.tui.importing import ImportScreen, default_root
from studio.tui.preferences import remember_project
from studio.tui.registry import all_commands
from studio.tui.tour import STEPS, Tour, first_keys, step_text
from studio.tui.welcome import AskPath, PathSuggester, WelcomeScreen
from tests.tui.driving import Driver, driving, run
from tests.tui.test_safe import HOSTILE, steers

SIZES = [(80, 24), pytest.param((140, 40), marks=pytest.mark.slow), pytest.param((200, 60), marks=pytest.mark.slow)]
ROW = {"query": "what", "positive": "this", "text": "that", "score": 0.5, "id": 7}


@pytest.fixture(autouse=True)
def _somewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HARRIER_STUDIO_CONFIG", str(tmp_path / "config" / "config.toml"))
    monkeypatch.chdir(tmp_path)


def lines(path: Path, *records: Any) -> Path:
    path.write_text("".join(json.dumps(record) + "\n" for record in records), "utf-8")
    return path


def rows(count: int = 5) -> list[dict[str, Any]]:
    return [{**ROW, "query": f"what {i}", "positive": f"this {i}", "text": f"that {i}"} for i in range(count)]


async def choose(driver: Driver, role: str, *keys: str) -> None:
    """Choose with the keys: to the line, open it, move, take."""
    await to(driver, f"import-{role}")
    await driver.press("enter", *keys, "enter")


async def to(driver: Driver, name: str) -> None:
    """Go from part to part until one has the focus."""
    for _ in range(40):
        if driver.app.focused is not None and driver.app.focused.id == name:
            return
        await driver.press("tab")
    raise AssertionError(f"no tab stop {name}")


async def opened(driver: Driver) -> None:
    """Wait until the project is in view."""
    await driver.until(lambda: driver.app.session is not None)
    await driver.settle()


def said(driver: Driver, name: str) -> str:
    return str(driver.app.screen.query_one(f"#{name}", Static).render())


# Importing


@pytest.mark.parametrize("size", SIZES)
def test_a_file_becomes_a_project_with_the_roles_that_were_chosen(tmp_path: Path, size: tuple[int, int]) -> None:
    async def flow() -> None:
        path = lines(tmp_path / "faq.jsonl", *rows())
        async with driving(path, size=size) as driver:
            assert isinstance(driver.app.screen, ImportScreen)
            assert (
                "new project from faq.jsonl" in driver.text
                and "this 0" in driver.app.screen.query_one("#import-preview", Static).render().plain
            )
            await choose(driver, "positive", "down")  # from `positive` to `text`
            assert "that 0" in said(driver, "import-preview")
            assert "Kept as meta data: positive, id" in said(driver, "import-preview")
            await choose(driver, "score", "home")
            await driver.press("ctrl+s")
            await opened(driver)
            assert driver.app.current_mode == "pairs"
            assert "that 3" in driver.text
        project = Project.open(tmp_path / "faq-studio")
        assert project.snapshot["positive"].to_list() == [f"that {i}" for i in range(5)]
        assert project.snapshot["score"].to_list() == [None] * 5
        assert json.loads(project.snapshot["meta"][0]) == {"positive": "this 0", "score": 0.5, "id": 7}

    run(flow)


def test_there_is_a_line_for_one_more_column_of_negatives(tmp_path: Path) -> None:
    async def flow() -> None:
        path = lines(tmp_path / "faq.jsonl", {**ROW, "neg": "no", "other": "nor"})
        async with driving(path) as driver:
            assert len(driver.app.screen.query(".import-negatives")) == 2
            await choose(driver, "negatives-1", "end")
            assert len(driver.app.screen.query(".import-negatives")) == 3
            await driver.press("ctrl+s")
            await opened(driver)
        assert Project.open(tmp_path / "faq-studio").snapshot["negatives"].to_list() == [["no", "nor"]]

    run(flow)


def test_nothing_is_imported_without_a_query(tmp_path: Path) -> None:
    async def flow() -> None:
        path = lines(tmp_path / "faq.jsonl", {"a": "x", "b": "y"})
        async with driving(path) as driver:
            assert "No column is the query or the positive" in driver.text and "do: choose" in driver.text
            assert driver.app.screen.query_one("#import-start", Button).disabled
            await driver.press("ctrl+s")
            assert driver.app.job is None
            await choose(driver, "query", "down")
            await choose(driver, "positive", "down")
            assert "One column has two roles" in driver.text
            await choose(driver, "positive", "down")
            assert "✗" not in driver.text
            await driver.press("ctrl+s")
            await opened(driver)
        assert Project.open(tmp_path / "faq-studio").snapshot["positive"].to_list() == ["y"]

    run(flow)


def test_rejected_rows_are_told_before_the_project_opens(tmp_path: Path) -> None:
    async def flow() -> None:
        path = lines(tmp_path / "faq.jsonl", *rows(3), {"query": "[/] no answer"})
        async with driving(path, size=(80, 24)) as driver:
            assert "1 of the first 4 rows would be set aside" in said(driver, "import-preview")
            await driver.press("ctrl+s")
            await driver.until(lambda: isinstance(driver.app.screen, Tell))
            await driver.settle()
            assert "4 rows were read: 3 pairs, 1 rejected." in driver.text
            assert "rejects.jsonl" in driver.text and "faq.jsonl:4" in driver.text
            await driver.press("escape")
            await opened(driver)
            assert "3 pairs" in driver.text

    run(flow)


def test_a_failed_import_says_why_in_place_and_can_be_mended(tmp_path: Path) -> None:
    async def flow() -> None:
        path = lines(tmp_path / "faq.jsonl", *rows(3), {"query": "no answer"})
        async with driving(path, size=(80, 24)) as driver:
            await choose(driver, "strict", "down")
            await driver.press("ctrl+s")
            await driver.job()
            assert "1 rows cannot be pairs" in driver.text and "faq.jsonl:4" in driver.text
            assert not (tmp_path / "faq-studio" / "studio.toml").exists()
            await choose(driver, "strict", "up")
            await driver.press("ctrl+s")
            await driver.until(lambda: isinstance(driver.app.screen, Tell))

    run(flow)


def test_a_directory_with_other_pairs_is_refused_and_one_with_these_is_opened(
    tmp_path: Path, make_project: Callable[..., Project]
) -> None:
    async def flow() -> None:
        path, other = lines(tmp_path / "faq.jsonl", *rows()), make_project([("q", "p")]).root
        async with driving(path) as driver:
            await to(driver, "import-place")
            field = driver.app.screen.query_one("#import-place", Input)
            field.value = ""
            await driver.press("enter")
            assert "needs a directory" in driver.text
            field.value = str(other)
            await driver.press("enter")
            await driver.job()
            assert "already holds other pairs" in driver.text
            field.value = str(tmp_path / "mine")
            await driver.press("enter")
            await opened(driver)
        async with driving(path) as driver:
            driver.app.screen.query_one("#import-place", Input).value = str(tmp_path / "mine")
            await driver.press("ctrl+s")
            await opened(driver)

    run(flow)


@pytest.mark.parametrize(
    ("name", "data", "words"),
    [
        ("a.parquet", b"PAR1 damaged", "The parquet file cannot be read"),
        ("a.jsonl", b"", "holds no row"),
        ("a.bin", b"\0\1", "not known"),
        ("[bold.jsonl", b"{[/]\n", "holds no row"),
    ],
    ids=["damaged", "empty", "unknown", "hostile"],
)
def test_a_bad_file_says_so_in_place_and_leads_back(tmp_path: Path, name: str, data: bytes, words: str) -> None:
    async def flow() -> None:
        (tmp_path / name).write_bytes(data)
        async with driving(tmp_path / name, size=(80, 24)) as driver:
            assert words in driver.text and "where:" in driver.text
            assert not driver.app.screen.query_one("#import-start", Button).display
            await driver.press("ctrl+s")
            assert driver.app.job is None
            await driver.press("escape")
            assert isinstance(driver.app.screen, WelcomeScreen)

    run(flow)


def test_a_folder_is_a_source_if_it_holds_data(tmp_path: Path) -> None:
    async def flow() -> None:
        data, empty = tmp_path / "data", tmp_path / "empty"
        data.mkdir()
        empty.mkdir()
        lines(data / "train.jsonl", *rows())
        async with driving(data) as driver:
            await driver.press("ctrl+s")
            await opened(driver)
        assert Project.open(tmp_path / "data-studio").snapshot["split"].to_list() == ["train"] * 5
        async with driving(empty) as driver:
            assert "holds no file that pairs are kept in" in driver.text

    run(flow)


def test_tuples_keep_the_meaning_of_their_places(tmp_path: Path) -> None:
    async def flow() -> None:
        path = lines(tmp_path / "t.jsonl", {"texts": ["q", "p", "n"]}, ["q2", "p2"])
        async with driving(path) as driver:
            assert driver.app.screen.query_one("#import-query", Select).disabled
            await driver.press("ctrl+s")
            await opened(driver)
        assert Project.open(tmp_path / "t-studio").snapshot["negatives"].to_list() == [["n"], []]

    run(flow)


def test_hostile_names_and_values_are_shown_as_text(tmp_path: Path) -> None:
    async def flow() -> None:
        texts = [text[:300] for text in HOSTILE]
        record = {"query": "q" + "".join(texts), "positive": "p" + "".join(texts), "neg": texts, "group": texts[0]}
        path = lines(tmp_path / "a.jsonl", {**record, **{text: text for text in texts}})
        async with driving(path, size=(140, 60)) as driver:
            assert "[INST]" in driver.text and not any(map(steers, driver.text.split("\n")))
            # Down the list, so that each name is drawn in it, and then as what was chosen.
            await to(driver, "import-label")
            await driver.press("enter")
            for _ in texts:
                await driver.pilot.press("down")
                await driver.pilot.pause()
                assert not any(map(steers, driver.text.split("\n")))
            await driver.press("enter")
            assert not any(map(steers, driver.text.split("\n")))
            assert driver.app.screen.query_one("#import-label", Select).value == len(texts) - 1

    run(flow)


def test_where_a_project_goes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert default_root(tmp_path / "faq.jsonl") == tmp_path / "faq-studio"
    assert default_root(tmp_path / "my.faq.JSONL.gz") == tmp_path / "my.faq-studio"
    assert default_root(tmp_path / "faq") == tmp_path / "faq-studio"
    (tmp_path / "v1.2").mkdir()
    assert default_root(tmp_path / "v1.2") == tmp_path / "v1.2-studio"
    monkeypatch.setattr("os.access", lambda *_: False)
    monkeypatch.chdir(tmp_path / "v1.2")
    assert default_root(tmp_path / "faq.csv") == tmp_path / "v1.2" / "faq-studio"


# The first screen


def test_a_project_opened_lately_is_one_key_away(tmp_path: Path, make_project: Callable[..., Project]) -> None:
    async def flow() -> None:
        remember_project(make_project([("what is it", "this is it")]).root)
        async with driving(None, size=(80, 24)) as driver:
            assert isinstance(driver.app.screen, WelcomeScreen)
            assert "opened lately" in driver.text and "project" in driver.text
            await driver.press("enter")
            await opened(driver)
            assert "what is it" in driver.text

    run(flow)


def test_a_path_is_completed_and_opened(tmp_path: Path) -> None:
    async def flow() -> None:
        lines(tmp_path / "frequent.jsonl", *rows())
        async with driving(None, size=(80, 24)) as driver:
            await driver.press("o")
            assert isinstance(driver.app.screen, AskPath)
            await driver.type("freq")
            await driver.press("tab")
            assert driver.app.screen.query_one(Input).value == "frequent.jsonl"
            await driver.press("enter")
            await driver.until(lambda: isinstance(driver.app.screen, ImportScreen))
            await driver.settle()
            await driver.press("escape")
            assert isinstance(driver.app.screen, WelcomeScreen)

    run(flow)


def test_a_wrong_path_is_told(tmp_path: Path) -> None:
    async def flow() -> None:
        async with driving(None, size=(80, 24)) as driver:
            await driver.press("o")
            await driver.type("nowhere.csv")
            await driver.press("enter")
            await driver.until(lambda: isinstance(driver.app.screen, Tell))
            await driver.settle()
            assert "no such project, file or folder" in driver.text
            await driver.press("escape")
            assert isinstance(driver.app.screen, WelcomeScreen)

    run(flow)


def test_the_suggester_takes_no_name_that_steers(tmp_path: Path) -> None:
    async def flow() -> None:
        (tmp_path / "ab\x1b[2J").touch()
        suggester = PathSuggester()
        assert await suggester.get_suggestion("a") is None
        (tmp_path / "abc").mkdir()
        assert await suggester.get_suggestion(str(tmp_path / "a")) == str(tmp_path / "abc") + "/"
        assert await suggester.get_suggestion("no/such/folder") is None
        assert await suggester.get_suggestion("\0x") is None

    run(flow)


@pytest.mark.parametrize("size", SIZES)
def test_the_sample_is_checked_but_not_decided_and_begins_with_the_tour(tmp_path: Path, size: tuple[int, int]) -> None:
    async def flow() -> None:
        async with driving(None, size=size) as driver:
            assert "harrier-sample" in driver.text.replace("\n", "")
            await driver.press("s")
            await driver.until(lambda: isinstance(driver.app.screen, Tour))
            await driver.settle()
            assert "1 of 6" in driver.text
        project = Project.open(tmp_path / "harrier-sample")
        assert project.fresh_evidence() and not project.ledger.log()

    run(flow)


def test_keys_of_a_project_do_nothing_without_one(tmp_path: Path) -> None:
    async def flow() -> None:
        async with driving(None) as driver:
            await driver.press("c", "2", "u", "U")
            assert driver.app.job is None and isinstance(driver.app.screen, WelcomeScreen)
            assert "Undo" not in driver.text
            assert driver.app.screen.query_one(OptionList).has_focus

    run(flow)


# The tour


def test_the_tour_goes_over_its_panels_and_back(make_project: Callable[..., Project]) -> None:
    async def flow() -> None:
        async with driving(make_project([("q", "p")]).root, size=(80, 24), tour=True) as driver:
            seen = []
            for at, step in enumerate(STEPS):
                await driver.until(lambda at=at: isinstance(driver.app.screen, Tour) and driver.app.screen.at == at)  # type: ignore[misc]
                await driver.settle()
                assert f"{at + 1} of {len(STEPS)}  {step.title}" in driver.text
                assert step.panel in (None, driver.app.current_mode)
                # The panel is seen over it: its title and tabs are not covered.
                assert driver.text.startswith(" harrier-studio")
                seen.append(driver.app.current_mode)
                await driver.press("right")
            assert not isinstance(driver.app.screen, Tour)
            assert len(set(seen)) == 4

    run(flow)


def test_the_tour_goes_back_and_can_be_left(make_project: Callable[..., Project]) -> None:
    async def flow() -> None:
        async with driving(make_project([("q", "p")]).root, tour=True) as driver:
            await driver.until(lambda: isinstance(driver.app.screen, Tour))
            await driver.press("left", "enter", "space")
            assert isinstance(driver.app.screen, Tour) and driver.app.screen.at == 2
            await driver.press("backspace")
            assert driver.app.screen.at == 1 and driver.app.current_mode == "duplicates"
            await driver.press("escape")
            assert not isinstance(driver.app.screen, Tour)
            assert all(len(stack) == 1 for stack in driver.app._screen_stacks.values())

    run(flow)


def test_the_tour_names_keys_that_are_there(make_project: Callable[..., Project]) -> None:
    async def flow() -> None:
        async with driving(make_project([("q", "p")]).root) as driver:
            keys = first_keys(driver.app)
            assert keys["studio.help"] == "?" and len(keys) == len(all_commands())
            for step in STEPS:
                text = step_text(step, keys).plain
                assert "{" not in text
                assert len(text) < 450

    run(flow)


# The command line

KNOWN = ("open", "check", "demo", "export")


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["faq.jsonl"], ["open", "faq.jsonl"]),
        (["there"], ["open", "there"]),
        (["."], ["open", "."]),
        (["a/b"], ["open", "a/b"]),
        (["~/faq"], ["open", "~/faq"]),
        (["missing.csv", "--plain"], ["open", "missing.csv", "--plain"]),
        (["--plain", "there"], ["open", "--plain", "there"]),
        (["--panel", "export", "there"], ["open", "--panel", "export", "there"]),
        (["--panel=export", "--read-only", "x"], ["open", "--panel=export", "--read-only", "x"]),
        (["--plain"], ["open", "--plain"]),
        (["--panel"], ["open", "--panel"]),
        (["--theme", "harrier-light"], ["open", "--theme", "harrier-light"]),
        (["--", "there"], ["open", "--", "there"]),
        (["check", "there"], ["check", "there"]),
        (["export"], ["export"]),
        (["./export"], ["open", "./export"]),
        (["chekc"], ["chekc"]),
        (["chekc", "faq.jsonl"], ["chekc", "faq.jsonl"]),
        (["--help"], ["--help"]),
        (["--version"], ["--version"]),
        (["--json", "there"], ["--json", "there"]),
    ],
)
def test_a_place_where_a_command_could_stand_is_opened(
    tmp_path: Path, arguments: list[str], expected: list[str]
) -> None:
    (tmp_path / "there").touch()
    (tmp_path / "export").mkdir()
    assert with_open(arguments, KNOWN) == expected


@pytest.mark.parametrize("terminal", [True, False])
def test_an_empty_line_opens_on_a_terminal_and_helps_elsewhere(monkeypatch: pytest.MonkeyPatch, terminal: bool) -> None:
    monkeypatch.setattr("sys.stdin.isatty", lambda: terminal, raising=False)
    monkeypatch.setattr("sys.stdout.isatty", lambda: terminal, raising=False)
    assert with_open([], KNOWN) == (["open"] if terminal else ["--help"])


def test_without_a_terminal_the_other_ways_are_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        opening.open_studio(tmp_path, "pairs", False, False)
    assert "--plain" in str(caught.value) and "screenshot" in str(caught.value)
    with pytest.raises(UsageError):
        opening.demo(None)


def test_what_is_opened(tmp_path: Path, make_project: Callable[..., Project], monkeypatch: pytest.MonkeyPatch) -> None:
    assert opening.resolved(None) is None
    project = make_project([("q", "p")]).root
    assert opening.resolved(Path("project")) == project == opening.resolved(Path("project/studio.toml"))
    monkeypatch.chdir(project)
    assert opening.resolved(None) == project
    for missing in ("nowhere", "x" * 5_000, "a\0b"):
        with pytest.raises(InputError, match="no such project"):
            opening.resolved(Path(missing))


def test_plain_prints_and_needs_a_project(
    make_project: Callable[..., Project], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(UsageError, match="no project here"):
        opening.open_studio(None, "pairs", False, True)
    opening.open_studio(make_project([("what is it", "this")]).root, "pairs", False, True)
    assert "what is it" in capsys.readouterr().out
