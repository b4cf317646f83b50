import random
import subprocess
import sys
from pathlib import Path

import pytest

from studio.sample import sample_data
from studio.selftest.clusters import b_cubed
from studio.selftest.marks import MARKS, Mark
from studio.selftest.measure import Share, flags_of, measure
from studio.selftest.planting import plant
from studio.selftest.rows import Planted, Row, Truth
from studio.selftest.sample import PER_KIND, clean_rows
from studio.selftest.variations import (
    CONTAINED,
    OTHER_PASSAGE,
    OTHER_QUERY,
    SAME_PAIR,
    SAME_PASSAGE,
    SAME_QUERY,
)
from tests.cli.conftest import ROOT, environment

UNSEEN_SEEDS = (2024, 2025)


def planted(seed: int) -> tuple[list[Row], list[Planted]]:
    return plant(*clean_rows(sample_data()), seed, PER_KIND)


def test_the_sample_is_hand_written_enough_and_clean() -> None:
    rows, alternates = clean_rows(sample_data())
    assert len(rows) >= 250
    assert len({row.field for row in rows}) == 6
    assert len({row.query.casefold() for row in rows}) == len(rows)
    assert {answered for _, answered in alternates} <= {row.id for row in rows}
    docs = {split: {row.doc_id for row in rows if row.split == split} for split in ("train", "test")}
    assert docs["test"]
    assert not docs["train"] & docs["test"]


def test_the_files_are_what_the_script_makes(tmp_path: Path) -> None:
    copy = tmp_path / "sample_data"
    copy.mkdir()
    for name in ("make_sample.py", "handwritten"):
        (copy / name).symlink_to(sample_data() / name)
    script = (sample_data() / "make_sample.py").read_text("utf-8")
    (copy / "make_sample.py").unlink()
    (copy / "make_sample.py").write_text(script, "utf-8")
    subprocess.run([sys.executable, copy / "make_sample.py"], check=True, env=environment(), cwd=ROOT)
    for name in ("pairs.jsonl", "answer_key.jsonl"):
        assert (copy / name).read_bytes() == (sample_data() / name).read_bytes()


def test_every_kind_is_planted_and_each_source_serves_once() -> None:
    rows, key = planted(5)
    kinds = {line.kind for line in key}
    marks = {mark.kind for mark in MARKS}
    assert kinds >= {*SAME_PAIR, *SAME_PASSAGE, *SAME_QUERY, *CONTAINED, *OTHER_PASSAGE, *OTHER_QUERY, *marks}
    assert kinds >= {"leaked_pair", "shared_sentence", "template_slots", "template_family", "also_answers"}
    ids = {row.id for row in rows}
    assert all(line.b in ids and (line.a in ids or not line.a) for line in key)
    made = [line.a or line.b for line in key if not line.kind.startswith(("template", "also_answers"))]
    assert len(made) == len(set(made))
    assert planted(5) == (rows, key)
    assert planted(6) != (rows, key)


@pytest.mark.parametrize("name", [*SAME_PASSAGE, *CONTAINED, *OTHER_PASSAGE])
def test_a_variation_changes_the_text_or_says_it_cannot(name: str) -> None:
    vary = {**SAME_PASSAGE, **CONTAINED, **OTHER_PASSAGE}[name]
    texts = [row.passage for row in clean_rows(sample_data())[0]][:80] + ["curto", ""]
    changed = [vary(text, random.Random(i)) for i, text in enumerate(texts)]
    assert all(new is None or new != old for new, old in zip(changed, texts, strict=True) if old)
    assert any(new is not None for new in changed)


@pytest.mark.parametrize("seed", UNSEEN_SEEDS)
def test_the_detectors_are_as_good_as_the_readme_says(seed: int) -> None:
    measured = measure(*planted(seed), natural=flags_of(clean_rows(sample_data())[0]))
    detectors = {result.detector: result for result in measured.detectors}
    for result in detectors.values():
        assert result.precision.hits == result.precision.total
        assert (result.recall.value or 0) >= 0.9
    for name in ("exact_duplicates", "near_queries", "leakage", "quality", "pii", "boilerplate", "prompt_lint"):
        assert detectors[name].recall.value == 1
    for name in ("quality", "pii", "boilerplate", "templates", "prompt_lint", "containment"):
        assert (detectors[name].precision_review.value or 0) >= 0.9
    assert measured.false_removals.hits == 0
    assert all(kind.auto.hits == 0 for kind in measured.kinds if kind.truth in (Truth.DISTINCT, Truth.DISTINCT_QUERY))
    assert measured.passages
    assert measured.passages.precision.value >= 0.99
    assert measured.passages.recall.value >= 0.9


def test_b_cubed_is_what_its_definition_says() -> None:
    # One cluster of four is cut into three and one, and the one is put together with a stranger.
    true = [frozenset(pair) for pair in ("ab", "bc", "cd")]
    predicted = [frozenset(pair) for pair in ("ab", "bc", "de")]
    found = b_cubed("abcdef", predicted, true)
    assert found is not None
    assert found.precision.value == pytest.approx((1 + 1 + 1 + 1 / 2 + 1 / 2) / 5)
    assert found.recall.value == pytest.approx((3 / 4 * 3 + 1 / 4 + 1) / 5)
    assert found.precision.rows == 5
    assert b_cubed("ab", [], []) is None


@pytest.mark.parametrize("mark", MARKS, ids=lambda mark: mark.kind)
def test_a_mark_is_put_into_the_row_and_nowhere_else(mark: Mark) -> None:
    rows = clean_rows(sample_data())[0][:40]
    changed = [mark.change(row, random.Random(i)) for i, row in enumerate(rows)]
    assert any(changed)
    for old, new in zip(rows, changed, strict=True):
        assert new is None or (new.id == old.id and (new.query, new.passage) != (old.query, old.passage))


def test_intervals_are_wilsons() -> None:
    low, high = Share(8, 10).interval
    assert (round(low, 4), round(high, 4)) == (0.4902, 0.9433)
    assert Share(0, 0).value is None
    assert Share(0, 10).interval[0] == 0
