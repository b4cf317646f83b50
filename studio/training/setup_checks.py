"""Checks of a run's surroundings: model, precision, versions, disk, memory, schedule."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import psutil

from studio.errors import ConfigError, StudioError
from studio.evaluation.metrics import metric
from studio.models.doctor import Status as Found
from studio.models.doctor import examine
from studio.models.load import model_spec
from studio.models.tokenizer import StudioTokenizer
from studio.project.project import Project
from studio.runs.folder import run_folder
from studio.sample import model_location
from studio.training.calibrating import gigabytes, learnt
from studio.training.data_checks import Batches
from studio.training.devices import Device, cuda_devices, uses_cuda
from studio.training.items import Item, Status, failed, passed, warned
from studio.training.launch import SMOKE
from studio.training.lengths import Lengths
from studio.training.losses import CACHED, LOSSES
from studio.training.memory import ModelFacts, calibration_key, estimate, smaller
from studio.training.presets import PRESETS
from studio.training.spec import LossName, RunSpec

_LARGEST_LOADED = 1_500_000_000
"""Weights of the largest model that the preflight loads; a larger one takes minutes and much memory."""
_LONG = "O prazo para recurso é de dez dias úteis. "
_OVERFLOWS = ("gemma3", "gemma3_text")
_NEEDED = {
    "torch": ("2.2", ""),
    "sentence-transformers": ("6.0", ""),
    "transformers": ("5.0", "6"),
    "accelerate": ("1.1", ""),
    "datasets": ("4.0", ""),
}
_EXTRAS = {"peft": "lora", "bitsandbytes": "qlora", "trackio": "reporting", "wandb": "reporting"}
_AMPERE = (8, 0)
_CHECKPOINT = 12
"""Bytes a trained weight in a checkpoint: itself and AdamW's two numbers."""
_HIGHEST, _NEVER, _TIMES_USUAL = 1e-2, 5e-2, 10
"""Learning rates of Adam and its kin: for all weights, for any, and how many times a preset's own."""
_OTHER_RATES = ("sgd", "adagrad", "rprop")
_SPARE = 1_000_000_000
_TIGHT = 0.9


def model(spec: RunSpec, facts: ModelFacts, tokenizer: StudioTokenizer) -> Iterator[Item]:
    """Whether the model is what it should be, and ends every text with the token that it pools."""
    eos = ("eos_short", "eos_truncated")
    if facts.parameters > _LARGEST_LOADED:
        message = f"{facts.parameters / 1e9:.1f} billion weights: too large to load for a check."
        yield warned("model", message, "run the smoke test: it loads the model on its device and trains one step")
        short, cut = (
            tokenizer.encode(text, spec.model.max_length).ids for text in ("a", _LONG * spec.model.max_length)
        )
        wrong = [kind for kind, ids in (("short", short), ("truncated", cut)) if ids[-1] != tokenizer.eos_id]
        if wrong:
            remedy = "put `<eos>` into the post-processor of tokenizer.json; add_eos_token in its config has no effect"
            yield failed("eos", f"A {' and a '.join(wrong)} text do not end in the end-of-sequence token.", remedy)
        else:
            yield passed("eos", "Short and truncated texts end in the end-of-sequence token.")
        return
    found = examine(
        model_spec(
            model_location(spec.model.id),
            max_length=spec.model.max_length,
            revision=spec.model.revision,
            dtype="float32",
            device="cpu",
            trust_remote_code=spec.model.trust_remote_code,
        )
    )
    # What Harrier lacks for `encode_query` the contract gives it; precision and memory are the run's own checks.
    apart = (*eos, "prompts", "query_prompt", "precision", "memory")
    bad = [finding for finding in found if finding.status is not Found.PASS and finding.code not in apart]
    for finding in bad:
        yield Item("model", _status(finding.status), f"{finding.code}: {finding.message}", finding.remedy)
    if not bad:
        yield passed("model", f"The doctor finds nothing wrong ({facts.kind}, {facts.parameters:,} weights).")
    ends = [finding for finding in found if finding.code in eos]
    for finding in ends:
        if finding.status is not Found.PASS:
            yield Item("eos", _status(finding.status), finding.message, finding.remedy)
    if ends and all(finding.status is Found.PASS for finding in ends):
        yield passed("eos", ends[0].message)


def precision(spec: RunSpec, facts: ModelFacts, devices: list[Device]) -> Item:
    """Whether the precision suits model and device."""
    mode, cuda = spec.precision.mode, uses_cuda(spec, devices)
    if mode == "fp16" and facts.kind in _OVERFLOWS:
        message = f"float16 cannot train {facts.kind}: activations reach 8e5, float16 ends at 65,504, all becomes NaN."
        remedy = "bf16, or fp32 on a GPU without it (T4, V100)" if cuda else "auto, which is fp32 on a CPU"
        return failed("precision", message, f"set precision.mode = {remedy}")
    if mode == "fp16" and not cuda:
        return failed("precision", "float16 trains on a CUDA device only.", "set precision.mode = fp32")
    if mode == "fp16":
        return warned("precision", "float16 needs loss scaling and may overflow.", "set precision.mode = bf16")
    if mode == "bf16" and not cuda:
        message = "bf16 on a CPU: many processors are slower in it than in float32."
        return warned("precision", message, "set precision.mode = auto, which is fp32 on a CPU")
    old = (
        [device.name for device in devices if (_capability(device) or _AMPERE) < _AMPERE]
        if mode == "bf16" and cuda
        else []
    )
    if old:
        message = f"No bf16 in hardware: {', '.join(old)}."
        return failed("precision", message, "set precision.mode = fp32")
    kept = "weights stay float32" if spec.lora is None else "adapters stay float32"
    return passed("precision", f"{mode} on {'CUDA' if cuda else 'the CPU'}; {kept}.")


def devices_of(spec: RunSpec, devices: list[Device]) -> Item:
    """Whether there are the devices that are asked for."""
    part = spec.devices
    if part.use == "cuda" and not devices:
        return failed("devices", "There is no CUDA device.", "set devices.use = cpu, or run it where there is one")
    if uses_cuda(spec, devices) and part.count > len(devices):
        message = f"{part.count} CUDA devices are asked for, and there are {len(devices)}."
        return failed("devices", message, f"set devices.count = {len(devices)}")
    if part.ids and len(part.ids) != part.count:
        message = f"{part.count} processes for {len(part.ids)} devices."
        return failed("devices", message, f"set devices.count = {len(part.ids)}")
    where = f"CUDA: {', '.join(device.name for device in devices)}" if uses_cuda(spec, devices) else "the CPU"
    large = spec.model.id.endswith(("270m", "0.6b", "27b"))
    if not uses_cuda(spec, devices) and large and spec.schedule.max_steps != 0:
        message = "There is no GPU: on a CPU this model takes hours where a GPU takes minutes."
        return warned("devices", message, "try the path with the preset `tiny`, and train where there is a GPU")
    return passed("devices", f"{part.count} process{'es' if part.count > 1 else ''} on {where}.")


def negatives(spec: RunSpec, batches: Batches | None = None) -> Item:
    """How many negatives a query meets, and that accumulation adds none.

    Args:
        spec: the run.
        batches: what its data give; None: not known.
    """
    about = LOSSES[spec.loss.name]
    if not about.in_batch:
        return passed("negatives", f"{about.title} takes no negatives from the batch.")
    if batches is not None and not batches.full:
        message = f"No query meets {spec.negatives:,} negatives: no batch has its {spec.batch.per_device:,} rows."
        return warned("negatives", message, "lower batch.per_device, as the check `batches` says")
    count = spec.devices.count if spec.loss.gather else 1
    hard = max(part.negatives for part in spec.data)
    message = (
        f"{spec.negatives:,} negatives a query: {spec.batch.per_device} rows × {count} × (1 + {hard} hard) - 1. "
        "Gradient accumulation adds no in-batch negatives: each batch has its own."
    )
    if spec.batch.accumulation > 1:
        larger = spec.batch.per_device * spec.batch.accumulation
        cached = CACHED.get(spec.loss.name, LossName.CACHED_MNRL)
        remedy = f"for {larger * count * (1 + hard) - 1:,} negatives at the same memory use {cached} with {larger} rows"
        return warned(
            "negatives", f"{message} {spec.effective_batch} rows a step look like more than they are.", remedy
        )
    if spec.devices.count > 1 and not spec.loss.gather:
        remedy = "set loss.gather = true: the devices' passages become negatives for each other"
        return warned("negatives", message, remedy)
    return passed("negatives", message)


def learning_rate(spec: RunSpec) -> Item:
    """Whether a model survives the learning rate: above its preset's own, or above what Adam bears, few do."""
    lr, usual = spec.optimiser.lr, _usual_rate(spec)
    if spec.schedule.max_steps == 0:
        return passed("learning_rate", "No training.")
    if spec.optimiser.name in _OTHER_RATES:
        return passed("learning_rate", f"{lr:g} with {spec.optimiser.name}, which no preset has tried.")
    remedy = f"set optimiser.lr = {usual:g}" if usual else "set optimiser.lr near that of a preset"
    if lr > _NEVER:
        return failed("learning_rate", f"At {lr:g} weights become noise, or no numbers, within a few steps.", remedy)
    if spec.lora is None and lr > _HIGHEST:
        return warned("learning_rate", f"{lr:g} is much for training all weights: the model may forget all.", remedy)
    if usual and lr > _TIMES_USUAL * usual:
        message = f"{lr:g} is {lr / usual:.0f} times that of the preset {spec.preset}, {usual:g}."
        return warned("learning_rate", message, remedy)
    return passed("learning_rate", f"{lr:g}" + (f"; the preset {spec.preset} has {usual:g}." if usual else "."))


def plan(spec: RunSpec, batches: Batches) -> Iterator[Item]:
    """Whether the metric exists and evaluations and checkpoints fit each other and the steps."""
    try:
        metric(spec.evaluation.metric)
    except ConfigError as error:
        yield failed("metric", " ".join(filter(None, (error.what, error.why))), error.remedy or "")
    else:
        yield passed("metric", f"{spec.evaluation.metric} decides what is best, at each evaluation.")
    times, keep = spec.evaluation.times, spec.checkpoints
    if spec.schedule.max_steps == 0:
        yield passed("multiples", "No training: the baseline is all.")
    elif times == 0 and (keep.load_best or spec.evaluation.patience):
        message = "Nothing is evaluated while training, so no checkpoint can be the best and nothing can stop early."
        yield failed("multiples", message, "set evaluation.times, or checkpoints.load_best = false and patience = 0")
    elif keep.every > max(1, times):
        message = f"A checkpoint at every {keep.every}th of {times} evaluations: only the last step saves."
        yield warned("multiples", message, "lower checkpoints.every")
    elif spec.evaluation.patience and not keep.load_best:
        message = "Early stopping without load_best ends with a model that got no better."
        yield warned("multiples", message, "set checkpoints.load_best = true")
    elif batches.steps < times:
        message = f"{batches.steps} steps are fewer than {times} evaluations: each step evaluates."
        yield warned("multiples", message, f"set evaluation.times = {max(1, batches.steps)}, or train longer")
    else:
        yield passed("multiples", f"{times} evaluations, a checkpoint at every {_ordinal(keep.every)}of them.")


def versions(spec: RunSpec) -> Item:
    """Whether the libraries are there, in versions that this was made for."""
    wrong, there = [], []
    for name, (least, below) in _NEEDED.items():
        found = _version(name)
        if found is None:
            wrong.append(f"{name} is not installed")
        elif _numbers(found) < _numbers(least) or (below and _numbers(found) >= _numbers(below)):
            wrong.append(f"{name} {found} (needed: {least} or later{f', before {below}' if below else ''})")
        else:
            there.append(f"{name} {found}")
    extras = (["peft"] if spec.lora else []) + (["bitsandbytes"] if spec.lora and spec.lora.quantise != "none" else [])
    extras += list(spec.reporting.to)
    missing = [name for name in extras if _version(name) is None]
    if wrong:
        return failed("versions", f"{'; '.join(wrong)}.", "install harrier-studio again in a fresh environment")
    if missing:
        groups = ",".join(sorted({_EXTRAS.get(name, "reporting") for name in missing}))
        return failed("versions", f"Not installed: {', '.join(missing)}.", f"pip install 'harrier-studio[{groups}]'")
    return passed("versions", f"{', '.join(there)}.")


def disk(project: Project, spec: RunSpec, facts: ModelFacts) -> Item:
    """Whether checkpoints and the final model fit on the disk."""
    free = shutil.disk_usage(project.root).free
    whole = 4 * facts.parameters
    each = whole + (_CHECKPOINT - 4) * facts.parameters if spec.lora is None else whole // 10
    needed = 0 if spec.schedule.max_steps == 0 else (spec.checkpoints.keep + 2) * each + whole
    message = (
        f"{gigabytes(needed)} for {spec.checkpoints.keep} checkpoints, the best, one being written, and the model; "
    )
    message += f"{gigabytes(free)} free."
    if needed + _SPARE > free:
        return failed("disk", message, "free some space, lower checkpoints.keep, or put the project on another disk")
    if 2 * needed + _SPARE > free:
        return warned("disk", message, "enough for this run, and hardly for the next")
    return passed("disk", message)


def memory(project: Path, spec: RunSpec, facts: ModelFacts, lengths: Lengths, devices: list[Device]) -> Item:
    """Whether the run fits into memory, by the real lengths of its texts and, if there was one, a smoke test."""
    cuda = uses_cuda(spec, devices)
    if cuda and not devices:
        message = "How much fits cannot be told: there is no CUDA device."
        return warned("memory", message, "see the check `devices`")
    name = devices[0].name if cuda else "cpu"
    try:
        factor = learnt(run_folder(project, SMOKE), calibration_key(spec, name))
    except StudioError as error:
        return warned("memory", error.what, error.remedy or "")
    said = estimate(spec, facts, lengths, device="cuda" if cuda else "cpu", factor=factor)
    sizes = [device.memory_total for device in devices if device.memory_total] if cuda else []
    room = min(sizes, default=int(psutil.virtual_memory().available))
    parts = {
        "weights": said.weights,
        "AdamW": said.optimiser,
        "gradients": said.gradients,
        "activations": said.copies + said.corrected,
    }
    told = ", ".join(f"{part} {gigabytes(size)}" for part, size in parts.items())
    guess = "not yet measured by a smoke test" if cuda else "a rough figure on a CPU"
    measured = f"corrected by a smoke test (×{factor:.2f})" if factor else guess
    message = (
        f"About {gigabytes(said.total)} of {gigabytes(room)} on {name}: {told} for {said.tokens:,} tokens at once "
        f"(real lengths, padded); {measured}."
    )
    if spec.schedule.max_steps == 0:
        return passed("memory", f"No training: {gigabytes(said.weights)} of weights, and a batch of evaluation.")
    if said.total > room:
        return failed("memory", message, "best first: " + "; ".join(smaller(spec, said, int(room * _TIGHT))))
    if said.total > _TIGHT * room:
        return warned("memory", message, "run the smoke test; if it runs out: " + "; ".join(smaller(spec, said, room)))
    return passed("memory", message)


def chosen(spec: RunSpec) -> list[Device]:
    """Return the CUDA devices that a run may have: those it names, or all."""
    named = {str(number) for number in spec.devices.ids}
    return [device for device in cuda_devices() if not named or device.id in named]


def _usual_rate(spec: RunSpec) -> float | None:
    """The learning rate of the preset that a spec starts from; None: it starts from none."""
    preset = PRESETS.get(spec.preset)
    return preset.spec.optimiser.lr if preset else None


def _capability(device: Device) -> tuple[int, int] | None:
    """The generation of a GPU, as NVIDIA counts them; None where its driver does not say."""
    import pynvml

    pynvml.nvmlInit()
    try:
        major, minor = pynvml.nvmlDeviceGetCudaComputeCapability(pynvml.nvmlDeviceGetHandleByIndex(int(device.id)))
    except pynvml.NVMLError:
        return None
    finally:
        pynvml.nvmlShutdown()
    return int(major), int(minor)


def _status(found: Found) -> Status:
    if found is Found.PASS:
        return "pass"
    return "warn" if found is Found.WARN else "fail"


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _numbers(version: str) -> tuple[int, ...]:
    """The leading numbers of a version; `2.13.0+cpu` is (2, 13, 0)."""
    numbers = []
    for part in version.split("+")[0].split("."):
        digits = "".join(character for character in part if character.isdigit())
        if not digits or not part[0].isdigit():
            break
        numbers.append(int(digits))
    return tuple(numbers)


def _ordinal(number: int) -> str:
    return "one " if number == 1 else f"{number}th "
