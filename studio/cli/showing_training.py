"""`show train` and `show runs`: what the two panels of training show, as plain lines."""

from __future__ import annotations

import shlex

from studio.cli.output import emit, emit_json, say
from studio.runs.folder import RunFolder
from studio.runs.plain import lines, report
from studio.runs.state import LIVE
from studio.runs.summary import summaries
from studio.training.presets import PRESETS, starting
from studio.view.bench import Bench
from studio.view.run_command import command
from studio.view.training import Setting, negatives_words, settings


def show_train(bench: Bench, as_json: bool) -> None:
    """Print what a run begins with: every setting, where its value comes from and why, and the command."""
    root = bench.project.root
    name, spec = starting(bench.project.settings)
    preset = PRESETS[name]
    found = settings(spec, preset.spec)
    same = command(root, name, name, spec, preset.spec)
    if as_json:
        emit_json(
            {
                "preset": name,
                "negatives": spec.negatives,
                "command": same,
                "settings": [
                    {
                        "key": each.key,
                        "value": each.value,
                        "origin": each.origin.value,
                        "preset": each.preset,
                        "default": each.default,
                        "why": each.why,
                    }
                    for each in found
                ],
            }
        )
        return
    emit(f"train: preset {name}: {preset.why}")
    for each in found:
        if each.used:
            emit(_line(each))
    emit(f"negatives: {negatives_words(spec)}")
    emit(f"command: {same}")
    say(f"add --dry-run to the command for the checks before a run; presets: {', '.join(PRESETS)}")


def _line(setting: Setting) -> str:
    came = {"default": "", "preset": ", the preset's", "yours": ", the project's"}[setting.origin.value]
    return f"{setting.key}: {setting.value}{came}; {setting.why}"


def show_runs(bench: Bench, limit: int, as_json: bool) -> None:
    """Print every run in a line, and the first of them, which is at work if any is, in full."""
    root = bench.project.root
    found = summaries(root)
    shown = [RunFolder(root / "runs" / run.name) for run in found[:limit]]
    if as_json:
        emit_json({"runs": [run._asdict() for run in found], "shown": [report(folder) for folder in shown]})
        return
    emit(f"runs: {len(found):,}, {sum(run.state in LIVE for run in found):,} at work")
    for run in found:
        score = "" if run.score is None else f", {run.main} {run.score:.4f}"
        share = "" if run.share is None else f", {run.share:.0%} done"
        emit(f"{run.name}: {run.state}{share}{score}; {run.why}")
    for folder in shown:
        emit()
        for line in lines(folder):
            emit(line)
    if not found:
        say(f"make one: harrier-studio train {shlex.join(['--project', str(root)])}")
