"""Comparisons that are worth making with no thought given to which systems they need."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeAlias

from studio.errors import UsageError
from studio.evaluation.naming import distinct, name_of
from studio.evaluation.systems import Dense, Hybrid, Lexical, Named, Reranked
from studio.evaluation.vectors import context_of, matryoshka_of, resolve
from studio.models.locate import locate, read_json, read_modules, transformer_folder
from studio.project.project import Project
from studio.prompts.contract import nearest
from studio.runs.folder import run_folder
from studio.runs.state import State
from studio.runs.summary import summaries

_BGE_M3 = "BAAI/bge-m3"
_BGE_RERANKER = "BAAI/bge-reranker-v2-m3"
_SMALLEST = 16
_RESCORED = 4
_BM25 = Lexical()
_DIMENSION_KEYS = ("out_features", "embedding_dimension", "word_embedding_dimension")
"""What Dense modules and poolings call the length of their vectors."""
_Made: TypeAlias = Sequence[Dense | Lexical | Hybrid | Reranked]


def ready(name: str, project: Project) -> list[Named]:
    """The systems of a ready-made comparison.

    Args:
        name: one of READY.
        project: whose model and latest finished run are compared.

    Raises:
        UsageError: there is no such comparison; the nearest is named.
        UnavailableError: of `truncated`: the model, whose dimensions must be known, is out of reach.
    """
    if name not in READY:
        raise UsageError(f"There is no ready-made comparison {name!r}.", remedy=nearest(name, list(READY)))
    systems = READY[name](project)
    return list(distinct(Named(name_of(system), system) for system in systems))


def _own(project: Project) -> list[Dense]:
    """The project's model as it is, and what the latest finished run made of it."""
    latest = _latest(project)
    return [Dense(model=project.settings.model.id), *([Dense(run=latest)] if latest else [])]


def _latest(project: Project) -> str:
    """The name of the run that finished last and left a model; "" if there is none."""
    return next(
        (
            run.name
            for run in summaries(project.root)
            if run.state is State.DONE and (run_folder(project.root, run.name).model / "modules.json").exists()
        ),
        "",
    )


def _default(project: Project) -> list[Dense | Lexical | Hybrid | Reranked]:
    own = _own(project)
    return [_BM25, *own, Hybrid(parts=(own[-1], _BM25))]


def _dense(project: Project) -> list[Dense]:
    # BGE-M3 was trained without instructions (its card: none is needed).
    return [*_own(project), Dense(model=_BGE_M3, prompts="none")]


def _hybrid(project: Project) -> list[Hybrid]:
    return [Hybrid(parts=(dense, _BM25)) for dense in _dense(project)]


def _reranked(project: Project) -> list[Reranked]:
    return [Reranked(first=hybrid, model=_BGE_RERANKER) for hybrid in _hybrid(project)]


def _truncated(project: Project) -> list[Dense]:
    """The last of the project's models at each dimension it was trained for, or at each half down to 16."""
    dense = _own(project)[-1]
    whole = _dimensions(dense, project)
    halves = [whole >> by for by in range(1, whole.bit_length()) if whole >> by >= _SMALLEST]
    trained = matryoshka_of(project, dense.run) if dense.run else ()
    smaller = [dim for dim in sorted(trained, reverse=True) if dim < whole] or halves
    return [dense, *(dense.model_copy(update={"dim": dim}) for dim in smaller)]


def _dimensions(dense: Dense, project: Project) -> int:
    """How many numbers a vector of a model has, by its files: what its last module says, else the hidden size."""
    spec = resolve(dense, context_of(project)).spec
    return dimensions_of(locate(spec.id_or_path, spec.revision, weights=False))


def dimensions_of(folder: Path) -> int:
    """How many numbers a vector of the model in a folder has; 0: its files do not say.

    Raises:
        InputError: they cannot be read.
    """
    for module in reversed(read_modules(folder)[1:]):
        said = read_json(folder / str(module.get("path", "")) / "config.json")
        known = next((said[key] for key in _DIMENSION_KEYS if isinstance(said.get(key), int)), None)
        if known:
            return int(known)
    return int(read_json(transformer_folder(folder) / "config.json").get("hidden_size") or 0)


def _quantised(project: Project) -> list[Dense]:
    dense = _own(project)[-1]
    return [
        dense,
        *(
            dense.model_copy(update={"precision": precision, "rescore": rescore})
            for precision in ("int8", "binary")
            for rescore in (0, _RESCORED)
        ),
    ]


READY: Mapping[str, Callable[[Project], _Made]] = {
    "default": _default,
    "dense": _dense,
    "hybrid": _hybrid,
    "reranked": _reranked,
    "truncated": _truncated,
    "quantised": _quantised,
}
"""The ready-made comparisons: name → what makes their systems of a project."""
