"""Asking what to evaluate: a set, systems, the metric that decides; and the command that does the same."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import NamedTuple

from textual import on
from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import Button, Input, Label, Static

from studio.tui.command import Command, bindings
from studio.tui.dialogs import Line
from studio.tui.safe import safe

NEW = (
    Command("asked.start", "ctrl+s", "start", "Start", "Evaluate.", priority=True),
    Command("asked.close", "escape,ctrl+c", "close", "Leave", "Leave without evaluating."),
)
_DEFAULTS = {"set": "held-out", "ready": "default", "systems": "", "metric": "ndcg@10", "costs": "yes", "name": ""}
_LABELS = {
    "set": "set",
    "ready": "ready-made",
    "systems": "systems",
    "metric": "decides",
    "costs": "costs too",
    "name": "name",
}
_WORDS = {
    "set": "held-out, run:NAME (the test of a run), a folder or file with queries and judgements, a benchmark's name "
    "such as NanoNQ",
    "ready": "comparisons with their systems: default (BM25, the model as it is, the latest run, hybrid), dense, "
    "hybrid, reranked, truncated, quantised; several with commas, or nothing",
    "systems": "more of them, with ; between: bm25; run:NAME; MODEL,dim=256; rrf(MODEL + bm25); rerank(bm25, MODEL)",
    "metric": "the metric that decides: ndcg@10, mrr@10, recall@10, map@100, success@1 …",
    "costs": "yes: time, memory and size of each system are measured too; no: they are not",
    "name": "what the evaluation is called; nothing: it is named after the set",
}
_NO = ("no", "n", "false", "0")


class Wanted(NamedTuple):
    """What is to be evaluated; `ready`, `systems`: as they are written on a command line. `argv`: that command.

    `evaluation`: what it is called; empty: it is named after the set.
    """

    evaluation: str
    set_name: str
    ready: tuple[str, ...]
    systems: tuple[str, ...]
    metric: str
    operations: bool
    argv: tuple[str, ...]


class NewEvaluation(ModalScreen[Wanted | None]):
    """A few lines to fill in; below them what the one with the cursor takes, and the command. None when left."""

    BINDINGS = bindings(NEW)
    DEFAULT_CSS = """
    NewEvaluation {
        .asked-row { height: 1; layout: horizontal; }
        .asked-row Label { width: 12; }
        .asked-row Line { width: 1fr; }
        #asked-words { height: 3; margin-top: 1; color: $foreground 70%; }
        #asked-command { height: auto; max-height: 5; }
        #asked-wrong { height: auto; color: $error; }
    }
    """

    def __init__(self, root: Path, before: Wanted | None = None) -> None:
        super().__init__()
        self._root = root
        self._values = dict(_DEFAULTS)
        if before is not None:
            self._values = {
                "set": before.set_name,
                "ready": ", ".join(before.ready),
                "systems": "; ".join(before.systems),
                "metric": before.metric,
                "costs": "yes" if before.operations else "no",
                "name": before.evaluation,
            }

    def compose(self) -> ComposeResult:
        """The lines, words about them, the command, and two buttons."""
        with Vertical(classes="dialog wide"):
            yield Static("Evaluate", classes="dialog-title", markup=False)
            for key, label in _LABELS.items():
                with Horizontal(classes="asked-row"):
                    yield Label(label, markup=False)
                    yield Line(self._values[key], id=f"asked-{key}", compact=True)
            yield Static(id="asked-words", markup=False)
            with VerticalScroll(id="asked-command", can_focus=False):
                yield Static(id="asked-line", markup=False)
            yield Static(id="asked-wrong", markup=False)
            with Horizontal(classes="dialog-buttons"):
                yield Button("Leave (esc)", id="no")
                yield Button("Evaluate (ctrl+s)", id="yes", variant="primary")

    def on_mount(self) -> None:
        """Ready to type."""
        self.query_one("#asked-set", Line).focus()
        self._draw()

    def _value(self, key: str) -> str:
        return self.query_one(f"#asked-{key}", Line).value.strip()

    @property
    def _wanted(self) -> Wanted:
        ready = tuple(part.strip() for part in self._value("ready").split(",") if part.strip())
        systems = tuple(part.strip() for part in self._value("systems").split(";") if part.strip())
        operations = self._value("costs").lower() not in _NO
        metric, name = self._value("metric") or _DEFAULTS["metric"], self._value("name")
        argv = ["harrier-studio", "evaluate", "--project", str(self._root)]
        argv += ["--set", self._value("set") or _DEFAULTS["set"]]
        for each in ready:
            argv += ["--ready", each]
        for each in systems:
            argv += ["--system", each]
        argv += ["--metric", metric] + ([] if operations else ["--no-operations"]) + (["--name", name] if name else [])
        return Wanted(name, self._value("set") or _DEFAULTS["set"], ready, systems, metric, operations, tuple(argv))

    @on(Input.Changed)
    def _draw(self) -> None:
        self.query_one("#asked-line", Static).update(safe(shlex.join(self._wanted.argv), 2_000))
        self.query_one("#asked-wrong", Static).update("")

    def on_descendant_focus(self) -> None:
        """Say what the line with the cursor takes."""
        key = str(self.focused.id if self.focused else "").removeprefix("asked-")
        self.query_one("#asked-words", Static).update(_WORDS.get(key, ""))

    @on(Input.Submitted)
    def _next(self) -> None:
        self.focus_next()

    def on_button_pressed(self, event: Button.Pressed) -> None:
        """Answer with the button."""
        if event.button.id == "yes":
            self.action_start()
        else:
            self.action_close()

    def action_start(self) -> None:
        """Answer with what is written."""
        wanted = self._wanted
        if wanted.ready or wanted.systems:
            self.dismiss(wanted)
        else:
            self.query_one("#asked-wrong", Static).update("name a system, or a ready-made comparison")

    def action_close(self) -> None:
        """Leave."""
        self.dismiss(None)
