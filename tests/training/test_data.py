"""What is frozen for a run: which rows train, in which columns, and what the test is."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from studio.errors import ConfigError, InputError, ProjectError
from studio.mining.mined import Form, Short, mine
from studio.mining.settings import MiningSettings
from studio.project.ledger import Action, Target
from studio.project.project import Project
from studio.project.settings import ProjectSettings
from studio.project.verdicts import Verdict, judge
from studio.training.data import Prepared, conflicts, judged, load_prepared, prepare, train_frame, train_rows
from studio.training.spec import DataPart, EvaluationPart, LossName, LossPart, RunSpec, SamplerPart, Shape
from tests.conftest import snapshot

MakeProject = Callable[..., Project]
ROWS = [
    {"query": "como pagar a conta", "positive": "no banco", "split": "train"},
    {"query": "onde pago a fatura", "positive": "na lotérica", "split": "train"},
    {"query": "qual o prazo", "positive": "dez dias", "split": "train"},
    {"query": "quanto custa", "positive": "vinte reais", "split": "test"},
    {"query": "até quando", "positive": "até sexta", "split": "test"},
    {"query": "quem atende", "positive": "a recepção", "split": "leaked"},
]


def frozen(project: Project, place: Path, **parts: Any) -> Prepared:
    prepared = prepare(project, RunSpec(**parts), place)
    assert load_prepared(place) == prepared
    return prepared


def texts_of(prepared: Prepared) -> set[tuple[str, str, float]]:
    """The judgements, as texts."""
    test = judged(prepared)
    named = test.qrels.join(test.queries, on="query_id").join(test.corpus, on="passage_id")
    assert named.height == test.qrels.height
    return set(named.select("text", "text_right", "relevance").iter_rows())


def decide(project: Project, action: Action, *targets: Target, actor: str = "person") -> None:
    with project.locked():
        project.ledger.append(action, targets, actor=actor, reason="said")


def test_only_training_rows_train_and_the_evaluation_split_is_the_test(
    make_project: MakeProject, tmp_path: Path
) -> None:
    project = make_project(ROWS)
    told: list[tuple[int, int | None]] = []
    prepared = prepare(project, RunSpec(), tmp_path / "data", lambda step, done, total: told.append((done, total)))
    assert told[0] == (0, 4) and told[-1] == (4, 4)
    part = prepared.datasets[0]
    assert (part.shape, part.columns, part.rows) == (Shape.PAIR, ("query", "positive"), 3)
    assert part.left_out == {"held out for evaluation": 2, "set aside as leaked": 1}
    frame = train_frame(prepared, "project")
    assert frame.columns == ["query", "positive"]
    assert frame["query"].to_list() == [row["query"] for row in ROWS[:3]]
    assert train_rows(prepared, "project").to_list() == ["r0", "r1", "r2"]
    assert (prepared.split, prepared.queries, prepared.passages) == ("test", 2, 6)
    assert texts_of(prepared) == {("quanto custa", "vinte reais", 1.0), ("até quando", "até sexta", 1.0)}
    assert load_prepared(tmp_path / "data") == prepared


def test_the_same_project_and_spec_give_the_same_bytes(make_project: MakeProject, tmp_path: Path) -> None:
    project = make_project(ROWS * 20)
    spec = {"evaluation": EvaluationPart(corpus=4, queries=1)}
    one, other = (frozen(project, tmp_path / name, **spec) for name in "ab")
    assert one.hash == other.hash
    for file in (tmp_path / "a").iterdir():
        assert file.read_bytes() == (tmp_path / "b" / file.name).read_bytes()
    decide(project, Action.DROP, Target("r1"))
    assert frozen(project, tmp_path / "c", **spec).hash != one.hash


def test_a_query_has_all_its_passages_and_what_people_said_answers_it(
    make_project: MakeProject, tmp_path: Path
) -> None:
    rows = [
        *ROWS,
        {"query": "Quanto  custa", "positive": "o preço é vinte", "split": "train"},  # r6: the same query at L2
        {"query": "qual o valor", "positive": "vinte e poucos", "split": "test"},  # r7
        {"query": "e a tarifa", "positive": "não se cobra", "split": "train"},  # r8
        {"query": "e a taxa", "positive": "há uma taxa", "split": "train"},  # r9
    ]
    project = make_project(rows)
    with project.locked():
        judge(project.ledger, "r3", "r7", Verdict.ALSO_ANSWERS)
        judge(project.ledger, "r7", "r3", Verdict.DOES_NOT)
        judge(project.ledger, "r3", "r9", Verdict.PARTLY)
        judge(project.ledger, "r3", "r1", Verdict.ALSO_ANSWERS)
    decide(project, Action.GROUP, Target("r4", value="g"), Target("r8", value="g"))
    decide(project, Action.GROUP, Target("r7", value="h"), Target("r9", value="h"), actor="rule:any@1")
    prepared = frozen(project, tmp_path / "data")
    assert {(query, passage) for query, passage, _ in texts_of(prepared)} == {
        ("quanto custa", "vinte reais"),
        ("quanto custa", "o preço é vinte"),
        ("quanto custa", "vinte e poucos"),
        ("quanto custa", "na lotérica"),  # a passage of another split
        ("até quando", "até sexta"),
        ("até quando", "não se cobra"),
        ("qual o valor", "vinte e poucos"),
    }
    # And a held-out query trains nothing, in whatever split its other rows are.
    assert "r6" not in train_rows(prepared, "project").to_list()
    assert prepared.datasets[0].left_out["the query is held out too"] == 1


def test_the_first_split_with_rows_is_evaluated_and_the_others_do_not_train(
    make_project: MakeProject, tmp_path: Path
) -> None:
    rows = [*ROWS, {"query": "por fora", "positive": "sim", "split": "holdout"}]
    project = make_project(rows)
    prepared = frozen(project, tmp_path / "data", evaluation=EvaluationPart(splits=("none", "holdout", "test")))
    assert (prepared.split, prepared.queries) == ("holdout", 1)
    assert train_rows(prepared, "project").to_list() == ["r0", "r1", "r2"]


def test_without_held_out_rows_it_says_how_to_split(make_project: MakeProject, tmp_path: Path) -> None:
    project = make_project([row | {"split": None} for row in ROWS])
    with pytest.raises(ProjectError, match="harrier-studio split"):
        frozen(project, tmp_path / "data")
    assert not (tmp_path / "data" / "data.json").exists()


def test_without_a_row_to_train_it_says_what_was_left_out(make_project: MakeProject, tmp_path: Path) -> None:
    project = make_project(ROWS[3:])
    with pytest.raises(ProjectError, match=r"2: held out for evaluation; 1: set aside as leaked"):
        frozen(project, tmp_path / "data")


def test_queries_and_corpus_are_drawn_by_seed_with_every_passage_that_answers(
    make_project: MakeProject, tmp_path: Path
) -> None:
    rows = [{"query": f"pergunta {i}", "positive": f"resposta {i}", "split": "train"} for i in range(60)]
    rows += [{"query": f"teste {i}", "positive": f"solução {i}", "split": "test"} for i in range(20)]
    project = make_project(rows)
    small = EvaluationPart(queries=5, corpus=30)
    one = frozen(project, tmp_path / "1", evaluation=small, seed=1)
    test = judged(one)
    assert (one.queries, one.passages) == (5, 30) == (test.queries.height, test.corpus.height)
    assert set(test.qrels["query_id"]) == set(test.queries["query_id"])
    assert set(test.qrels["passage_id"]) <= set(test.corpus["passage_id"])
    assert test.corpus["passage_id"].is_sorted() is False and len(one.notes) == 2
    order = {row_id: place for place, row_id in enumerate(project.snapshot["row_id"])}
    assert [order[row_id] for row_id in test.corpus["passage_id"]] == sorted(
        order[row_id] for row_id in test.corpus["passage_id"]
    )
    other = judged(frozen(project, tmp_path / "2", evaluation=small, seed=2))
    assert other.queries["query_id"].to_list() != test.queries["query_id"].to_list()
    whole = frozen(project, tmp_path / "3", evaluation=EvaluationPart(queries=0, corpus=0))
    assert (whole.queries, whole.passages, whole.notes) == (20, 80, ())
    tight = frozen(project, tmp_path / "4", evaluation=EvaluationPart(corpus=3))
    assert tight.passages == 20  # all that answer


def test_grades_of_an_imported_collection_are_the_relevance(make_project: MakeProject, tmp_path: Path) -> None:
    graded = [
        {"query": "qual", "positive": f"passagem {grade}", "split": "test", "meta": json.dumps({"relevance": grade})}
        for grade in (1, 3, "2")
    ]
    project = make_project([*ROWS[:3], *graded, graded[0] | {"positive": "outra", "meta": '{"relevance": "alta"}'}])
    assert {line[1:] for line in texts_of(frozen(project, tmp_path / "data"))} == {
        ("passagem 1", 1.0),
        ("passagem 3", 3.0),
        ("passagem 2", 2.0),
        ("outra", 1.0),
    }


def test_the_rows_as_imported_without_what_repeats_a_held_out_one(make_project: MakeProject, tmp_path: Path) -> None:
    project = make_project([*ROWS, {"query": "e isto", "positive": "vinte reais!", "split": "train"}])
    decide(project, Action.DROP, Target("r1", keeper_id="r0"))
    decide(project, Action.DROP, Target("r6", keeper_id="r3"), actor="rule:x@1")
    decide(project, Action.EDIT, Target("r2", value=json.dumps({"positive": "onze dias"})))
    curated = frozen(project, tmp_path / "a")
    imported = frozen(project, tmp_path / "b", data=(DataPart(view="imported"),))
    assert train_frame(curated, "project")["positive"].to_list() == ["no banco", "onze dias"]
    assert train_frame(imported, "project")["positive"].to_list() == ["no banco", "na lotérica", "dez dias"]
    assert imported.datasets[0].left_out["removed in favour of a held-out row"] == 1
    # Both are measured alike.
    assert all(judged(curated)[part].equals(judged(imported)[part]) for part in range(3))
    with pytest.raises(ConfigError, match="both as curated and as imported"):
        frozen(project, tmp_path / "c", data=(DataPart(), DataPart(name="raw", view="imported")))


def test_conflicts_are_of_the_texts_that_train(make_project: MakeProject, tmp_path: Path) -> None:
    project = make_project(ROWS)
    with project.locked():
        judge(project.ledger, "r0", "r1", Verdict.ALSO_ANSWERS)
        judge(project.ledger, "r0", "r2", Verdict.PARTLY)
    prepared = frozen(project, tmp_path / "data", sampler=SamplerPart(undecided=False))
    keys = conflicts(prepared).keys(list(train_frame(prepared, "project")))
    assert keys.conflicts_between(range(3)) == [(0, 1), (0, 2)]


def test_rows_with_hard_negatives_become_triplets_or_tuples(make_project: MakeProject, tmp_path: Path) -> None:
    negatives = [["a", "b", "c"], ["na lotérica", " ", "a", "a"], ["dez  dias"], [], [], []]
    rows = [row | {"negatives": texts} for row, texts in zip(ROWS, negatives, strict=True)]
    project = make_project(rows)
    with project.locked():
        judge(project.ledger, "r0", "r1", Verdict.ALSO_ANSWERS)
    plain = frozen(project, tmp_path / "0")
    assert plain.datasets[0].shape is Shape.PAIR and plain.datasets[0].rows == 3
    one = frozen(project, tmp_path / "1", data=(DataPart(negatives=1),))
    assert one.datasets[0].shape is Shape.TRIPLET
    # What equals the positive, is empty or is there twice is no negative.
    assert train_frame(one, "project").rows() == [
        ("como pagar a conta", "no banco", "a"),
        ("onde pago a fatura", "na lotérica", "a"),
    ]
    assert one.datasets[0].left_out["fewer hard negatives than asked for"] == 1
    assert any("2 negatives answer" in note for note in one.notes)
    three = frozen(project, tmp_path / "3", data=(DataPart(negatives=3),))
    assert three.datasets[0].shape is Shape.NTUPLE
    assert train_frame(three, "project").columns == ["query", "positive", "negative_1", "negative_2", "negative_3"]
    with pytest.raises(ConfigError, match="the most that a row has is 3"):
        frozen(project, tmp_path / "4", data=(DataPart(negatives=4),))
    labelled = frozen(
        project, tmp_path / "5", data=(DataPart(negatives=2),), loss=LossPart(name=LossName.ONLINE_CONTRASTIVE)
    )
    assert train_frame(labelled, "project").rows()[:3] == [
        ("como pagar a conta", "no banco", 1),
        ("como pagar a conta", "a", 0),
        ("como pagar a conta", "b", 0),
    ]


def test_asking_for_negatives_where_there_are_none_names_mine(make_project: MakeProject, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="harrier-studio mine") as refused:
        frozen(make_project(ROWS), tmp_path / "data", data=(DataPart(negatives=1),))
    assert "set negatives to 0" in str(refused.value)


def test_scores_and_labels_are_for_the_losses_that_take_them(make_project: MakeProject, tmp_path: Path) -> None:
    scored = [row | {"score": 0.25 * place} for place, row in enumerate(ROWS)]
    labelled = [
        {"query": f"q{i}", "positive": f"p{i}", "split": "train", "label": label} for i, label in enumerate("10")
    ]
    project = make_project([*scored, *labelled, {"query": "só", "positive": "par", "split": "train"}])
    cosent = frozen(project, tmp_path / "a", loss=LossPart(name=LossName.COSENT))
    assert cosent.datasets[0].columns == ("query", "passage", "score")
    assert train_frame(cosent, "project")["score"].to_list() == [0.0, 0.25, 0.5]
    assert cosent.datasets[0].left_out["of another kind than the loss takes"] == 3
    contrastive = frozen(project, tmp_path / "b", loss=LossPart(name=LossName.CONTRASTIVE))
    assert train_frame(contrastive, "project").rows() == [("q0", "p0", 1), ("q1", "p1", 0)]
    assert train_frame(contrastive, "project").schema["label"] == pl.Int64
    pairs = frozen(project, tmp_path / "c")
    assert train_frame(pairs, "project").rows() == [("só", "par")]
    assert pairs.datasets[0].shape is Shape.PAIR


def test_a_held_out_pair_with_a_low_score_or_label_0_is_no_answer(make_project: MakeProject, tmp_path: Path) -> None:
    tests = [
        {"query": "quanto", "positive": "vinte", "label": "1"},
        {"query": "quanto", "positive": "azul", "label": "0"},
        {"query": "onde", "positive": "aqui", "score": 5.0},
        {"query": "onde", "positive": "ontem", "score": 1.5},
        {"query": "nada", "positive": "nunca", "label": "0"},
    ]
    prepared = frozen(make_project([*ROWS[:3], *(row | {"split": "test"} for row in tests)]), tmp_path / "data")
    assert {line[:2] for line in texts_of(prepared)} == {("quanto", "vinte"), ("onde", "aqui")}
    assert prepared.passages == 8 and "held-out queries that no passage answers" in prepared.notes[0]


def test_a_label_that_a_contrastive_loss_cannot_take_is_named(make_project: MakeProject, tmp_path: Path) -> None:
    project = make_project([*ROWS, {"query": "q", "positive": "p", "label": "neutral"}])
    with pytest.raises(InputError, match="row r6"):
        frozen(project, tmp_path / "data", loss=LossPart(name=LossName.CONTRASTIVE))


def test_an_empty_text_does_not_train(make_project: MakeProject, tmp_path: Path) -> None:
    project = make_project(ROWS)
    decide(project, Action.EDIT, Target("r0", value=json.dumps({"positive": " \n"})))
    prepared = frozen(project, tmp_path / "data")
    assert prepared.datasets[0].left_out["an empty text"] == 1 and prepared.rows == 2


def test_at_most_so_many_rows_and_several_datasets(make_project: MakeProject, tmp_path: Path) -> None:
    project = make_project(ROWS)
    (project.root / "extra.jsonl").write_text(
        "\n".join(
            json.dumps(line)
            for line in (
                {"query": "Quanto custa", "positive": "trinta"},  # held out in the project
                {"query": "extra", "positive": "um", "negative": "dois", "split": "train"},
                {"query": "mais", "positive": "três", "negative": "quatro", "split": "test"},
                {"query": "outra", "positive": "cinco", "negative": "seis"},
                {"query": "fim", "positive": "sete", "negative": "oito"},
            )
        ),
        "utf-8",
    )
    prepared = frozen(
        project, tmp_path / "data", rows=2, data=(DataPart(), DataPart(name="extra", kind="file", path="extra.jsonl"))
    )
    assert [part.rows for part in prepared.datasets] == [2, 2] and prepared.rows == 4
    assert train_frame(prepared, "extra").rows() == [("extra", "um"), ("outra", "cinco")]
    assert train_rows(prepared, "extra").to_list() == [None, None]
    assert prepared.datasets[1].left_out == {
        "held out for evaluation": 1,
        "the query is held out too": 1,
        "over the limit of rows": 1,
    }
    margin = DataPart(name="m", kind="file", path="extra.jsonl", negatives=1, loss=LossPart(name=LossName.MNRL))
    assert train_frame(frozen(project, tmp_path / "n", data=(margin,)), "m").columns == [
        "query",
        "positive",
        "negative",
    ]


def test_a_file_with_margins(make_project: MakeProject, tmp_path: Path) -> None:
    project = make_project(ROWS)
    line = {"query": "q", "positive": "p", "negative": "n", "score": 3.5}
    (project.root / "margins.jsonl").write_text(json.dumps(line) + "\n", "utf-8")
    part = DataPart(name="m", kind="file", path="margins.jsonl", negatives=1)
    prepared = frozen(project, tmp_path / "d", data=(part,), loss=LossPart(name=LossName.MARGIN_MSE))
    assert prepared.datasets[0].shape is Shape.MARGIN
    assert train_frame(prepared, "m").rows() == [("q", "p", "n", 3.5)]
    assert train_frame(prepared, "m").columns == ["query", "positive", "negative", "score"]


def test_a_file_that_is_not_there(make_project: MakeProject, tmp_path: Path) -> None:
    project = make_project(ROWS)
    for path, error in (("", ConfigError), ("none.jsonl", InputError)):
        with pytest.raises(error):
            frozen(project, tmp_path / "d", data=(DataPart(name="x", kind="file", path=path),))


@pytest.fixture
def mined_project(make_project: MakeProject) -> Project:
    subjects = ["conta", "fatura", "boleto", "cartão", "prazo", "taxa", "seguro", "limite"]
    rows = [
        {"query": f"como funciona {subject}", "positive": f"{subject} funciona no guichê {i}", "split": "train"}
        for i, subject in enumerate(subjects)
    ]
    return make_project([*rows, {"query": "quanto custa", "positive": "vinte reais", "split": "test"}])


LOOSE = MiningSettings(relative_margin=None, negatives=2, deepest=20)


def test_mined_triplets_tuples_and_scores(mined_project: Project, tmp_path: Path) -> None:
    project = mined_project
    for form in Form:
        mine(project, LOOSE, project.root / "mined" / form, form=form)

    def made(form: Form, name: str, negatives: int, loss: LossName = LossName.MNRL) -> tuple[Prepared, pl.DataFrame]:
        part = DataPart(name="hard", kind="mined", path=f"mined/{form}", negatives=negatives)
        prepared = frozen(project, tmp_path / name, data=(part,), loss=LossPart(name=loss))
        return prepared, train_frame(prepared, "hard")

    lines, triplets = made(Form.TRIPLET, "a", 1)
    assert lines.datasets[0].shape is Shape.TRIPLET
    assert triplets.equals(pl.read_parquet(project.root / "mined/triplet/data/train.parquet"))
    rows = dict(project.snapshot.select("row_id", "query").iter_rows())
    assert [rows[row_id] for row_id in train_rows(lines, "hard")] == triplets["query"].to_list()
    _, both = made(Form.TRIPLET, "b", 2)
    tuples, wide = made(Form.NTUPLE, "c", 2)
    assert tuples.datasets[0].shape is Shape.NTUPLE
    assert both.equals(wide) and wide.equals(pl.read_parquet(project.root / "mined/n-tuple/data/train.parquet"))
    _, first = made(Form.NTUPLE, "d", 1)
    assert first.rows() == wide.select("query", "positive", "negative_1").rows()
    mine(project, LOOSE, project.root / "mined" / Form.SCORED, form=Form.SCORED, fmt="jsonl")
    _, again = made(Form.SCORED, "e", 2)
    assert again.equals(wide)
    scored, passages = made(Form.SCORED, "f", 2, LossName.COSENT)
    assert scored.datasets[0].shape is Shape.SCORED and passages.height == 3 * wide.height
    margins, distilled = made(Form.SCORED, "g", 2, LossName.MARGIN_MSE)
    assert margins.datasets[0].shape is Shape.MARGIN and distilled.height == 2 * wide.height
    scores = {line[:2]: line[2] for line in passages.iter_rows()}
    for query, positive, negative, margin in distilled.iter_rows():
        assert margin == pytest.approx(scores[query, positive] - scores[query, negative])
    with pytest.raises(ConfigError, match="set negatives to 2"):
        made(Form.NTUPLE, "h", 3)
    with pytest.raises(ConfigError, match="uses none"):
        made(Form.NTUPLE, "i", 0)


def test_mined_negatives_follow_later_decisions(mined_project: Project, tmp_path: Path) -> None:
    project = mined_project
    mine(project, LOOSE, project.root / "mined" / "hard")
    data = (DataPart(name="hard", kind="mined", path="mined/hard", negatives=1),)
    before = train_frame(frozen(project, tmp_path / "a", data=data), "hard")
    query, positive, negative = before.row(0)
    ids = {row["positive"]: row["row_id"] for row in project.snapshot.iter_rows(named=True)}
    with project.locked():
        judge(project.ledger, ids[positive], ids[negative], Verdict.ALSO_ANSWERS)
    dropped = next(text for text in before["positive"].unique(maintain_order=True) if text not in (positive, negative))
    decide(project, Action.DROP, Target(ids[dropped]))
    prepared = frozen(project, tmp_path / "b", data=data)
    after = train_frame(prepared, "hard")
    assert (query, positive, negative) not in after.rows()
    assert dropped not in after["positive"].to_list()
    assert prepared.datasets[0].left_out["mined for a row that does not train now"] == 2
    assert any("decisions have changed" in note for note in prepared.notes)


def test_rows_with_fewer_mined_negatives_in_files_of_their_own(mined_project: Project, tmp_path: Path) -> None:
    project = mined_project
    out = project.root / "mined" / "hard"
    settings = LOOSE.model_copy(update={"negatives": 7, "deepest": 7})
    mine(project, settings, out, form=Form.NTUPLE, short=Short.KEEP)
    parts = sorted(file.parent.name for file in out.glob("data/**/*.parquet"))
    assert len(parts) >= 1
    data = (DataPart(name="hard", kind="mined", path="mined/hard", negatives=2),)
    assert frozen(project, tmp_path / "a", data=data).rows == 8


def test_what_is_no_folder_of_this_projects_negatives(mined_project: Project, tmp_path: Path) -> None:
    project = mined_project
    out = project.root / "mined" / "hard"
    data = (DataPart(name="hard", kind="mined", path="mined/hard", negatives=1),)
    with pytest.raises(InputError, match="no folder of mined negatives"):
        frozen(project, tmp_path / "a", data=data)
    mine(project, LOOSE, out)
    manifest = json.loads((out / "manifest.json").read_text("utf-8"))
    (out / "manifest.json").write_text(json.dumps(manifest | {"snapshot": "0" * 32}), "utf-8")
    with pytest.raises(InputError, match="another project"):
        frozen(project, tmp_path / "b", data=data)
    (out / "manifest.json").write_text(json.dumps(manifest), "utf-8")
    pl.read_parquet(out / "data/train.parquet").head(1).write_parquet(out / "data/train.parquet")
    with pytest.raises(InputError, match="cannot be used"):
        frozen(project, tmp_path / "c", data=data)


@pytest.mark.parametrize("name", ["data.json", "train-project.parquet", "conflicts-edges.parquet"])
@pytest.mark.parametrize("how", ["gone", "cut", "changed"])
def test_frozen_data_that_was_damaged_is_refused(
    make_project: MakeProject, tmp_path: Path, name: str, how: str
) -> None:
    frozen(make_project(ROWS), tmp_path / "data")
    file = tmp_path / "data" / name
    whole = file.read_bytes()
    file.unlink()
    if how != "gone":
        file.write_bytes(whole[: len(whole) // 2] if how == "cut" else whole.replace(b"e", b"f"))
    with pytest.raises(ProjectError, match="start the run again"):
        load_prepared(tmp_path / "data")


texts = st.sampled_from([*(f"{letter} palavra" for letter in "abcdefghijklmn"), "A  palavra", "B palavra "])
drawn_rows = st.fixed_dictionaries(
    {
        "query": texts,
        "positive": texts.map(lambda text: f"p {text}"),
        "negatives": st.lists(texts.map(lambda text: f"p {text}"), min_size=1, max_size=3),
        "split": st.sampled_from(["train", "train", "train", None, "test", "dev", "leaked"]),
    }
)


@settings(max_examples=40)
@given(st.lists(drawn_rows, min_size=8, max_size=14), st.lists(st.tuples(*[st.integers(0, 13)] * 2), max_size=3))
def test_whatever_the_rows_training_and_test_are_apart_and_no_answer_is_a_negative(
    rows: list[dict[str, Any]], answers: list[tuple[int, int]]
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        project = Project.create(Path(folder) / "p", snapshot(rows), ProjectSettings(name="drawn"))
        said = [(a, b) for a, b in answers if a != b and max(a, b) < len(rows)]
        for a, b in said:
            judge(project.ledger, f"r{a}", f"r{b}", Verdict.ALSO_ANSWERS)
        try:
            prepared = frozen(project, Path(folder) / "d", data=(DataPart(negatives=1),))
        except (ProjectError, ConfigError):
            return
        frame, test = train_frame(prepared, "project"), judged(prepared)
        held = next(name for name in ("dev", "test") if any(row["split"] == name for row in rows))

        def same(text: str) -> str:
            return " ".join(text.lower().split())

        out = {same(row["query"]) for row in rows if row["split"] in ("test", "dev")}
        assert not out & {same(query) for query in frame["query"]}
        assert {same(text) for text in test.queries["text"]} == {
            same(row["query"]) for row in rows if row["split"] == held
        }
        known = {(same(row["query"]), same(row["positive"])) for row in rows}
        known |= {(same(rows[i]["query"]), same(rows[j]["positive"])) for a, b in said for i, j in ((a, b), (b, a))}
        assert not known & {(same(query), same(negative)) for query, _, negative in frame.iter_rows()}
        found = {(same(query), same(passage)) for query, passage, _ in texts_of(prepared)}
        assert found == {(query, passage) for query, passage in known if query in {q for q, _ in found}}
        assert {query for query, _ in found} == {same(text) for text in test.queries["text"]}
