"""Hard negatives against sentence-transformers, against an oracle in plain loops, and reason by reason."""

from __future__ import annotations

import hashlib
import random
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from studio.errors import ConfigError, InputError, ProjectError, UsageError
from studio.files import sha256_of
from studio.mining import hard_negatives
from studio.mining import pool as pools
from studio.mining.collection import Collection
from studio.mining.false_negatives import NAME
from studio.mining.hard_negatives import candidates, read
from studio.mining.mined import Form, Short, default_place, mine
from studio.mining.plan import dry_run, plan
from studio.mining.pool import CANDIDATES_SCHEMA, Found, Pool, pool_of, prepared, stored
from studio.mining.relations import judged
from studio.mining.retrieval import embeddings_folder, retrievers_of
from studio.mining.settings import MiningSettings, Reason, configured
from studio.models.load import load_model
from studio.project.evidence import EDGES_SCHEMA, Evidence, StoredEvidence
from studio.project.project import Project
from studio.project.settings import ProjectSettings
from studio.project.verdicts import Verdict, judge
from studio.sample import sample_data
from studio.selftest.sample import clean_rows
from tests.conftest import snapshot

EXCLUSIONS = [reason.value for reason in list(Reason)[: list(Reason).index(Reason.RELATIVE_MARGIN)]]
MakeProject = Callable[..., Project]


def edges(check: str, role: str, *lines: tuple[str, str, str, str | None]) -> StoredEvidence:
    """Evidence of (a_id, b_id, band, rejected_by)."""
    frame = pl.DataFrame(
        [
            {"a_id": a, "b_id": b, "role": role, "check": check, "version": "1", "score": 0.9, "band": band,
             "rejected_by": held, "evidence": "{}"}
            for a, b, band, held in lines
        ],
        schema=EDGES_SCHEMA,
    )  # fmt: skip
    return StoredEvidence(check, "1", {}, "", 0.0, Evidence(edges=frame))


def retrieved(collection: Collection, score: Callable[[str, str], float], lexical: bool = False) -> Found:
    """What an encoder with these scores, and BM25 with the opposite opinion, would bring, all of it."""
    queries, passages = collection.queries["text"].to_list(), collection.passages["text"].to_list()
    lines = [
        (number, place, score(query, passage))
        for number, query in enumerate(queries)
        for place, passage in enumerate(passages)
        if collection.queries["rows"][number]
    ]
    schema = {"query": pl.UInt32, "passage": pl.UInt32, "score": pl.Float32}
    table = pl.DataFrame(lines, schema=schema, orient="row")
    rank = pl.int_range(1, pl.len() + 1, dtype=pl.UInt32).over("query")
    dense = table.sort("query", "score", descending=[False, True], maintain_order=True).with_columns(rank=rank)
    words = table.sort("query", "score", maintain_order=True).with_columns(
        rank=rank, cosine=pl.col("score"), score=1 - pl.col("score")
    )
    own = [(query, passage, score(queries[query], passages[passage])) for query, passage in collection.own.iter_rows()]
    return Found(
        dense,
        words if lexical else None,
        pl.DataFrame(own, schema=schema, orient="row"),
        len(passages),
        {"model": "made up", "revision": "1", "prompts": "", "max_length": 8},
    )


def pool_with(
    project: Project,
    settings: MiningSettings,
    score: Callable[[str, str], float],
    evidence: Iterable[StoredEvidence] = (),
) -> Pool:
    curated = project.curated()
    collection = Collection.of(project, curated)
    found = retrieved(collection, score, settings.miners != "dense")
    log, targets = project.ledger.log(), project.ledger.targets()
    return pool_of(collection, found, settings, evidence, log, targets, curated)


def reasons(pool: Pool, settings: MiningSettings, query: str, cross: pl.DataFrame | None = None) -> dict[str, str]:
    """Passage → its reason, or "chosen"."""
    table = candidates(pool, settings, cross)
    assert table.schema == CANDIDATES_SCHEMA
    number = pool.collection.queries["text"].to_list().index(query)
    lines = table.filter(pl.col("query") == number)
    texts = pool.collection.passages["text"].gather(lines["passage"])
    return dict(zip(texts, lines["rejected_by"].fill_null("chosen"), strict=True))


# Against sentence-transformers -------------------------------------------------------------------------------------


def sample_rows(bare: bool) -> list[dict[str, Any]]:
    """A third of the sample's clean rows, and the other passages that answer some of their queries."""
    rows, alternates = clean_rows(sample_data())
    by_id = {row.id: row for row in rows}
    both = [(row.query, row) for row in rows] + [(by_id[of].query, row) for row, of in alternates if of in by_id]
    both = [(query, row) for query, row in both if row.field in ("bank", "clinic")]
    known = {"row_id": None, "negatives": [], "source": "t:1"}
    return [
        {**known, "row_id": f"r{number}", "query": query, "positive": row.passage,
         "split": None if bare else row.split, "group": None if bare else row.doc_id}
        for number, (query, row) in enumerate(both)
    ]  # fmt: skip


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> dict[bool, Project]:
    root = tmp_path_factory.mktemp("samples")
    made = {
        bare: Project.create(root / str(bare), snapshot(sample_rows(bare)), ProjectSettings(name="sample"))
        for bare in (True, False)
    }
    # Both have the same texts: they are embedded once.
    (root / "embeddings").mkdir()
    for project in made.values():
        embeddings_folder(project).symlink_to(root / "embeddings")
    return made


COMPARED: list[dict[str, Any]] = [
    {"negatives": 4, "deepest": 50, "relative_margin": 0.05},
    {"negatives": 3, "deepest": 60, "relative_margin": 0.02, "skip": 5},
    {"negatives": 2, "deepest": 30, "relative_margin": 0.01, "skip": 2, "min_score": 0.6},
    {"negatives": 4, "deepest": 100, "relative_margin": None, "absolute_margin": 0.04, "max_score": 0.75},
    {"negatives": 5, "deepest": 100, "relative_margin": None, "skip": 20},
]


def theirs(project: Project, settings: MiningSettings, cache: Path) -> dict[str, set[str]]:
    """What sentence-transformers mines of the training rows over all passages, by query."""
    from datasets import Dataset
    from sentence_transformers.util import mine_hard_negatives

    collection = Collection.of(project)
    retriever = retrievers_of(project.settings)[0]
    training = collection.training
    data = Dataset.from_dict(
        {
            "query": collection.queries["text"].gather(training["query"]).to_list(),
            "positive": collection.passages["text"].gather(training["passage"]).to_list(),
        }
    )
    mined = mine_hard_negatives(
        data,
        load_model(retriever.encoder.spec),
        corpus=collection.passages["text"].to_list(),
        anchor_column_name="query",
        positive_column_name="positive",
        num_negatives=settings.negatives,
        range_min=settings.skip,
        range_max=settings.deepest,
        relative_margin=settings.relative_margin,
        absolute_margin=settings.absolute_margin,
        max_score=settings.max_score,
        min_score=settings.min_score,
        query_prompt=retriever.contract.query,
        corpus_prompt=retriever.contract.document,
        output_format="triplet",
        cache_folder=str(cache),
        verbose=False,
    )
    found: dict[str, set[str]] = {}
    for line in mined:
        found.setdefault(line["query"], set()).add(line["negative"])
    return found


@pytest.mark.parametrize("changes", COMPARED)
@pytest.mark.parametrize("bare", [True, False])
def test_the_picks_hold_those_of_sentence_transformers_less_the_excluded_ones(
    samples: dict[bool, Project], changes: dict[str, Any], bare: bool, tmp_path_factory: pytest.TempPathFactory
) -> None:
    project = samples[bare]
    settings = MiningSettings(**changes)
    cache = tmp_path_factory.getbasetemp() / "their-vectors"
    expected = theirs(project, settings, cache)
    pool = prepared(project, settings)
    table = candidates(pool, settings)
    collection = pool.collection
    assert collection.training.group_by("query").len()["len"].max() > 1
    table = table.with_columns(
        q=collection.queries["text"].gather(table["query"]), p=collection.passages["text"].gather(table["passage"])
    )
    ours: dict[str, set[str]] = {}
    for query, passage in table.filter(pl.col("rejected_by").is_null()).select("q", "p").iter_rows():
        ours.setdefault(query, set()).add(passage)
    left_out = set(table.filter(pl.col("rejected_by").is_in(EXCLUSIONS)).select("q", "p").iter_rows())
    assert sum(map(len, expected.values())) > 20
    excluded = 0
    for query, negatives in expected.items():
        remaining = {passage for passage in negatives if (query, passage) not in left_out}
        excluded += len(negatives) - len(remaining)
        assert remaining <= ours.get(query, set())
    if bare:
        assert ours == expected
    else:
        assert excluded > 0


# Reason by reason --------------------------------------------------------------------------------------------------

ROWS: list[dict[str, Any]] = [
    {"query": "q", "positive": "own", "group": "doc"},
    {"query": "other", "positive": "near", "split": "train"},
    {"query": "third", "positive": "contained"},
    {"query": "fourth", "positive": "of a like query"},
    {"query": "fifth", "positive": "of the document", "group": "doc"},
    {"query": "sixth", "positive": "held out", "split": "test"},
    {"query": "seventh", "positive": "set aside", "split": "leaked"},
    {"query": "eighth", "positive": "Q!"},
    {"query": "ninth", "positive": "plain"},
    {"query": "tenth", "positive": "candidate"},
    {"query": "eleventh", "positive": "held apart"},
]
EVIDENCE = [
    edges("near_duplicates", "passage", ("r0", "r1", "review", None), ("r0", "r10", "review", "guard_numbers")),
    edges("containment", "passage", ("r2", "r0", "auto", None)),
    edges("near_queries", "query", ("r0", "r3", "review", None), ("r0", "r8", "review", "guard_words")),
    edges(NAME, "cross", ("r0", "r9", "review", None), ("r0", "r8", "ignore", "cross_encoder")),
]
WIDE = MiningSettings(relative_margin=None, negatives=20, deepest=50)


def scored(**scores: float) -> Callable[[str, str], float]:
    """Scores of passages under every query, .5 where none is given; spaces are underscores."""
    return lambda query, passage: scores.get(passage.replace(" ", "_"), 0.5)


def test_each_exclusion_has_its_reason(make_project: MakeProject) -> None:
    project = make_project(ROWS)
    pool = pool_with(project, WIDE, scored(), EVIDENCE)
    expected = {
        "own": "own_positive",
        "near": "near_duplicate",
        "contained": "near_duplicate",
        "of a like query": "near_query",
        "of the document": "same_source",
        "held out": "evaluation",
        "set aside": "evaluation",
        "Q!": "query_itself",
        "plain": "chosen",
        "candidate": "undecided",
        "held apart": "chosen",
    }
    assert reasons(pool, WIDE, "q") == expected
    allowed = WIDE.model_copy(update={"same_source": "allow"})
    assert reasons(pool, allowed, "q") == expected | {"of the document": "chosen"}


@pytest.mark.parametrize(
    ("verdict", "reason"),
    [
        (Verdict.ALSO_ANSWERS, "also_answers"),
        (Verdict.PARTLY, "partly"),
        (Verdict.SKIP, "undecided"),
        (Verdict.DOES_NOT, "chosen"),
    ],
)
def test_a_judgement_is_the_reason(make_project: MakeProject, verdict: Verdict, reason: str) -> None:
    project = make_project(ROWS)
    for row_id in ("r8", "r9"):
        judge(project.ledger, "r0", row_id, verdict)
    found = reasons(pool_with(project, WIDE, scored(), EVIDENCE), WIDE, "q")
    assert (found["plain"], found["candidate"]) == (reason, reason)


def test_judges_who_differ_leave_it_undecided(make_project: MakeProject) -> None:
    project = make_project(ROWS)
    judge(project.ledger, "r0", "r8", Verdict.DOES_NOT, actor="person:ana")
    judge(project.ledger, "r0", "r8", Verdict.ALSO_ANSWERS, actor="person:bia")
    assert reasons(pool_with(project, WIDE, scored()), WIDE, "q")["plain"] == "undecided"


def test_an_answer_group_is_left_out_through_another_query(make_project: MakeProject) -> None:
    project = make_project([("q", "a"), ("q", "b"), ("w", "b"), ("w", "c"), ("z", "d")])
    pool = pool_with(project, WIDE, scored())
    assert reasons(pool, WIDE, "q") == {"a": "own_positive", "b": "own_positive", "c": "answer_group", "d": "chosen"}
    judge(project.ledger, "r0", "r3", Verdict.DOES_NOT)
    assert reasons(pool_with(project, WIDE, scored()), WIDE, "q")["c"] == "chosen"


def test_does_not_frees_from_guards_but_not_from_evaluation_or_what_is_too_easy(make_project: MakeProject) -> None:
    project = make_project(ROWS)
    for number in (1, 2, 3, 4, 5, 6, 7, 8, 9):
        judge(project.ledger, "r0", f"r{number}", Verdict.DOES_NOT)
    high = {"near": 0.9, "plain": 0.1, "held_apart": 0.9}
    strict = MiningSettings(relative_margin=0.1, max_score=0.6, min_score=0.2, negatives=5, skip=1, deepest=50)
    pool = pool_with(project, strict, scored(**high), EVIDENCE)
    assert reasons(pool, strict, "q") == {
        "own": "own_positive",
        "near": "chosen",
        "contained": "chosen",
        "of a like query": "chosen",
        "of the document": "chosen",
        "held out": "evaluation",
        "set aside": "evaluation",
        "Q!": "query_itself",
        "plain": "min_score",
        "candidate": "chosen",
        "held apart": "relative_margin",
    }
    table = candidates(pool, strict)
    assert set(table.filter((pl.col("query") == 0) & pl.col("rejected_by").is_null())["judged"]) == {"does_not"}


def test_rules_of_score_come_in_order_and_skip_counts_what_passed(make_project: MakeProject) -> None:
    names = ["own", *"abcdefgh"]
    # A query with six positives makes room for as many more in what is retrieved for each.
    project = make_project([(f"q{name}", name) for name in names] + [("many", name) for name in "abcdef"])
    scores = dict(zip(names, (0.8, 0.79, 0.75, 0.7, 0.6, 0.5, 0.4, 0.3, 0.1), strict=True))
    settings = MiningSettings(
        relative_margin=0.05, absolute_margin=0.075, max_score=0.65, min_score=0.2, skip=1, deepest=3, negatives=1
    )
    # At most .76, at most .725, at most .65; then d is skipped, e is taken, f could be, g is too deep, h too easy.
    expected = {
        "own": "own_positive", "a": "relative_margin", "b": "absolute_margin", "c": "max_score", "d": "skipped",
        "e": "chosen", "f": "not_drawn", "g": "deeper", "h": "min_score",
    }  # fmt: skip
    assert reasons(pool_with(project, settings, scored(**scores)), settings, "qown") == expected


def test_skip_counts_passages_that_are_left_out_as_well(make_project: MakeProject) -> None:
    project = make_project([("q", "own"), ("w", "near"), ("x", "b"), ("y", "c")])
    near = edges("near_duplicates", "passage", ("r0", "r1", "auto", None))
    settings = MiningSettings(relative_margin=None, skip=1, negatives=1)
    pool = pool_with(project, settings, scored(own=0.9, near=0.8, b=0.7, c=0.6), [near])
    assert reasons(pool, settings, "q") == {
        "own": "own_positive", "near": "near_duplicate", "b": "chosen", "c": "not_drawn",
    }  # fmt: skip


def test_the_margin_is_against_the_lowest_positive_that_trains(make_project: MakeProject) -> None:
    rows = [("q", "high"), ("q", "low"), {"query": "q", "positive": "lowest", "split": "test"}, ("w", "between")]
    project = make_project(rows)
    settings = MiningSettings(relative_margin=0.0)
    scores = scored(high=0.9, low=0.6, lowest=0.1, between=0.7)
    pool = pool_with(project, settings, scores)
    assert reasons(pool, settings, "q")["between"] == "relative_margin"
    assert reasons(pool, settings, "q")["lowest"] == "own_positive"
    assert candidates(pool, settings).filter(pl.col("query") == 0)["own"].unique().to_list() == pytest.approx([0.6])


def test_a_negative_own_score_moves_the_margin_down(make_project: MakeProject) -> None:
    project = make_project([("q", "own"), ("w", "a"), ("x", "b")])
    settings = MiningSettings(relative_margin=0.1)
    found = reasons(pool_with(project, settings, scored(own=-0.5, a=-0.52, b=-0.56)), settings, "q")
    assert found == {"own": "own_positive", "a": "relative_margin", "b": "chosen"}


def test_mixed_takes_both_in_turn_and_keeps_who_proposed(make_project: MakeProject) -> None:
    project = make_project([(f"q{name}", name) for name in "abcde"])
    settings = MiningSettings(miners="mixed", relative_margin=None, negatives=4)
    # The encoder says a b c d e, BM25 the opposite.
    pool = pool_with(project, settings, scored(a=0.9, b=0.8, c=0.7, d=0.6, e=0.5))
    lines = candidates(pool, settings).filter(pl.col("query") == 0)
    texts = pool.collection.passages["text"].gather(lines["passage"]).to_list()
    assert texts == ["a", "e", "b", "d", "c"]
    assert lines["miner"].to_list() == ["dense", "bm25", "dense", "bm25", "dense"]
    assert lines["rank"].to_list() == [1, 2, 3, 4, 5]
    assert lines["dense_rank"].to_list() == [1, 5, 2, 4, 3]
    assert lines["bm25_rank"].to_list() == [5, 1, 4, 2, 3]
    assert lines["score"].to_list() == pytest.approx([0.9, 0.5, 0.8, 0.6, 0.7])
    words = settings.model_copy(update={"miners": "bm25"})
    lines = candidates(pool_with(project, words, scored(a=0.9, b=0.8, c=0.7, d=0.6, e=0.5)), words)
    lines = lines.filter(pl.col("query") == 0)
    assert pool.collection.passages["text"].gather(lines["passage"]).to_list() == list("edcba")
    assert set(lines["miner"]) == {"bm25"}


def test_the_cross_encoder_reads_what_is_left_and_rejects(
    make_project: MakeProject, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = make_project([("q", "own"), ("q", "own too"), ("w", "a"), ("x", "b"), ("y", "c"), ("z", "d")])
    judge(project.ledger, "r0", "r2", Verdict.DOES_NOT)
    settings = MiningSettings(
        relative_margin=None, cross_encoder="some/model", cross_depth=3, cross_margin=0.5, negatives=3
    )
    pool = pool_with(project, settings, scored(own=0.9, own_too=0.8, a=0.7, b=0.6, c=0.5, d=0.4))
    given = {"own": 5.0, "own too": 2.0, "a": 9.0, "b": 1.6, "c": 1.4}
    seen: list[tuple[str, str]] = []

    def scores(spec: Any, pairs: list[tuple[str, str]], progress: Any) -> np.ndarray:
        seen.extend(pairs)
        return np.array([given.get(passage, 0.0) for _, passage in pairs], np.float32)

    monkeypatch.setattr(hard_negatives, "rerank", scores)
    cross = read(pool, settings)
    assert ("q", "d") not in seen and len(seen) == len(set(seen))
    assert reasons(pool, settings, "q", cross) == {
        "own": "own_positive", "own too": "own_positive", "a": "chosen", "b": "cross_encoder", "c": "chosen",
        "d": "not_read",
    }  # fmt: skip
    lines = candidates(pool, settings, cross).filter((pl.col("query") == 0) & pl.col("cross").is_not_null())
    assert set(lines["cross_own"]) == {2.0}
    said = plan(pool, settings)
    assert any("cross-encoder was not asked" in note for note in said.notes)
    assert read(pool, settings.model_copy(update={"cross_encoder": ""})) is None


# An oracle in plain loops ------------------------------------------------------------------------------------------


def random_project(make_project: MakeProject, seed: int) -> tuple[Project, list[dict[str, Any]], list[StoredEvidence]]:
    chance = random.Random(seed)
    rows = [
        {
            "query": f"query {chance.randrange(8)}",
            "positive": f"passage {chance.randrange(12)}",
            "split": chance.choice([None, None, None, "train", "test", "leaked"]),
            "group": chance.choice([None, None, "doc a", "doc b"]),
        }
        for _ in range(14)
    ]

    def some(count: int) -> list[tuple[str, str, str, str | None]]:
        return [
            (
                f"r{chance.randrange(14)}",
                f"r{chance.randrange(14)}",
                chance.choice(["auto", "review", "ignore"]),
                chance.choice([None, None, "guard_numbers"]),
            )
            for _ in range(count)
        ]

    evidence = [
        edges("near_duplicates", "passage", *some(2)),
        edges("containment", "passage", *some(1)),
        edges("near_queries", "query", *some(1)),
        edges(NAME, "cross", *some(4)),
    ]
    project = make_project(rows)
    for _ in range(6):
        query, passage = chance.sample(range(14), 2)
        judge(project.ledger, f"r{query}", f"r{passage}", chance.choice(list(Verdict)))
    return project, rows, evidence


def oracle(
    project: Project,
    rows: list[dict[str, Any]],
    evidence: list[StoredEvidence],
    score: Callable[[str, str], float],
    settings: MiningSettings,
) -> dict[tuple[str, str], str]:
    """(query, passage) → reason, from the rows alone: texts here are equal only if they are the same."""
    trains = [row["split"] not in ("test", "leaked") for row in rows]
    own = {(row["query"], row["positive"]) for row in rows}
    ends = {f"r{number}": row for number, row in enumerate(rows)}
    # Whose word counts for which texts is tested where it is decided.
    curated = project.curated()
    collection = Collection.of(project, curated)
    numbers = judged(collection, project.ledger.log(), project.ledger.targets(), curated)
    said = {
        (collection.queries["text"][query], collection.passages["text"][passage]): state
        for query, passage, state, _ in numbers.iter_rows()
    }
    groups = dict(curated.rows.select("row_id", "group_id").iter_rows())
    near, like, search = set(), set(), set()
    for item in evidence:
        for line in item.evidence.edges.iter_rows(named=True):
            a, b = ends[line["a_id"]], ends[line["b_id"]]
            if line["band"] == "ignore" or (line["rejected_by"] and item.check != NAME):
                continue
            if item.check == NAME:
                search.add((a["query"], b["positive"]))
            else:
                (like if item.check == "near_queries" else near).update({(line["a_id"], line["b_id"])})
    near_pairs = {frozenset((ends[a]["positive"], ends[b]["positive"])) for a, b in near}
    like_pairs = {frozenset((ends[a]["query"], ends[b]["query"])) for a, b in like}
    positives = Counter(row["query"] for row, trained in zip(rows, trains, strict=True) if trained)
    found = {}
    for query in {row["query"] for row, trained in zip(rows, trains, strict=True) if trained}:
        least = min(
            np.float32(score(query, row["positive"]))
            for row, trained in zip(rows, trains, strict=True)
            if trained and row["query"] == query
        )
        sources = {row["group"] for row in rows if row["query"] == query and row["group"]}
        mine = {passage for q, passage in own if q == query}
        ordered = sorted(
            dict.fromkeys(row["positive"] for row in rows),
            key=lambda passage: (
                -np.float32(score(query, passage)),
                [row["positive"] for row in rows].index(passage),
            ),
        )
        passed = taken = 0
        for passage in ordered[: settings.deepest + max(positives.values())]:
            value = np.float32(score(query, passage))
            having = [number for number, row in enumerate(rows) if row["positive"] == passage]
            verdict = said.get((query, passage))
            cleared = verdict == "does_not" and (query, passage) not in own
            too_near = (
                settings.relative_margin is not None
                and float(value) > float(least) - abs(float(least)) * settings.relative_margin
            )
            too_far = settings.min_score is not None and value < settings.min_score
            trained_own = any(trains[number] and rows[number]["query"] == query for number in having)
            if not too_near and not too_far and not trained_own:
                passed += 1
            asking = [f"r{number}" for number, row in enumerate(rows) if row["query"] == query]
            guards = {
                "answer_group": bool({groups[a] for a in asking} & {groups[f"r{number}"] for number in having}),
                "near_duplicate": any(frozenset((p, passage)) in near_pairs for p in mine if p != passage),
                "near_query": any(
                    frozenset((query, rows[number]["query"])) in like_pairs
                    for number in having
                    if rows[number]["query"] != query
                ),
                "same_source": bool(sources & {rows[number]["group"] for number in having}),
                "undecided": (query, passage) in search or verdict in ("skipped", "disputed"),
                "relative_margin": too_near,
            }
            checks = {
                "own_positive": (query, passage) in own,
                "evaluation": any(rows[number]["split"] == "test" for number in having)
                or not any(trains[number] for number in having),
                "also_answers": verdict == "also_answers",
                "partly": verdict == "partly",
                **{name: on and not cleared for name, on in guards.items()},
                "min_score": too_far,
                "skipped": passed <= settings.skip and not cleared,
                "deeper": passed > settings.deepest,
                "not_drawn": taken >= settings.negatives,
            }
            found[query, passage] = next((name for name, on in checks.items() if on), "chosen")
            taken += found[query, passage] == "chosen"
    return found


@pytest.mark.parametrize("seed", range(40))
def test_every_candidate_has_the_oracles_reason(make_project: MakeProject, seed: int) -> None:
    project, rows, evidence = random_project(make_project, seed)
    chance = random.Random(1000 + seed)
    scores: dict[tuple[str, str], float] = {}

    def score(query: str, passage: str) -> float:
        return scores.setdefault((query, passage), round(chance.uniform(-0.2, 1), 2))

    settings = MiningSettings(
        relative_margin=chance.choice([None, 0.0, 0.1]),
        min_score=chance.choice([None, 0.2]),
        skip=chance.choice([0, 2]),
        deepest=chance.choice([4, 50]),
        negatives=2,
    )
    pool = pool_with(project, settings, score, evidence)
    table = candidates(pool, settings)
    texts = zip(
        pool.collection.queries["text"].gather(table["query"]),
        pool.collection.passages["text"].gather(table["passage"]),
        table["rejected_by"].fill_null("chosen"),
        strict=True,
    )
    ours = {(query, passage): reason for query, passage, reason in texts}
    assert ours == oracle(project, rows, evidence, score, settings)


# Drawing, settings, plan -------------------------------------------------------------------------------------------


def test_a_draw_depends_on_the_seed_and_the_query_only(make_project: MakeProject, tmp_path: Path) -> None:
    rows = [(f"query {number}", f"passage {number}") for number in range(30)]
    settings = MiningSettings(relative_margin=None, sampling="random", negatives=3)

    def picks(rows: list[tuple[str, str]], settings: MiningSettings, place: str) -> dict[str, set[str]]:
        project = Project.create(tmp_path / place, snapshot(rows), ProjectSettings(name="test"))
        pool = pool_with(project, settings, lambda query, passage: hash((query, passage)) % 1000 / 1000)
        return {
            query: {passage for passage, reason in reasons(pool, settings, query).items() if reason == "chosen"}
            for query, _ in rows
        }

    all_of_them = picks(rows, settings, "all")
    assert all_of_them == picks(rows, settings, "all")
    assert all(len(chosen) == 3 for chosen in all_of_them.values())
    assert len({frozenset(chosen) for chosen in all_of_them.values()}) > 20
    assert picks(rows, settings.model_copy(update={"seed": 1}), "all") != all_of_them
    # Another row whose passage is out of the question for a query leaves that query's draw as it was.
    more = [*rows, ("the test's", "held out")]
    project = Project.create(
        tmp_path / "more",
        snapshot([*({"query": q, "positive": p} for q, p in rows), {"query": "x", "positive": "y", "split": "test"}]),
        ProjectSettings(name="test"),
    )
    pool = pool_with(project, settings, lambda query, passage: hash((query, passage)) % 1000 / 1000)
    for query, _ in more[:-1]:
        found = {passage for passage, reason in reasons(pool, settings, query).items() if reason == "chosen"}
        assert found == all_of_them[query]


def test_settings_are_checked_and_none_takes_a_rule_away() -> None:
    settings = ProjectSettings(name="test", mining={"negatives": 2, "max_score": 0.9})
    assert configured(settings).negatives == 2
    assert configured(settings, {"max_score": "none", "relative_margin": "none"}).max_score is None
    for changes in ({"marginn": 1}, {"relative_margin": 2}, {"skip": 99}, {"cross_encoder": "x", "cross_depth": 1}):
        with pytest.raises(ConfigError):
            configured(settings, changes)


def test_the_plan_counts_what_each_margin_would_leave(make_project: MakeProject) -> None:
    project = make_project([(f"q{name}", name) for name in "abcdef"])
    settings = MiningSettings(relative_margin=0.3, negatives=2)
    pool = pool_with(project, settings, scored(a=1.0, b=0.99, c=0.97, d=0.93, e=0.85, f=0.75))
    said = plan(pool, settings)
    assert [line.margin for line in said.curve] == [0.0, 0.02, 0.05, 0.1, 0.2, 0.3]
    assert [line.chosen for line in said.curve] == [False] * 5 + [True]
    for line in said.curve:
        table = candidates(pool, settings.model_copy(update={"relative_margin": line.margin}))
        taken = table.filter(pl.col("rejected_by").is_null()).group_by("query").len()["len"]
        assert (line.negatives, line.some) == (int(taken.sum()), taken.len())
        assert line.enough == int((taken >= 2).sum())
        assert line.rejected == pytest.approx((table["rejected_by"] == "relative_margin").sum() / 30)
    assert said.curve[-1].negatives == said.negatives
    assert sum(count for _, count in said.reasons) + said.negatives == said.candidates == 36
    assert {example.reason for example in said.examples} == {"own_positive", "relative_margin"}
    bare = plan(pool, settings.model_copy(update={"relative_margin": None}))
    assert (bare.curve[0].margin, bare.curve[0].chosen, bare.curve[0].rejected) == (None, True, 0.0)
    assert {example.reason for example in bare.examples} == {"chosen", "own_positive", "not_drawn"}


# Written -----------------------------------------------------------------------------------------------------------

HOSTILE = [
    ("\x1b[31mvermelho\u202e [bold]", "\x9b2Jlimpa <eos> \u2028 fim"),
    ("Instruct: x\nQuery: prazo", "Dez dias. \u0000 e mais"),
    ('{"a": "b"}', "x" * 20_000),
    ("=1+1", "👩‍👩‍👧 ﷽ " * 50),
    ("prazo da fatura", "a fatura vence dia dez"),
    ("segunda via", "peça a segunda via no balcão"),
    ("segunda via", "a segunda via também sai no aplicativo"),
    ("horário", "abrimos às oito"),
    ("endereço", "rua das flores, 12"),
    ("telefone", "ligue para nós"),
]
LOOSE = MiningSettings(relative_margin=None, negatives=3, deepest=20)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Vectors drawn from the text's hash in the place of a model's."""

    def vectors(encoder: Any, texts: Iterable[str], prompt: str, store: Path, progress: Any) -> np.ndarray:
        seeds = [int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") for text in texts]
        drawn = np.array([np.random.default_rng(seed).normal(size=16) for seed in seeds], np.float32)
        return drawn / np.linalg.norm(drawn, axis=1, keepdims=True)

    monkeypatch.setattr("studio.mining.retrieval.embed", vectors)


def written(out: Path) -> dict[str, str]:
    return {file.relative_to(out).as_posix(): sha256_of(file) for file in out.rglob("*") if file.is_file()}


@pytest.mark.usefixtures("quick")
def test_triplets_are_written_with_their_texts_untouched_and_where_they_come_from(
    make_project: MakeProject, tmp_path: Path
) -> None:
    from datasets import load_dataset

    project = make_project(HOSTILE)
    out = tmp_path / "out"
    done = mine(project, LOOSE, out)
    data = pl.read_parquet(out / "data/train.parquet")
    assert data.columns == ["query", "positive", "negative"] and data.height == 30
    sidecar = pl.read_parquet(out / "negatives.parquet")
    texts = dict(project.snapshot.select("row_id", "positive").iter_rows())
    queries = dict(project.snapshot.select("row_id", "query").iter_rows())
    assert sidecar["line"].to_list() == list(range(30))
    for line, (query, positive, negative) in zip(sidecar.iter_rows(named=True), data.iter_rows(), strict=True):
        assert texts[line["positive_id"]] == positive and queries[line["positive_id"]] == query
        assert texts[line["passage_id"]] == negative and queries[line["query_id"]] == query
        assert negative not in [p for q, p in HOSTILE if q == query]
        assert line["model"] == "harrier-tiny" and line["revision"] and line["prompts"]
    # Every candidate is in one of the two tables.
    rejected = pl.read_parquet(out / "rejected.parquet")
    pairs = pl.concat(
        [table.select("query_id", "passage_id") for table in (sidecar.unique(["query_id", "passage_id"]), rejected)]
    )
    assert pairs.height == pairs.unique().height == done.plan.candidates
    assert rejected["rejected_by"].null_count() == 0
    # Same project, same bytes, another place; and in its own place again.
    assert done.manifest["files"] == mine(project, LOOSE, tmp_path / "again").manifest["files"]
    before = written(out)
    mine(project, LOOSE, out)
    assert written(out) == before
    assert {path: entry["sha256"] for path, entry in done.manifest["files"].items()} == {
        path: digest for path, digest in before.items() if path != "manifest.json"
    }
    assert load_dataset(str(out), cache_dir=str(tmp_path / "cache"))["train"].num_rows == 30


@pytest.mark.usefixtures("quick")
def test_jsonl_holds_the_same_rows(make_project: MakeProject, tmp_path: Path) -> None:
    project = make_project(HOSTILE)
    mine(project, LOOSE, tmp_path / "a")
    mine(project, LOOSE, tmp_path / "b", fmt="jsonl")
    rows = pl.read_ndjson(tmp_path / "b/data/train.jsonl")
    assert rows.equals(pl.read_parquet(tmp_path / "a/data/train.parquet"))


@pytest.mark.usefixtures("quick")
def test_n_tuples_and_scored_lists_have_a_line_a_training_row(make_project: MakeProject, tmp_path: Path) -> None:
    project = make_project(HOSTILE)
    mine(project, LOOSE, tmp_path / "triplet")
    triplets = pl.read_parquet(tmp_path / "triplet/data/train.parquet")
    expected = triplets.group_by("query", "positive", maintain_order=True).agg("negative")
    mine(project, LOOSE, tmp_path / "n", form=Form.NTUPLE)
    tuples = pl.read_parquet(tmp_path / "n/data/train.parquet")
    assert tuples.columns == ["query", "positive", "negative_1", "negative_2", "negative_3"]
    together = tuples.select("query", "positive", pl.concat_list(tuples.columns[2:]).alias("negative"))
    assert together.equals(expected)
    mine(project, LOOSE, tmp_path / "s", form=Form.SCORED)
    lists = pl.read_parquet(tmp_path / "s/data/train.parquet")
    assert lists["passages"].to_list() == [[p, *n] for p, n in expected.select("positive", "negative").iter_rows()]
    assert lists["labels"].to_list() == [[1, 0, 0, 0]] * 10
    sidecar = pl.read_parquet(tmp_path / "s/negatives.parquet")
    for line, place, score, own in sidecar.select("line", "place", "score", "positive_score").iter_rows():
        assert lists["scores"][line][place] == pytest.approx(score)
        assert lists["scores"][line][0] == pytest.approx(own)


@pytest.mark.usefixtures("quick")
def test_rows_with_too_few_are_counted_and_kept_if_asked(make_project: MakeProject, tmp_path: Path) -> None:
    # Rows of one document: the last three have two passages to choose from, the others four or five.
    rows = [
        {"query": f"pergunta {n}", "positive": f"resposta {n}", "group": "doc" if n > 2 else None} for n in range(7)
    ]
    project = make_project(rows)
    settings = MiningSettings(relative_margin=None, negatives=5, deepest=20)
    dropped = mine(project, settings, tmp_path / "drop", form=Form.NTUPLE)
    assert dropped.manifest["counts"]["rows_left_out"] == 4
    assert any("4 of 7 training rows have fewer than 5 negatives" in note for note in dropped.notes)
    assert pl.read_parquet(tmp_path / "drop/data/train.parquet").height == 3
    rejected = pl.read_parquet(tmp_path / "drop/rejected.parquet")
    assert (rejected["rejected_by"] == "short").sum() == 12
    kept = mine(project, settings, tmp_path / "keep", form=Form.NTUPLE, short=Short.KEEP)
    poor = pl.read_parquet(tmp_path / "keep/data/short_3/train.parquet")
    assert (poor.height, poor.columns[-1]) == (4, "negative_3")
    assert kept.manifest["counts"]["rows_left_out"] == 0
    sidecar = pl.read_parquet(tmp_path / "keep/negatives.parquet")
    assert sidecar.group_by("file", maintain_order=True).len().rows() == [
        ("data/train.parquet", 15), ("data/short_3/train.parquet", 12),
    ]  # fmt: skip
    lonely = settings.model_copy(update={"min_score": 1.5})
    with pytest.raises(ProjectError, match="No candidate is left"):
        mine(project, lonely, tmp_path / "none")
    with pytest.raises(ProjectError, match="No row has 9"):
        mine(project, settings.model_copy(update={"negatives": 9}), tmp_path / "none", form=Form.NTUPLE)
    assert not (tmp_path / "none").exists()


@pytest.mark.usefixtures("quick")
def test_rows_without_any_negative_become_pairs_of_their_own(make_project: MakeProject, tmp_path: Path) -> None:
    rows = [{"query": f"pergunta {n}", "positive": f"resposta {n}", "group": "doc" if n else None} for n in range(4)]
    rows += [{"query": "sozinha", "positive": "x", "group": "doc"}, {"query": "sozinha", "positive": "resposta 0"}]
    project = make_project(rows)
    settings = MiningSettings(relative_margin=None, negatives=1)
    done = mine(project, settings, tmp_path / "out", short=Short.KEEP)
    assert done.manifest["files"]["data/short_0/train.parquet"]["rows"] == 2
    pairs = pl.read_parquet(tmp_path / "out/data/short_0/train.parquet")
    assert pairs.rows() == [("sozinha", "x"), ("sozinha", "resposta 0")]


@pytest.mark.usefixtures("quick")
def test_a_place_with_anything_else_is_left_alone(make_project: MakeProject, tmp_path: Path) -> None:
    project = make_project(HOSTILE)
    out = tmp_path / "out"
    mine(project, LOOSE, out)
    (out / "mine.txt").write_text("precious")
    with pytest.raises(InputError, match="something else"):
        mine(project, LOOSE, out)
    with pytest.raises(InputError, match="something else"):
        mine(project, LOOSE, project.root)
    assert (out / "mine.txt").read_text() == "precious" and (out / "data/train.parquet").exists()
    with pytest.raises(UsageError):
        default_place(project.root, LOOSE, Form.TRIPLET, "../elsewhere")


@pytest.mark.usefixtures("quick")
def test_an_export_is_not_taken_for_mined_negatives_nor_the_other_way_round(
    make_project: MakeProject, tmp_path: Path
) -> None:
    from studio.export.formats import Format
    from studio.export.project import export_project

    project = make_project(HOSTILE)
    export_project(project, tmp_path / "export", Format.PARQUET)
    with pytest.raises(InputError):
        mine(project, LOOSE, tmp_path / "export")
    mine(project, LOOSE, tmp_path / "mined")
    with pytest.raises(InputError):
        export_project(project, tmp_path / "mined", Format.PARQUET)


@pytest.mark.usefixtures("quick")
def test_labelled_rows_are_refused(make_project: MakeProject, tmp_path: Path) -> None:
    project = make_project([{"query": "a", "positive": "b", "label": "0"}, {"query": "c", "positive": "d"}])
    with pytest.raises(ProjectError, match="labels"):
        mine(project, LOOSE, tmp_path / "out")


# What is stored ----------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("quick")
def test_what_was_retrieved_is_used_again_until_rows_or_depth_change(
    make_project: MakeProject, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = make_project(HOSTILE)
    retriever = retrievers_of(project.settings)[0]
    shallow = MiningSettings(relative_margin=None, negatives=2, deepest=4)
    collection = Collection.of(project)
    assert stored(project, collection, shallow, retriever) is None
    deep = dry_run(project, LOOSE)
    assert stored(project, collection, MiningSettings(miners="mixed", deepest=4), retriever) is None
    with monkeypatch.context() as patched:
        patched.setattr(pools, "retrieve", lambda *_: pytest.fail("asked again"))
        assert dry_run(project, LOOSE) == deep
        table = candidates(prepared(project, shallow), shallow)
    assert table["rank"].max() == 6
    mixed = MiningSettings(miners="mixed", relative_margin=None, deepest=20)
    assert {"dense", "bm25"} >= set(candidates(prepared(project, mixed), mixed)["miner"])
    folders = list((project.root / ".studio/mining").iterdir())
    assert len(folders) == 1
    (folders[0] / "dense.parquet").write_bytes(b"damaged")
    assert dry_run(project, LOOSE) == deep
    # The lexical table is there still and serves what needs the encoder only.
    assert dry_run(project, shallow).candidates == table.height
