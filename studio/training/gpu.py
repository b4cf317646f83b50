"""What the GPUs of a run are doing, asked of their driver (NVML): no torch, and nothing where there is no driver."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

_VISIBLE = "CUDA_VISIBLE_DEVICES"


@dataclass(frozen=True)
class Gpu:
    """One GPU now; None where its driver does not say.

    `index` as NVML counts. `utilisation`: share of 1 of the last moments in which it computed. Memory in bytes, of
    all processes. `temperature` in degrees Celsius, `power` in watts.
    """

    index: int
    name: str
    utilisation: float | None
    memory_used: int | None
    memory_total: int | None
    temperature: float | None
    power: float | None


class Gpus:
    """The GPUs that this process may use; looking at them costs about a millisecond.

    Args:
        visible: what CUDA_VISIBLE_DEVICES says; None: as the environment has it.
    """

    def __init__(self, visible: str | None = None) -> None:
        self._handles: list[tuple[int, str, Any]] = []
        allowed = os.environ.get(_VISIBLE) if visible is None else visible
        if allowed == "":
            return
        import pynvml

        self._nvml = pynvml
        try:
            pynvml.nvmlInit()
            count = pynvml.nvmlDeviceGetCount()
        except pynvml.NVMLError:
            return
        for index in range(count):
            handle = pynvml.nvmlDeviceGetHandleByIndex(index)
            if allowed is None or _among(str(index), _text(pynvml.nvmlDeviceGetUUID(handle)), allowed.split(",")):
                self._handles.append((index, _text(pynvml.nvmlDeviceGetName(handle)), handle))

    @property
    def names(self) -> list[str]:
        """What they are called, in NVML's order."""
        return [name for _, name, _ in self._handles]

    def read(self) -> list[Gpu]:
        """What they do now; empty where there is none."""
        return [self._one(*each) for each in self._handles]

    def _one(self, index: int, name: str, handle: Any) -> Gpu:
        nvml = self._nvml
        busy = self._asked(nvml.nvmlDeviceGetUtilizationRates, handle)
        memory = self._asked(nvml.nvmlDeviceGetMemoryInfo, handle)
        temperature = self._asked(nvml.nvmlDeviceGetTemperature, handle, nvml.NVML_TEMPERATURE_GPU)
        power = self._asked(nvml.nvmlDeviceGetPowerUsage, handle)
        return Gpu(
            index,
            name,
            None if busy is None else busy.gpu / 100,
            None if memory is None else int(memory.used),
            None if memory is None else int(memory.total),
            None if temperature is None else float(temperature),
            None if power is None else power / 1000,
        )

    def _asked(self, ask: Callable[..., Any], *arguments: Any) -> Any:
        """The answer, or None: a slice of a GPU (MIG) and a virtual one do not answer everything."""
        try:
            return ask(*arguments)
        except self._nvml.NVMLError:
            return None


def _among(index: str, uuid: str, allowed: Sequence[str]) -> bool:
    wanted = [part.strip() for part in allowed]
    return any(part == index or (part.startswith("GPU-") and uuid.startswith(part)) for part in wanted)


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
