from __future__ import annotations

import math
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from studio.errors import ConfigError, StudioError, UsageError
from studio.evaluation.checking import check_references, check_systems
from studio.evaluation.naming import OPTIONS
from studio.evaluation.parsing import READY, describe, distinct, name_of, parse, parse_all, read_systems, ready
from studio.evaluation.systems import Dense, Given, Hybrid, Lexical, Named, Reranked, SystemClass
from studio.project.project import Project
from studio.project.settings import ProjectSettings, PromptSettings
from studio.sample import sample_data
from studio.training.spec import LossPart, RunSpec
from tests.conftest import snapshot
from tests.runs_by_hand import trained

_TEXT = st.text(min_size=1, max_size=12)
_MAYBE = st.none() | _TEXT
_DENSE = st.builds(
    Dense,
    model=st.just("") | _TEXT | st.sampled_from(["bm25", "project", "run:x", "rrf", "a b/c, d+e", "x=1", "C:\\m"]),
    prompts=st.sampled_from(["contract", "model", "none", "set"]),
    max_length=st.none() | st.integers(8, 9999),
    dim=st.none() | st.integers(1, 999),
    precision=st.sampled_from(["int8", "binary"]),
    rescore=st.integers(0, 9),
    device=_MAYBE,
    revision=_MAYBE,
    trust_remote_code=st.booleans(),
)
_RUN = st.builds(
    Dense, run=st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,9}", fullmatch=True),
    at=st.sampled_from(["", "baseline", "checkpoint-200"]), dim=st.none() | st.integers(1, 99),
)  # fmt: skip
_POSITIVE = st.floats(0, 1e9, allow_nan=False)
_LEXICAL = st.builds(
    Lexical, words=st.sampled_from(["plain", "portuguese"]), k1=_POSITIVE, b=st.floats(0, 1, allow_nan=False)
)
_PART = st.one_of(_DENSE, _RUN, _LEXICAL)
_HYBRID = st.builds(
    Hybrid, parts=st.lists(_PART, min_size=2, max_size=3).map(tuple), k=st.integers(1, 99), depth=st.integers(1, 200)
) | st.builds(
    Hybrid, parts=st.tuples(_PART, _PART), how=st.just("weighted"),
    weights=st.just(()) | st.tuples(st.floats(0.001, 9), st.floats(0, 9)),
)  # fmt: skip
_RERANKED = st.builds(
    Reranked, first=_PART | _HYBRID, model=_TEXT | st.just("top=3"), top=st.integers(1, 500),
    max_length=st.integers(8, 999),
)  # fmt: skip
_GIVEN = st.builds(Given, path=_TEXT | st.just("a b, c.run"), of_class=st.sampled_from(list(SystemClass)))
_NAME = st.just(None) | st.text(st.characters(exclude_categories=["C", "Z"]), min_size=1, max_size=20)


@given(_PART | _HYBRID | _RERANKED | _GIVEN, _NAME | st.sampled_from(["a: b", 'so "so"', "run:x", "a,b (c)"]))
def test_what_is_described_reads_back(system: Dense | Lexical | Hybrid | Reranked | Given, name: str | None) -> None:
    named = Named(name_of(system) if name is None else name, system)
    read = parse(describe(named))
    assert read == named
    assert parse(describe(read)) == named


@pytest.mark.parametrize(
    ("text", "name", "system"),
    [
        ("bm25", "bm25", Lexical()),
        ("bm25, words=plain, k1=1.2", "bm25 plain k1 1.2", Lexical(words="plain", k1=1.2)),
        ("project", "project's model", Dense()),
        ("a/harrier-tiny,dim=64,precision=int8", "harrier-tiny dim 64 int8",
         Dense(model="a/harrier-tiny", dim=64, precision="int8")),
        ("BAAI/bge-m3,prompts=none", "bge-m3 no prompt", Dense(model="BAAI/bge-m3", prompts="none")),
        ("run:first", "run first", Dense(run="first")),
        ("run:first@checkpoint-20,length=64", "run first@checkpoint-20 64 tokens",
         Dense(run="first", at="checkpoint-20", max_length=64)),
        ("before: run:first@baseline", "before", Dense(run="first", at="baseline")),
        ("rrf(m + bm25,words=plain, k=10)", "rrf m + bm25 plain k 10",
         Hybrid(parts=(Dense(model="m"), Lexical(words="plain")), k=10)),
        ("weighted(m+bm25, weights=.7/.3)", "weighted m + bm25 0.7/0.3",
         Hybrid(parts=(Dense(model="m"), Lexical()), how="weighted", weights=(0.7, 0.3))),
        ("rerank(rrf(m,dim=8 + bm25), BAAI/x, top=50)", "rrf m dim 8 + bm25 reranked by x top 50",
         Reranked(first=Hybrid(parts=(Dense(model="m", dim=8), Lexical())), model="BAAI/x", top=50)),
        ("trec:'my runs/a, b.run',class=dense", "a, b.run",
         Given(path="my runs/a, b.run", of_class=SystemClass.DENSE)),
        ("out/lr=1e-5/c++", "c++", Dense(model="out/lr=1e-5/c++")),
    ],
)  # fmt: skip
def test_systems_are_written_on_one_line(text: str, name: str, system: Dense) -> None:
    assert parse(text) == Named(name, system)


@pytest.mark.parametrize(
    ("text", "place", "why"),
    [
        ("", 1, "a system is missing"),
        ("bm25,foo=3", 6, "`foo` is no option of bm25"),
        ("m,dims=64", 3, "`dims` is no option of a model"),
        ("m,dim=8,dim=9", 9, "given twice"),
        ("m,dim=", 3, "no value"),
        ("my model", 4, "quotes"),
        ("'abc", 1, "not closed"),
        ("mine=m", 1, "`mine=` stands where a system is to begin"),
        ("m)", 2, "does not belong"),
        ("run:", 1, "names nothing"),
        ("run:a@middle", 1, "no place `middle`"),
        ("rrf(bm25)", 1, "two parts"),
        ("rrf(m + bm25", 13, "the text ends there"),
        ("rrf(m + bm25, top=3)", 15, "`top` is no option of a hybrid"),
        ("rrf(rrf(m + n) + bm25)", 5, "a part of a hybrid"),
        ("rerank(bm25, top=3)", 14, "the cross-encoder is missing"),
        ("rerank(trec:a, M)", 8, "what is reranked"),
        ("rerank(rerank(m, M), M)", 8, "what is reranked"),
    ],
)
def test_what_cannot_be_read_is_named_with_its_place(text: str, place: int, why: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse(text)
    assert (caught.value.where or "").endswith(f"character {place}")
    assert why in (caught.value.why or "") and caught.value.remedy


@pytest.mark.parametrize(
    "text",
    ["m,dim=0", "m,precision=int4", "m,rescore=2", "bm25,b=2", "trec:x,class=big", "weighted(m + n, weights=1/x)",
     "weighted(m + n, weights=1/2/3)", "rrf(m + n, weights=1/2)", "run:a,revision=b", "\x1b: bm25",
     '"": bm25', f"{'x' * 201}: bm25"],
)  # fmt: skip
def test_values_that_no_system_can_have_are_refused(text: str) -> None:
    with pytest.raises(UsageError):
        parse(text)


def test_a_system_cannot_contradict_itself() -> None:
    contradictions = (
        (Dense, {"model": "m", "run": "r"}),
        (Dense, {"at": "baseline"}),
        (Hybrid, {"parts": (Lexical(), Lexical()), "how": "weighted", "weights": (0.0, 0.0)}),
        (Hybrid, {"parts": (Lexical(), Lexical()), "how": "weighted", "weights": (-1.0, 2.0)}),
        (Hybrid, {"parts": (Lexical(), Lexical()), "how": "weighted", "weights": (1.0, math.inf)}),
        (Hybrid, {"parts": (Lexical(), Lexical()), "how": "weighted", "k": 5}),
        (Hybrid, {"parts": (Lexical(),)}),
    )
    for made, fields in contradictions:
        with pytest.raises(ValidationError):
            made(**fields)


def test_each_system_gets_a_name_of_its_own() -> None:
    assert [named.name for named in parse_all(["bm25", "a/m", "b/m", "bm25", "x: c/m"])] == ["bm25", "m", "m #2", "x"]
    with pytest.raises(UsageError, match="called 'x'"):
        parse_all(["x: a", "x: b"])
    assert distinct([Named("m", Lexical()), Named("m", Dense(model="a/m"))])[1].name == "m #2"


def test_systems_come_from_a_file_too(tmp_path: Path) -> None:
    file = tmp_path / "systems.toml"
    file.write_text(
        '[[system]]\nname = "mine"\nspec = "run:first,dim=64"\n\n'
        '[[system]]\nkind = "hybrid"\nparts = [{kind = "dense", model = "m"}, {kind = "bm25"}]\nk = 10\n',
        "utf-8",
    )
    assert read_systems(file) == (
        Named("mine", Dense(run="first", dim=64)),
        Named("rrf m + bm25 k 10", Hybrid(parts=(Dense(model="m"), Lexical()), k=10)),
    )


@pytest.mark.parametrize(
    "text",
    ["", "[[system]\n", "system = 3\n", "[[systems]]\nspec = 'bm25'\n", "[[system]]\nspec = 'bm25'\nk = 3\n",
     "[[system]]\nkind = 'bm25'\nwords = 'latin'\n", "[[system]]\nkind = 'dense'\nmodle = 'm'\n", "[[system]]\n",
     "[[system]]\nkind = 'bm25'\nname = 3\n", "system = ['bm25']\n", "[[system]]\nspec = 'bm25,foo=1'\n"],
)  # fmt: skip
def test_a_file_that_is_wrong_is_refused(tmp_path: Path, text: str) -> None:
    file = tmp_path / "systems.toml"
    file.write_text(text, "utf-8")
    with pytest.raises(StudioError) as caught:
        read_systems(file)
    assert isinstance(caught.value, ConfigError | UsageError)
    with pytest.raises(ConfigError):
        read_systems(tmp_path / "none.toml")


def test_ready_made_comparisons_take_the_latest_run_that_left_a_model(tmp_path: Path) -> None:
    project = Project.create(tmp_path / "project", snapshot([("q", "p")]), ProjectSettings(name="test"))
    told = {name: [describe(named) for named in ready(name, project)] for name in READY}
    assert told["default"] == ["bm25", "harrier-tiny", "rrf(harrier-tiny + bm25)"]
    assert told["truncated"] == [f"harrier-tiny{dim}" for dim in ("", ",dim=64", ",dim=32", ",dim=16")]
    spec = RunSpec(prompts=PromptSettings(), loss=LossPart(matryoshka=(128, 96, 32)))
    run = trained(project.root, "first", spec)
    run.model.symlink_to(sample_data() / "harrier-tiny")
    trained(project.root, "without-model")
    trained(project.root, "failed", end="failed")
    told = {name: [describe(named) for named in ready(name, project)] for name in READY}
    assert told["default"] == ["bm25", "harrier-tiny", "run:first", "rrf(run:first + bm25)"]
    assert told["dense"] == ["harrier-tiny", "run:first", "BAAI/bge-m3,prompts=none"]
    assert told["hybrid"] == [f"rrf({dense} + bm25)" for dense in told["dense"]]
    assert told["reranked"] == [f"rerank({hybrid}, BAAI/bge-reranker-v2-m3)" for hybrid in told["hybrid"]]
    assert told["truncated"] == ["run:first", "run:first,dim=96", "run:first,dim=32"]
    assert told["quantised"] == [
        "run:first", "run:first,precision=int8", "run:first,precision=int8,rescore=4",
        "run:first,precision=binary", "run:first,precision=binary,rescore=4",
    ]  # fmt: skip
    with pytest.raises(UsageError, match="ready-made"):
        ready("densest", project)


@pytest.mark.parametrize(
    ("text", "why"),
    [("bm52", "did you mean `bm25`"), ("projet", "did you mean `project`"), ("harrier-tyni", "`harrier-tiny`"),
     ("run:fist", "did you mean `run:first`"), ("rrf(run:fist + bm25)", "did you mean `run:first`"),
     ("default", "--ready default"), ("x:bm25", "a blank after the colon: 'x: bm25'"),
     ("mine: x:run:first", "a blank after the colon"), ("./gone", "a model's folder or hub id"),
     ("rerank(bm25, no-such-reranker)", "There is no model `no-such-reranker`"), ("FILE", "written trec:"),
     ("trec:FILE.gone", "no such run file"), ("run:first@checkpoint-7", "has no `checkpoint-7`"),
     ("run:waits", "has no final model"), ("harrier-tiny,dim=129", "use dim=128 or less"),
     ("run:first,dim=999", "use dim=128"), ("rrf(harrier-tiny,dim=200 + bm25)", "128 dimensions"),
     ("y" * 5000, "There is no model")],
)  # fmt: skip
def test_what_cannot_be_run_is_known_before_anything_is_measured(tmp_path: Path, text: str, why: str) -> None:
    project = Project.create(tmp_path / "project", snapshot([("q", "p")]), ProjectSettings(name="test"))
    spec = RunSpec(prompts=PromptSettings())
    trained(project.root, "first", spec).model.symlink_to(sample_data() / "harrier-tiny")
    trained(project.root, "waits", spec)
    file = tmp_path / "a.run"
    file.write_text("q1 Q0 d1 1 2.0 a\n")
    with pytest.raises(StudioError) as caught:
        check_systems([parse(text.replace("FILE", str(file)))], project)
    assert why in str(caught.value)


def test_what_may_be_run_is_not_refused(tmp_path: Path) -> None:
    project = Project.create(tmp_path / "project", snapshot([("q", "p")]), ProjectSettings(name="test"))
    run = trained(project.root, "first", RunSpec(prompts=PromptSettings()))
    run.model.symlink_to(sample_data() / "harrier-tiny")
    file = tmp_path / "a b.run"
    file.write_text("q1 Q0 d1 1 2.0 a\n")
    fine = ["bm25", "project,prompts=model", "harrier-tiny,dim=128", "run:first,prompts=set", "run:first@baseline",
            "harrier-oss-v1-270m", "no/such-model,dim=9", str(sample_data() / "harrier-tiny"), f'trec:"{file}"',
            "rerank(bm25, BAAI/bge-reranker-v2-m3)"]  # fmt: skip
    check_systems(parse_all(fine), project)
    check_references(["bm25"], parse_all(fine))
    with pytest.raises(UsageError, match="no system `bm52`") as caught:
        check_references(["bm52"], parse_all(fine))
    assert "did you mean `bm25`" in str(caught.value)


def test_the_page_shows_what_there_is() -> None:
    page = (Path(__file__).parents[2] / "docs" / "systems.md").read_text("utf-8")
    tables = [part for part in page.split("\n\n") if part.startswith("|")]
    written, options, comparisons = (
        re.findall(r"^\| (.*?) \| (.*?) \|", part, re.MULTILINE)[2:] for part in tables[:3]
    )
    for examples, _ in written:
        for example in re.findall("`([^`]+)`", examples):
            assert parse(example).system
    named = {option for first, _ in options for option in re.findall("`([a-z0-9]+)=", first)}
    assert named == {option for kind in OPTIONS.values() for option in kind}
    assert [first.strip("`") for first, _ in comparisons] == list(READY)
