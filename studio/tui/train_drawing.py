"""What the Train panel draws: a line of the form, one setting with its reasons, the preflight list."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from textual.content import Content

from studio.training.losses import LOSSES
from studio.training.spec import RunSpec
from studio.tui.cluster_drawing import count
from studio.tui.safe import safe, safe_text
from studio.view.training import NOTHING, Origin, Setting

if TYPE_CHECKING:
    from studio.training.items import Item
    from studio.training.presets import Preset

_SIGNS = {Origin.DEFAULT: " ", Origin.PRESET: "◆", Origin.YOURS: "●"}
_STATUS = {"fail": ("✗ fail", "bold $error"), "warn": ("⚠ warn", "bold $warning"), "pass": ("✓ pass", "$success")}
_ORDER = {"fail": 0, "warn": 1, "pass": 2}
_SECTION, _NAME = 13, 25
"""Columns of a line's first two parts."""
LEGEND = "● yours · ◆ the preset's · else every run's default"


def setting_line(setting: Setting, *, first: bool) -> Content:
    """One line of the form; `first`: of its section, whose name it then has."""
    value = safe(setting.value, 120)
    unused = "" if setting.used else "  (not of this loss)"
    return Content.assemble(
        (f"{_SIGNS[setting.origin]} ", "bold"),
        (f"{setting.section if first else '':<{_SECTION}}", "bold"),
        f"{setting.name:<{_NAME}}",
        value.stylize("bold" if setting.origin is not Origin.DEFAULT else ""),
        (unused, "dim"),
    ).stylize("" if setting.used else "dim")


def setting_words(setting: Setting) -> Iterator[Content]:
    """The setting under the cursor: value, where it comes from, why the default is what it is, how to change it."""
    yield Content.assemble((setting.key, "bold"), " = ", safe(setting.value, 400))
    parts = []
    if setting.origin is Origin.YOURS:
        parts.append(f"● yours; the preset has {setting.preset}")
    if setting.origin is Origin.PRESET:
        parts.append("◆ the preset's")
    same = setting.origin is Origin.DEFAULT
    parts.append("every run's default" if same else f"the default is {setting.default}")
    yield safe(" · ".join(parts), 500)
    yield Content.assemble(("why: ", "bold"), safe(setting.why, 600))
    if not setting.used:
        yield safe("The loss that is chosen does not know this setting: leave it as it is.").stylize("bold")
    may = " · ".join(offer.words for offer in setting.offers) or setting.kind
    back = " · backspace: as the preset has it" if setting.origin is Origin.YOURS else ""
    yield Content.styled(safe_text(f"e: change it ({may}){back}", 400), "dim")


def preset_words(preset: Preset) -> Iterator[Content]:
    """What the preset is for; and, where nobody has tried it, that."""
    yield Content.assemble(("preset ", "bold"), (f"{preset.name}: ", "bold"), safe(preset.why, 600))
    if preset.unverified:
        yield Content.assemble(("⚠ unverified: ", "bold $warning"), safe(preset.unverified, 600))


def preflight_words(items: Sequence[Item]) -> Iterator[Content]:
    """Every item, what stops the run first, each with what to do about it."""
    width = max(len(item.code) for item in items) if items else 0
    for item in sorted(items, key=lambda item: _ORDER[item.status]):
        sign, style = _STATUS[item.status]
        yield Content.assemble((sign, style), f" {item.code:<{width}}  ", safe(item.message, 500))
        if item.remedy and item.status != "pass":
            yield safe(f"       do: {item.remedy}", 500).stylize("italic")


def preflight_head(items: Sequence[Item]) -> str:
    """How many of each."""
    counts = {status: sum(item.status == status for item in items) for status in _STATUS}
    return " · ".join(f"{number} {status}" for status, number in counts.items() if number)


def run_words(spec: RunSpec, negatives: str) -> str:
    """What will run, for a question before it does."""
    data = ", ".join(f"{part.name} ({part.kind}{', ' + part.path if part.path else ''})" for part in spec.data)
    zero = spec.schedule.max_steps == 0
    long = count(spec.schedule.max_steps, "step") if spec.schedule.max_steps > 0 else f"{spec.schedule.epochs:g} epochs"
    lines = [
        f"model {spec.model.id}, {spec.model.max_length:,} tokens" + (", LoRA" if spec.lora else ""),
        f"data {data}" + (f", the first {spec.rows:,} rows" if spec.rows else ""),
    ]
    if zero:
        lines.append("no training: only the baseline is measured")
    else:
        lines += [
            f"loss {LOSSES[spec.loss.name].title}, sampler {spec.sampler.name}",
            f"learning rate {spec.optimiser.lr:g} ({spec.schedule.kind}), {long}",
            negatives,
        ]
    lines.append(
        f"evaluation {spec.evaluation.metric}" + ("" if zero else f", {spec.evaluation.times} times while it trains")
    )
    to = ", ".join(spec.reporting.to)
    out = [f"reports to {to}"] if to else []
    out += [f"pushes the model to {spec.reporting.hub_id}"] if spec.reporting.hub_id else []
    return "\n".join([*lines, *out, "It runs in a process of its own: leaving the studio does not stop it."])


def head_line(preset: str, name: str, changed: int, checked: str) -> Content:
    """The first line of the panel."""
    yours = f"{count(changed, 'setting')} changed" if changed else "as the preset has it"
    return Content.assemble(
        "preset ", (safe_text(preset, 40) or NOTHING, "bold"), " (p)   run ", (safe_text(name, 80), "bold"),
        f" (n)   {yours}   ", (f"preflight: {checked}" if checked else "r: preflight", "" if checked else "dim"),
    )  # fmt: skip
