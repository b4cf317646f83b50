"""Small runs for the tests of the worker: a project of a few dozen pairs, and workers in processes of their own."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from studio.project.project import Project
from studio.runs.events import Event
from studio.runs.folder import RunFolder
from studio.runs.history import Follower, History
from studio.training.launch import create
from studio.training.spec import RunSpec, changed

ROOT = Path(__file__).parents[2]
DEADLINE = 240
SMALL = {
    "devices.use": "cpu",
    "model.max_length": 24,
    "batch.per_device": 8,
    "schedule.max_steps": 12,
    "optimiser.lr": 3e-4,
    "evaluation.times": 3,
    "evaluation.queries": 10,
    "reporting.logs": 12,
}
SUBJECTS = (
    "a fatura do mês", "o cartão da biblioteca", "a consulta médica", "o recurso da prova", "o extrato do banco",
    "a coleta de lixo", "a matrícula do curso", "o pedido de férias", "a troca de titular", "o alvará da obra",
)  # fmt: skip
QUESTIONS = ("como peço", "onde vejo", "quanto custa", "qual o prazo para", "quem pode cancelar", "posso adiar")


def rows(count: int = 60) -> list[dict[str, Any]]:
    """Pairs that a model can learn; every sixth is held out."""
    made = []
    for number in range(count):
        subject, question = SUBJECTS[number % len(SUBJECTS)], QUESTIONS[number // len(SUBJECTS) % len(QUESTIONS)]
        made.append(
            {
                "query": f"{question} {subject}?",
                "positive": f"Para {question} {subject}, fale com o setor {number} no balcão {number % 7}.",
                "split": "validation" if number % 6 == 5 else "train",
            }
        )
    return made


def made(project: Project, name: str, **changes: Any) -> RunFolder:
    """A run of the project, its keys as `optimiser__lr`."""
    return create(
        project, name, changed(RunSpec(), SMALL | {key.replace("__", "."): to for key, to in changes.items()})
    )


class Worker:
    """A worker in a session of its own, watched through the run's folder as anybody would."""

    def __init__(self, folder: RunFolder, *arguments: str, launcher: Sequence[str] = ()) -> None:
        command = [sys.executable, *launcher, "-m", "studio.training.worker", str(folder.root), *arguments]
        with folder.console.open("ab") as out:
            # One thread: what it computes does not depend on the machine, nor its time on the other tests.
            environment = os.environ | {"OMP_NUM_THREADS": "1"}
            self.process = subprocess.Popen(
                command, stdout=out, stderr=out, cwd=ROOT, start_new_session=True, env=environment
            )
        self.folder = folder
        self.follower = Follower(folder)
        self._console = folder.console.stat().st_size

    @property
    def history(self) -> History:
        return self.follower.history

    def until(self, true: Callable[[Event], bool]) -> Event:
        """Wait for an event."""
        until = time.monotonic() + DEADLINE
        while time.monotonic() < until:
            ended = self.process.poll() is not None
            for event in self.follower.read():
                if true(event):
                    return event
            assert not ended, self.folder.console.read_text()[-3_000:]
            time.sleep(0.01)
        raise AssertionError("it did not come: " + self.folder.console.read_text()[-3_000:])

    def end(self) -> int:
        """Wait for its end; its exit code."""
        code = self.process.wait(timeout=DEADLINE)
        self.follower.read()
        return code

    def kill(self) -> None:
        """Kill it with -9."""
        self.process.kill()
        self.process.wait()
