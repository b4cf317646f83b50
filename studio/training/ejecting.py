"""A run without the studio: the command that starts it, a readable script, a Slurm job, plain SSH."""

from __future__ import annotations

import re
import shlex
import sys

from studio.errors import UsageError
from studio.runs.folder import RunFolder
from studio.training.data import load_prepared
from studio.training.scripting import script_of
from studio.training.spec import RunSpec, read_spec

_WORKER = "studio.training.worker"
_HOST = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]*")
_GRACE = 180
"""Seconds before Slurm's limit at which the worker is asked to stop: time for a checkpoint."""


def command(folder: RunFolder, resume: bool = False, spec: RunSpec | None = None) -> list[str]:
    """Return the command that works on a run: this Python, and torchrun when there are several devices.

    Args:
        folder: the run's.
        resume: whether it goes on from the last checkpoint.
        spec: of a run that is not made yet; None: the folder's.

    Raises:
        ConfigError: the run's spec cannot be read.
    """
    starter = _starter(spec or read_spec(folder.spec))
    return [sys.executable, *starter, str(folder.root), *(["--resume"] if resume else [])]


def script(folder: RunFolder) -> str:
    """Write a run as a readable script of plain sentence-transformers, equal in effect to the worker.

    It reads the run's frozen data. With the conflict-aware sampler it imports that one piece of the studio, and says
    what to write instead.

    Raises:
        ConfigError: the run's spec cannot be read, or has no such metric.
        ProjectError: its data are missing or damaged.
    """
    return script_of(folder, read_spec(folder.spec), load_prepared(folder.data))


def slurm(folder: RunFolder) -> str:
    """Write a batch script for Slurm that works on a run, on one node, and goes on when it is queued again.

    Raises:
        ConfigError: the run's spec cannot be read.
    """
    spec = read_spec(folder.spec)
    count = spec.devices.count
    gpus = [] if spec.devices.use == "cpu" else [f"#SBATCH --gres=gpu:{count}"]
    work = " ".join(_starter(spec))
    lines = [
        "#!/bin/bash",
        f"#SBATCH --job-name={folder.name}",
        "#SBATCH --nodes=1",
        "#SBATCH --ntasks=1",
        *gpus,
        f"#SBATCH --cpus-per-task={4 * count}",
        "#SBATCH --time=08:00:00",
        # Slurm reads these lines before any shell does: a name is quoted, not escaped.
        f'#SBATCH --output="{folder.console}"',
        "#SBATCH --open-mode=append",
        f"# The worker takes SIGTERM for a request to stop, and has {_GRACE} seconds for its checkpoint.",
        f"#SBATCH --signal=TERM@{_GRACE}",
        "#SBATCH --requeue",
        "# Add what your cluster wants: --partition, --account, --mem.",
        "",
        "set -euo pipefail",
        f"RUN={shlex.quote(str(folder.root))}",
        f'PYTHON="${{PYTHON:-{shlex.quote(sys.executable)}}}"',
        "",
        "# Queued again after the limit, or after another job took the node: go on from the last whole checkpoint.",
        "RESUME=()",
        'if compgen -G "$RUN/checkpoints/checkpoint-*/whole.json" > /dev/null; then RESUME=(--resume); fi',
        "",
        f'exec srun "$PYTHON" {work} "$RUN" "${{RESUME[@]}}"',
    ]
    return "\n".join(lines) + "\n"


def ssh(folder: RunFolder, host: str) -> str:
    """Write a shell script that copies a run to another machine over SSH, starts it there, and says how to follow it.

    Args:
        folder: the run's.
        host: as SSH knows it: a name, or user@name.

    Raises:
        UsageError: a host cannot be called that.
        ConfigError: the run's spec cannot be read.
    """
    if not _HOST.fullmatch(host):
        remedy = "give a name that `ssh` knows, or user@name; options belong into ~/.ssh/config"
        raise UsageError(f"A host cannot be called {host!r}.", remedy=remedy)
    spec = read_spec(folder.spec)
    project = folder.project.name or "project"
    there = f"harrier-runs/{project}"
    run = f"{there}/runs/{folder.name}"
    ids = spec.devices.ids or tuple(range(spec.devices.count))
    devices = "" if spec.devices.use == "cpu" else ",".join(map(str, ids))
    work = " ".join(_starter(spec))
    start = (
        f"cd {shlex.quote(there)} && CUDA_VISIBLE_DEVICES={devices} PYTHONSAFEPATH=1 setsid nohup python3 {work} "
        f"{shlex.quote(f'runs/{folder.name}')} >> {shlex.quote(f'runs/{folder.name}/console.log')} 2>&1 < /dev/null &"
    )
    follow = f"harrier-studio monitor {folder.name} --project {shlex.quote(there)} --plain --follow"
    stop = f"harrier-studio stop {folder.name} --project {shlex.quote(there)}"
    lines = [
        "#!/bin/bash",
        f"# The run {folder.name} on {host}. There must be harrier-studio, for the python3 that SSH finds, and the",
        f"# model {shlex.quote(spec.model.id)}; a folder of this machine has to be copied to the same path.",
        "set -euo pipefail",
        f"HOST={shlex.quote(host)}",
        "",
        f'ssh "$HOST" {shlex.quote(f"mkdir -p {shlex.quote(run)}")}',
        f'rsync -a {shlex.quote(str(folder.project / "studio.toml"))} "$HOST":{shlex.quote(there + "/")}',
        f'rsync -a {shlex.quote(str(folder.root) + "/")} "$HOST":{shlex.quote(run + "/")}',
        "",
        "# It goes on when this connection ends.",
        f'ssh "$HOST" {shlex.quote(start)}',
        "",
        "cat <<'END'",
        f"follow it:  ssh -t {host} {shlex.quote(follow)}",
        f"stop it:    ssh {host} {shlex.quote(stop)}",
        f"fetch it:   rsync -a {host}:{shlex.quote(run + '/')} {shlex.quote(str(folder.root) + '/')}",
        "END",
    ]
    return "\n".join(lines) + "\n"


def _starter(spec: RunSpec) -> list[str]:
    """What follows the interpreter: the worker, or torchrun with it."""
    count = spec.devices.count
    if count == 1:
        return ["-m", _WORKER]
    # --standalone: a free port of its own, so that two runs on one machine do not meet.
    return ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={count}", "-m", _WORKER]
