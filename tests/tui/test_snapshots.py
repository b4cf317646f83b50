"""Pictures of every panel, compared with those in `__snapshots__/test_snapshots/`, in two sizes and without colour.

To look at what differs: open `snapshot_report.html`, which a failing run leaves where it was started.
To take the new pictures: `pytest tests/tui/test_snapshots.py --snapshot-update` (without `-n`), and look at them.

The pictures are of the real app with its real engine on a project of ours, so what would be another one on another
machine or day is kept out of view: paths are relative or below a home of our own, no row that was decided on (which
shows when) is under the cursor, and the cursor of an input does not blink.
"""

from __future__ import annotations

import asyncio
import re
import shutil
from collections.abc import Awaitable, Callable
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from pytest_textual_snapshot import normalize_svg
from rich.terminal_theme import SVG_EXPORT_THEME
from textual.pilot import Pilot
from textual.widgets import Input

from studio.cleaning import check_project
from studio.evaluation.systems import Dense, Given, Lexical
from studio.project.project import Project
from studio.project.settings import InterfaceSettings, ProjectSettings, UserSettings
from studio.training.presets import PRESETS
from studio.training.spec import changed
from studio.tui.app import StudioApp
from studio.view.exporting import ExportPlan, command
from studio.view.run_command import command as run_command
from tests.conftest import snapshot as pairs
from tests.evaluations_by_hand import COST, retrieval, stored
from tests.runs_by_hand import queued, trained
from tests.tui.driving import PATIENCE, Driver

_MADE_WITH = {"textual": "8.2.8", "rich": "15.0.0"}
"""What draws the pictures; another version draws some of their details differently."""
_OTHERS = [f"{name} {version(name)} (made with {made})" for name, made in _MADE_WITH.items() if version(name) != made]
pytestmark = pytest.mark.skipif(
    bool(_OTHERS), reason=f"the pictures cannot be compared: they would be drawn by {', '.join(_OTHERS)}"
)

_CHANGED = (
    "the screen is not the picture in tests/tui/__snapshots__/test_snapshots/. Look at both in snapshot_report.html; "
    "if the new one is right: pytest tests/tui/test_snapshots.py --snapshot-update"
)
_NAME = "perguntas"
_STILL = 0.2
"""Seconds in which nothing may change: longer than what the interface waits after a key."""

SMALL, LARGE = (80, 24), (140, 40)
SIZES = pytest.mark.parametrize("size", [SMALL, LARGE], ids=["80x24", "140x40"])
LOOKS = pytest.mark.parametrize(
    ("size", "colour"),
    [(SMALL, True), (LARGE, True), (LARGE, False)],
    ids=["80x24", "140x40", "140x40-no-colour"],
)

_BILL = (
    "A segunda via da fatura de água sai no portal do cliente, em Minhas Contas, com o número da ligação e o documento "
    "do titular. O boleto vale no mesmo dia e não tem custo algum, inclusive nos fins de semana e feriados."
)
_RULE = (
    "O morador com renda de até {} salários mínimos paga a tarifa social, desde que o cadastro único esteja em dia e "
    "o consumo do imóvel não passe de 15 metros cúbicos por mês, medidos no hidrômetro da própria casa."
)
_ROWS = [
    ("Como tiro a segunda via da fatura?", _BILL, "train"),
    ("onde pego o boleto de novo", _BILL.replace("documento", "documentos"), "train"),
    ("2ª via da conta de água", _BILL.replace("feriados", "feriado"), "train"),
    ("Quem tem direito à tarifa social?", _RULE.format("dois"), "train"),
    ("Qual é a renda máxima para a tarifa social?", _RULE.format("dois").replace("15 metros", "20 metros"), "train"),
    (
        "Instruct: Given a web search query, retrieve relevant passages that answer the query\nQuery: água turva",
        "Deixe a torneira aberta por cinco minutos; se a água seguir turva, peça a visita gratuita de um técnico.",
        "train",
    ),
    (
        "Como falo com a ouvidoria?",
        "Escreva para ouvidoria@aguas.example.org ou ligue para (11) 3333-4444, das oito às dezoito horas.",
        "train",
    ),
    (
        "Como mudo o dia do vencimento?",
        "Há seis datas à escolha. A troca vale a partir da segunda fatura depois do pedido feito no portal.",
        "train",
    ),
    (
        "como mudo o dia do vencimento",
        "Há seis datas à escolha. A troca vale a partir da segunda fatura depois do pedido feito no portal.",
        "test",
    ),
    (
        "Meu hidrômetro está girando sozinho, o que faço?",
        "Feche o registro geral. Se o ponteiro ainda girar, há vazamento antes da casa e o conserto é da companhia.",
        "test",
    ),
    (
        "Quanto tempo leva a religação?",
        "Depois de paga a dívida, a água volta em até dois dias úteis na cidade e em cinco na zona rural.",
        "train",
    ),
    ("E o esgoto?", "A tarifa de esgoto é oitenta por cento da de água onde há coleta e tratamento.", "train"),
]

Act = Callable[[Driver], Awaitable[None]]


@pytest.fixture(scope="module")
def _checked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with everything checked, made once: every test works on a copy."""
    root = tmp_path_factory.mktemp("snapshots") / _NAME
    rows = [{"query": query, "positive": positive, "split": split} for query, positive, split in _ROWS]
    check_project(Project.create(root, pairs(rows), ProjectSettings(name=_NAME)))
    return root


@pytest.fixture(autouse=True)
def _somewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stand in an empty home, as a person with no settings on a terminal with colours."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("HARRIER_STUDIO_CONFIG", str(tmp_path / "config.toml"))
    monkeypatch.delenv("NO_COLOR", raising=False)


@pytest.fixture
def root(_checked: Path, tmp_path: Path) -> Path:
    """The project, by a path that is the same everywhere."""
    shutil.copytree(_checked, tmp_path / _NAME)
    return Path(_NAME)


Picture = Callable[..., None]


@pytest.fixture
def picture(snap_compare: Callable[..., bool], monkeypatch: pytest.MonkeyPatch) -> Picture:
    """Compare the studio with its picture, after what `act` does and asserts."""

    def compare(place: Path | None, size: tuple[int, int], act: Act, *, colour: bool = True, **options: Any) -> None:
        if not colour:
            # Textual reads it when the app is made.
            monkeypatch.setenv("NO_COLOR", "1")
        settings = UserSettings(interface=InterfaceSettings(theme="harrier-dark"))
        app = StudioApp(place, settings=settings, **options)

        async def before(pilot: Pilot[None]) -> None:
            await asyncio.wait_for(app.ready.wait(), PATIENCE)
            driver = Driver(app, pilot)
            await _still(driver)
            await act(driver)
            await _still(driver)
            # Only a part of the path: a long one may be broken or cut.
            assert Path.cwd().parent.name not in driver.text, driver.text
            assert _is_coloured(app.export_screenshot()) == colour

        assert snap_compare(app, terminal_size=size, run_before=before), _CHANGED

    return compare


async def _still(driver: Driver) -> None:
    """Wait until the screen stays as it is: some of it is asked for a moment after a key."""
    before = ""
    async with asyncio.timeout(PATIENCE):
        while True:
            for each in driver.app.screen.query(Input):
                each.cursor_blink = False
            await driver.settle()
            now = normalize_svg(driver.app.export_screenshot())
            if now == before:
                return
            before = now
            await driver.pilot.pause(_STILL)


def _is_coloured(svg: str) -> bool:
    """Whether any sign is drawn in more than a shade of grey, but for what Rich draws signs without a style in."""
    colours = set(re.findall(r"-r\d+ \{ fill: (#\w{6})", svg)) - {SVG_EXPORT_THEME.foreground_color.hex}
    return any(len({colour[1:3], colour[3:5], colour[5:7]}) > 1 for colour in colours)


def _shows(*words: str) -> Act:
    """Only look: all of `words` must be on the screen."""

    async def act(driver: Driver) -> None:
        for each in words:
            assert each in driver.text, driver.text

    return act


@LOOKS
def test_pairs(picture: Picture, root: Path, size: tuple[int, int], colour: bool) -> None:
    act = _shows("12 of 12 pairs kept", "[1 Pairs]", "Como tiro a segunda via", "○")
    picture(root, size, act, colour=colour)


@LOOKS
def test_pairs_with_a_filter_marks_and_decisions(
    picture: Picture, root: Path, size: tuple[int, int], colour: bool
) -> None:
    async def act(driver: Driver) -> None:
        await driver.press("slash")
        await driver.type("split:train a")
        await driver.press("enter", "d", "k", "down", "space", "down", "space")
        await _still(driver)
        text = driver.text
        assert "11 of 12 pairs kept" in text and "filter: split:train" in text and "2 marked" in text
        assert all(sign in text for sign in "○●✗")

    picture(root, size, act, colour=colour)


@SIZES
def test_facets(picture: Picture, root: Path, size: tuple[int, int]) -> None:
    async def act(driver: Driver) -> None:
        await driver.press("f")
        await _still(driver)
        assert re.search(r"train +10\b", driver.text), f"a facet's counts are cut off:\n{driver.text}"

    picture(root, size, act)


@LOOKS
def test_duplicates_held_with_what_differs(picture: Picture, root: Path, size: tuple[int, int], colour: bool) -> None:
    async def act(driver: Driver) -> None:
        await driver.press("f", "f")
        await _still(driver)
        assert "? held" in driver.text and "numbers differ" in driver.text
        assert "15 / 20" in driver.text
        # On the small screen what differs within the texts is a line too far down.
        assert size == SMALL or ("[-15-]" in driver.text and "{+20+}" in driver.text)

    picture(root, size, act, colour=colour, panel="duplicates")


@SIZES
def test_false_negatives_before_a_search(picture: Picture, root: Path, size: tuple[int, int]) -> None:
    act = _shows("Nobody has looked for false negatives yet", "conflict-aware", "r searches")
    picture(root, size, act, panel="false_negatives")


@SIZES
def test_prompts(picture: Picture, root: Path, size: tuple[int, int]) -> None:
    act = _shows("[4 Prompts]", "Instruct:␠Given", "query prompt (would be prompted twice)")
    picture(root, size, act, panel="prompts")


@LOOKS
def test_export(
    picture: Picture, root: Path, monkeypatch: pytest.MonkeyPatch, size: tuple[int, int], colour: bool
) -> None:
    # Both are shown in full and with the absolute path, whose length decides where lines break.
    monkeypatch.setattr("studio.tui.export.default_place", lambda _, fmt: Path(_NAME, "exports", fmt))
    ask = StudioApp.ask

    async def asked(app: StudioApp, name: str, **arguments: Any) -> Any:
        answer = await ask(app, name, **arguments)
        if not isinstance(answer, ExportPlan):
            return answer
        return replace(answer, command=command(Path(_NAME), answer.fmt, Path(answer.out)))

    monkeypatch.setattr(StudioApp, "ask", asked)
    act = _shows("12 of 12 pairs will be written", f"{_NAME}/exports/parquet", "⚠ warning")
    picture(root, size, act, colour=colour, panel="export")


@SIZES
def test_train(picture: Picture, root: Path, monkeypatch: pytest.MonkeyPatch, size: tuple[int, int]) -> None:
    # The command names the absolute path, whose length decides where lines break.
    monkeypatch.setattr("studio.tui.train.command", lambda _, *rest: run_command(Path(_NAME), *rest))

    async def act(driver: Driver) -> None:
        await driver.press(*["down"] * 4)
        await _still(driver)
        text = driver.text
        length = PRESETS["tiny"].spec.model.max_length
        assert "preset tiny" in text and f"model.max_length = {length}" in text and "◆ the preset's" in text

    picture(root, size, act, panel="train")


@LOOKS
def test_runs(picture: Picture, root: Path, size: tuple[int, int], colour: bool) -> None:
    _runs(root)

    async def act(driver: Driver) -> None:
        await driver.until(lambda: "gone · lost" in driver.text)
        words = ("6 runs, 0 at work", "queued 1", "baseline .612", "★", "✗ lost: its process is gone")
        assert all(each in driver.text for each in words), driver.text

    picture(root, size, act, colour=colour, panel="runs", shown_run="gone")


@LOOKS
def test_runs_compared(picture: Picture, root: Path, size: tuple[int, int], colour: bool) -> None:
    _runs(root)

    async def act(driver: Driver) -> None:
        await driver.until(lambda: "C-1e-5 · done" in driver.text)
        for _ in range(3):
            await driver.press("space", "down")
        await driver.until(lambda: "3 runs, compared with" in driver.text)
        assert "optimiser.lr" in driver.text and "✗" in driver.text

    picture(root, size, act, colour=colour, panel="runs", shown_run="C-1e-5")


def _runs(root: Path) -> None:
    """One run for each way to end; what has no process and no clock looks the same on every day."""
    base = PRESETS["first_try"].spec
    trained(root, "B-first")
    trained(root, "C-1e-5", changed(base, {"optimiser.lr": 1e-5}), gain=0.02, seed=2)
    trained(root, "C-1e-3", changed(base, {"optimiser.lr": 1e-3}), diverged=200, upto=240, end="failed", seed=3)
    trained(root, "gone", upto=360, end=None, seed=4)
    trained(root, "paused", upto=180, end="stopped", seed=5)
    queued(root, ["F-batch-512"])


@SIZES
def test_evaluate(picture: Picture, root: Path, size: tuple[int, int]) -> None:
    ranks = [1, 2, 2, 3, None, 1, 2, 3, 1, 4, 2, 1]
    systems: list[Any] = [
        ("harrier-tiny", Dense(model="harrier-tiny"), ranks),
        ("run B-first", Dense(run="B-first"), [1, 1, 1, 1, 5, 1, 1, 2, 1, 1, 9, 1]),
        ("harrier-tiny dim 32", Dense(model="harrier-tiny", dim=32), [1, 2, 3, 3, None, 1, 3, 3, 1, 5, 2, 1]),
        ("bm25", Lexical(), [1, 1, 2, 1, None, 3, 1, 1, None, 1, 1, 2]),
        ("theirs", Given(path="theirs.trec"), ranks),
        ("bge-m3", Dense(model="BAAI/bge-m3"), "BAAI/bge-m3 is out of reach."),
    ]
    leaked = {"r8": "equals the query of row 8"}
    stored(root, "held-out", retrieval([(query, positive) for query, positive, _ in _ROWS], leaked), systems, cost=COST)

    async def act(driver: Driver) -> None:
        await driver.press("right", "down")
        await driver.until(lambda: "VERDICT" in driver.text and (size == SMALL or "clean" in driver.text))
        assert "reference of its class" in driver.text and "7/4/1" in driver.text

    picture(root, size, act, panel="evaluate")


def test_help(picture: Picture, root: Path) -> None:
    async def act(driver: Driver) -> None:
        await driver.press("question_mark")
        await _still(driver)
        assert "● kept by you" in driver.text and "esc: close" in driver.text

    picture(root, LARGE, act)


def test_welcome(picture: Picture) -> None:
    picture(None, SMALL, _shows("Open a project or a file of pairs …", "~/harrier-sample"))


@SIZES
def test_import(picture: Picture, size: tuple[int, int]) -> None:
    source = Path(f"{_NAME}.jsonl")
    rows = [{"pergunta": query, "resposta": positive, "split": split} for query, positive, split in _ROWS]
    pl.DataFrame(rows).write_ndjson(source)

    async def act(driver: Driver) -> None:
        # What stands here is where the test runs; a person may type any other place.
        driver.app.screen.query_one("#import-place", Input).value = f"{_NAME}-studio"
        await _still(driver)
        assert "12 rows" in driver.text and "pergunta" in driver.text and "Como tiro a segunda via" in driver.text

    picture(source, size, act)
