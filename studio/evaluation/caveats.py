"""What a table of systems may hide: one system under two names, and models that read texts in two ways."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations

import numpy as np

from studio.evaluation.results import Evaluation, SystemResult
from studio.evaluation.systems import Dense, Given, SystemClass
from studio.evaluation.wording import shortened

_PROMPTS = ("query_prompt", "document_prompt")


def caveats(evaluation: Evaluation, pairs: Sequence[tuple[str, str]]) -> list[str]:
    """Notes on what the systems of a table have in common, and on what compared ones differ in beside themselves.

    Args:
        evaluation: the systems.
        pairs: the names of those that are compared, two at a time.
    """
    compared = {name for pair in pairs for name in pair}
    notes = []
    for one, other in combinations(evaluation.systems, 2):
        if same_system(one, other):
            counted = " and counts twice in Holm's correction" if {one.name, other.name} <= compared else ""
            notes.append(
                f"{shortened(one.name)} and {shortened(other.name)}: the same system stands there twice{counted}"
            )
    for name, reference in pairs:
        mine, theirs = evaluation.system(name), evaluation.system(reference)
        if mine and theirs and (read := " and ".join(_read_differently(mine, theirs))):
            notes.append(
                f"{shortened(name)} and {shortened(reference)} differ in {read}: so their difference is not the "
                "model's alone"
            )
    return notes


def same_system(one: SystemResult, other: SystemResult) -> bool:
    """Whether two results are of one system, whatever it is called."""
    if one.error or other.error or one.system is None or other.system is None or one.of_class is not other.of_class:
        return False
    if isinstance(one.system, Given) or isinstance(other.system, Given):
        # Of another tool's run nothing is known but its file; two that find the same are not one for that.
        files = [(system.described or {}).get("sha256") for system in (one, other)]
        return one.system == other.system or (None not in files and files[0] == files[1])
    alike = one.described == other.described
    if one.system == other.system:
        # A run is the same whoever measured it; a model by name may have got other prompts or lengths since.
        return alike or (isinstance(one.system, Dense) and bool(one.system.run))
    shared = one.values.keys() & other.values.keys()
    return alike and bool(one.described) and all(np.array_equal(one.values[key], other.values[key]) for key in shared)


def _read_differently(one: SystemResult, other: SystemResult) -> Iterator[str]:
    """What two embedding models are given differently."""
    mine, theirs = one.described or {}, other.described or {}
    if one.of_class is not SystemClass.DENSE or other.of_class is not SystemClass.DENSE:
        return
    lengths = mine.get("max_length"), theirs.get("max_length")
    if None not in lengths and lengths[0] != lengths[1]:
        yield f"where texts are cut ({lengths[0]} and {lengths[1]} tokens)"
    if any(key in mine and key in theirs and mine[key] != theirs[key] for key in _PROMPTS):
        yield "their prompts"
