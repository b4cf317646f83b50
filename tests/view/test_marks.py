"""Marks against brute force."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from studio.project.evidence import EDGES_SCHEMA, FLAGS_SCHEMA, Evidence, StoredEvidence
from studio.project.project import Project
from studio.project.settings import ProjectSettings
from studio.text.normalise import Level, normalised
from studio.view.bench import Bench
from studio.view.marks import CHECKS, bits, letters, marks, spelled
from tests.conftest import snapshot

TEXTS = st.sampled_from(["uma coisa", "Uma  coisa!", "outra coisa", "...", "mais uma"])
BANDS = st.sampled_from(["auto", "review", "ignore"])


def store(project: Project, check: str, flags: list[dict[str, Any]], edges: list[dict[str, Any]]) -> None:
    """Store evidence; columns that are left out are null."""
    evidence = Evidence(pl.DataFrame(flags, schema=FLAGS_SCHEMA), pl.DataFrame(edges, schema=EDGES_SCHEMA))
    project.evidence.save(StoredEvidence(check, "1", {}, project.settings.snapshot, 0.0, evidence))


@settings(deadline=None, max_examples=30)
@given(data=st.data())
def test_marks_are_those_of_brute_force(data: st.DataObject) -> None:
    rows = data.draw(st.lists(st.tuples(TEXTS, TEXTS), min_size=1, max_size=8))
    ids = st.sampled_from([f"r{i}" for i in range(len(rows))])
    flag = st.fixed_dictionaries({"row_id": ids, "band": BANDS})
    roles = st.sampled_from(["query", "passage", "pair", "cross"])
    edge = st.fixed_dictionaries({"a_id": ids, "b_id": ids, "role": roles, "band": BANDS})
    stored = st.tuples(st.lists(flag, max_size=3), st.lists(edge, max_size=3))
    said = data.draw(st.dictionaries(st.sampled_from(list(CHECKS)), stored, max_size=3))

    frame = pl.DataFrame(rows, schema=["query", "passage"], orient="row")
    keys = frame.select(normalised(pl.all(), Level.SURFACE))
    # A text of nothing but marks is equal to its own bytes only.
    keys = {c: [k or t for k, t in zip(keys[c], frame[c], strict=True)] for c in ("query", "passage")}
    expected = [0] * len(rows)
    for check, (flags, edges) in said.items():
        for one in flags:
            if one["band"] != "ignore":
                expected[int(one["row_id"][1:])] |= bits(check, one["band"])
        for one in edges:
            for end in (int(one["a_id"][1:]), int(one["b_id"][1:])):
                for other in range(len(rows)):
                    same = other == end
                    if one["role"] in keys:
                        same = keys[one["role"]][other] == keys[one["role"]][end]
                    if same and one["band"] != "ignore":
                        expected[other] |= bits(check, one["band"])
    with tempfile.TemporaryDirectory() as folder:
        project = Project.create(Path(folder) / "p", snapshot(rows), ProjectSettings(name="t"))
        for check, (flags, edges) in said.items():
            store(project, check, flags, edges)
        assert marks(Bench(project.root)).masks.tolist() == expected


def test_marks_follow_the_evidence(make_project: Callable[..., Project]) -> None:
    project = make_project([("a", "b"), ("c", "d")])
    bench = Bench(project.root)
    assert marks(bench).masks.tolist() == [0, 0]
    assert marks(bench) is marks(bench)
    store(project, "pii", [{"row_id": "r1", "band": "review"}], [])
    assert marks(bench).masks.tolist() == [0, bits("pii", "review")]


def test_letters_and_words() -> None:
    mask = bits("pii", "review") | bits("near_duplicates") | bits("leakage", "auto")
    assert letters(mask) == "DLp"
    assert spelled(mask) == ["near_duplicates/auto", "near_duplicates/review", "leakage/auto", "pii/review"]
    assert letters(0) == "" and spelled(0) == []


def test_places_are_for_ever() -> None:
    assert "".join(CHECKS.values()) == "EDNCBTGLQPI"
    assert bits("exact_duplicates", "review") == 1 and bits("prompt_lint", "auto") == 1 << 21
