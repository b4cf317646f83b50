"""Which devices a run would start on, and whether they are free. Without torch."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from studio.errors import UnavailableError
from studio.runs.folder import RunFolder, run_folders
from studio.runs.liveness import LAUNCHED, is_alive, read_beat, read_launch
from studio.training.gpu import Gpus
from studio.training.spec import RunSpec, read_spec

CPU = "cpu"
_VISIBLE = "CUDA_VISIBLE_DEVICES"
_BUSY_SHARE = 0.1
"""A device with more of its memory in use than this is somebody's: a desktop or an idle driver takes less."""


class Device(NamedTuple):
    """One CUDA device. `id`: what CUDA_VISIBLE_DEVICES calls it; memory in bytes, 0 where its driver does not say."""

    id: str
    name: str
    memory_used: int
    memory_total: int

    @property
    def in_use(self) -> bool:
        """Whether some process, of the studio or not, has its memory."""
        return self.memory_used > _BUSY_SHARE * self.memory_total


class Taken(NamedTuple):
    """A device and the run that works on it."""

    device: str
    run: str


class Choice(NamedTuple):
    """The devices a run would start on now; `waits_for` says what it must wait for instead, or is empty."""

    devices: tuple[str, ...]
    waits_for: str


def cuda_devices() -> list[Device]:
    """The CUDA devices that this process may use, in the order of the PCI bus; none without a driver."""
    return [Device(str(gpu.index), gpu.name, gpu.memory_used or 0, gpu.memory_total or 0) for gpu in Gpus().read()]


def uses_cuda(spec: RunSpec, there: Sequence[Device]) -> bool:
    """Whether a run goes to CUDA devices: it says so, or says nothing and there are some."""
    return spec.devices.use == "cuda" or (spec.devices.use == "auto" and bool(there))


def taken(project: Path) -> list[Taken]:
    """The devices that runs of a project work on now."""
    found = []
    for folder in run_folders(project):
        if _works_here(folder):
            found += [Taken(device, folder.name) for device in launched_on(folder)]
    return found


def launched_on(folder: RunFolder) -> tuple[str, ...]:
    """The devices that a run was last started on."""
    try:
        devices = json.loads((folder.root / LAUNCHED).read_text("utf-8")).get("devices", ())
    except (OSError, ValueError):
        return ()
    return tuple(map(str, devices))


def choose(folder: RunFolder) -> Choice:
    """Choose devices for a run: those it names, else the first free ones; on CPU, one run at a time.

    Free is a CUDA device that no run of the project works on and whose memory nobody else uses.

    Raises:
        UnavailableError: this machine does not have the devices that the run wants.
    """
    spec, there = read_spec(folder.spec), cuda_devices()
    busy = {item.device: item.run for item in taken(folder.project)}
    if not uses_cuda(spec, there):
        return Choice((CPU,), f"run {busy[CPU]} is on the CPU" if CPU in busy else "")
    indices = {device.id for device in there}
    missing = sorted(set(map(str, spec.devices.ids)) - indices)
    if missing or len(there) < spec.devices.count:
        raise UnavailableError(
            "This machine does not have the CUDA devices that the run wants.",
            why=f"there is no device {missing[0]}"
            if missing
            else f"it wants {spec.devices.count}, and {len(there)} are here",
            remedy="change devices.ids, devices.count or devices.use",
        )
    if spec.devices.ids:
        named = tuple(map(str, spec.devices.ids))
        held = [f"run {busy[device]} is on device {device}" for device in named if device in busy]
        return Choice(named, "; ".join(held))
    free = [device.id for device in there if device.id not in busy and not device.in_use]
    wanted = spec.devices.count
    if len(free) < wanted:
        named_busy = ", ".join(f"{device} by run {run}" for device, run in sorted(busy.items())) or "by other programs"
        return Choice((), f"{wanted} CUDA devices are wanted and {len(free)} are free (taken: {named_busy})")
    return Choice(tuple(free[:wanted]), "")


def environment(devices: tuple[str, ...]) -> dict[str, str]:
    """What the worker's environment says of its devices: it must see no other (several would become DataParallel)."""
    if devices == (CPU,):
        return {_VISIBLE: ""}
    return {_VISIBLE: ",".join(devices), "CUDA_DEVICE_ORDER": "PCI_BUS_ID"}


def _works_here(folder: RunFolder) -> bool:
    """Whether a process of a run lives on this machine. Asked often, so its events are not read for it."""
    signs = (read_launch(folder), read_beat(folder))
    return any(is_alive(sign.process) for sign in signs if sign)
