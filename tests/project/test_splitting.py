import itertools
from collections.abc import Callable

import polars as pl
import pytest

from studio.checks.base import configured, run_checks
from studio.errors import ProjectError, UsageError
from studio.project.ledger import Action, Target
from studio.project.project import Project
from studio.project.rules import apply_auto
from studio.project.splitting import split_project
from tests.checks.test_near_duplicates import LONG

TOPICS = [f"{noun} {place}" for noun, place in itertools.product(
    ["a segunda via da fatura", "o alvará de funcionamento", "a matrícula na creche", "o exame de sangue",
     "o empréstimo de livros", "a poda de árvores", "o passe estudantil", "a coleta de entulho"],
    ["no centro", "na zona norte", "na serra", "no porto", "na vila", "no distrito"],
)]  # fmt: skip


def pairs_about(topics: list[str]) -> list[tuple[str, str]]:
    """Two queries a topic on one passage."""
    rows = []
    for number, topic in enumerate(topics):
        passage = f"Para pedir {topic} procure o balcão {number} com o protocolo {number * 37 % 101} e aguarde a senha."
        rows += [(f"Como peço {topic}?", passage), (f"Quanto custa {topic} hoje?", passage)]
    return rows


def checked(project: Project) -> Project:
    run_checks(project, configured(project.settings))
    return project


def sides(project: Project) -> dict[str, str]:
    rows = project.curated().rows.with_columns(pl.col("split").fill_null("train"))
    return dict(rows.select("row_id", "split").iter_rows())


def test_no_query_passage_or_near_duplicate_stands_on_two_sides(make_project: Callable[..., Project]) -> None:
    rows = pairs_about(TOPICS)
    near = [(f"{query} ", passage.replace("protocolo", "protoclo")) for query, passage in rows[::5]]
    project = checked(make_project([*rows, *near]))
    split_project(project, {"test": 0.2, "validation": 0.1}, seed=3)
    curated = project.curated().rows.with_columns(pl.col("split").fill_null("train"))
    for column in ("query", "positive"):
        assert curated.group_by(column).agg(pl.col("split").n_unique().alias("n"))["n"].max() == 1
    at = sides(project)
    for number in range(len(near)):
        assert at[f"r{len(rows) + number}"] == at[f"r{5 * number}"]
    assert run_leaks(project).filter(pl.col("band") == "auto").is_empty()


def run_leaks(project: Project) -> pl.DataFrame:
    return run_checks(project, configured(project.settings, ["leakage"]))[-1][0].evidence.edges


def test_shares_are_met_and_seeds_decide(make_project: Callable[..., Project]) -> None:
    project = checked(make_project(pairs_about(TOPICS)))
    counts = {name: rows for name, rows, _ in split_project(project, {"test": 0.25}, seed=1).counts()}
    assert abs(counts["test"] - 24) <= 2
    first = sides(project)
    split_project(project, {"test": 0.25}, seed=1)
    assert sides(project) == first
    split_project(project, {"test": 0.25}, seed=2)
    assert sides(project) != first


def test_a_split_is_one_step_of_the_ledger_and_a_new_one_replaces_it(make_project: Callable[..., Project]) -> None:
    project = checked(make_project(pairs_about(TOPICS)))
    split_project(project, {"test": 0.25, "validation": 0.25}, seed=1)
    split_project(project, {"test": 0.1}, seed=1)
    assert len(project.ledger.active()) == 1
    assert set(sides(project).values()) == {"train", "test"}
    project.ledger.undo()
    assert set(sides(project).values()) == {"train"}


def test_every_stratum_gives_its_share(make_project: Callable[..., Project]) -> None:
    short = [(f"Tem {topic}?", f"Sim, {topic} existe e funciona.") for topic in TOPICS]
    long = [(f"Onde fica {topic} agora?", f"{LONG} Trata de {topic}, número {i}.") for i, topic in enumerate(TOPICS)]
    project = checked(make_project([*short, *long]))
    result = split_project(project, {"test": 0.25}, seed=5)
    table = result.strata.pivot("split", index="stratum", values="rows").fill_null(0)
    large = table.filter(pl.col("train") + pl.col("test") >= 20)
    assert large.height >= 2
    shares = large["test"] / (large["train"] + large["test"])
    assert shares.min() >= 0.15  # type: ignore[operator]
    assert shares.max() <= 0.35  # type: ignore[operator]


def test_imported_test_rows_and_their_groups_stay(make_project: Callable[..., Project]) -> None:
    rows = [{"query": q, "positive": p, "split": "test" if i == 0 else "train"} for i, (q, p) in
            enumerate(pairs_about(TOPICS))]  # fmt: skip
    project = checked(make_project(rows))
    split_project(project, {"validation": 0.3}, seed=1)
    at = sides(project)
    assert at["r0"] == "test"
    assert at["r1"] == "train"
    assert list(at.values()).count("test") == 1
    assert "validation" in at.values()


def test_removed_rows_go_with_their_group(make_project: Callable[..., Project]) -> None:
    rows = pairs_about(TOPICS)
    project = checked(make_project([*rows, *rows]))
    apply_auto(project)
    result = split_project(project, {"test": 0.3}, seed=1)
    assert result.rows.height == len(rows)
    assigned = dict(
        project.assigned().with_columns(pl.col("split").fill_null("train")).select("row_id", "split").iter_rows()
    )
    assert all(assigned[f"r{i}"] == assigned[f"r{i + len(rows)}"] for i in range(len(rows)))


def test_rows_a_person_moved_stay(make_project: Callable[..., Project]) -> None:
    project = checked(make_project(pairs_about(TOPICS)))
    project.ledger.append(Action.MOVE, [Target("r4", value="test")], actor="person", reason="by hand")
    split_project(project, {"validation": 0.5}, seed=1)
    assert sides(project)["r4"] == "test"


def test_rows_of_one_source_stay_together(make_project: Callable[..., Project]) -> None:
    rows = [{"query": q, "positive": p, "group": f"doc{i // 8}"} for i, (q, p) in enumerate(pairs_about(TOPICS))]
    project = checked(make_project(rows))
    split_project(project, {"test": 0.3}, seed=1)
    at = sides(project)
    assert all(len({at[f"r{i}"] for i in range(low, low + 8)}) == 1 for low in range(0, len(rows), 8))


@pytest.mark.parametrize("shares", [{}, {"test": 1.0}, {"test": 0.6, "validation": 0.5}, {"train": 0.5}, {"test": 0.0}])
def test_shares_that_cannot_be_are_refused(make_project: Callable[..., Project], shares: dict[str, float]) -> None:
    with pytest.raises(UsageError, match="cannot be split"):
        split_project(make_project([("a", "b")]), shares, seed=1)


def test_without_evidence_it_says_what_to_run(make_project: Callable[..., Project]) -> None:
    with pytest.raises(ProjectError, match="has not looked"):
        split_project(make_project([("a", "b")]), {"test": 0.5}, seed=1)
