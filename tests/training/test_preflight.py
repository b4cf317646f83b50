"""Each fault that wastes a run is found before it starts, with its remedy; a sound run passes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from studio.models.tokenizer import load_tokenizer
from studio.project.ledger import Action, Target
from studio.project.project import Project
from studio.project.settings import ProjectSettings, PromptSettings
from studio.sample import TINY_MODEL, model_location
from studio.training import setup_checks
from studio.training.data import prepare
from studio.training.devices import Device
from studio.training.items import Item
from studio.training.memory import ModelFacts
from studio.training.preflight import CODES, preflight
from studio.training.presets import PRESETS
from studio.training.spec import RunSpec, changed
from tests.conftest import snapshot
from tests.training.test_memory import lengths_of

TINY = PRESETS["tiny"].spec
NAMES = "fatura passaporte matrícula seguro contrato boleto recurso consulta receita entrega".split()
ROWS = [
    {
        "query": f"Onde peço a segunda via de {name} na loja {number}?",
        "positive": f"A {name} da loja {number} sai no balcão {number + 3}, com documento.",
        "split": "test" if number % 6 == 0 else "train",
    }
    for number in range(60)
    for name in NAMES
]
GPU = Device("0", "NVIDIA H200", 0, 139 * 2**30)
HARRIER_270M = ModelFacts(18, 640, 2048, 1024, 256, 268_098_176, 167_772_160, "gemma3_text")


def found(items: list[Item], code: str) -> list[Item]:
    return [item for item in items if item.code == code]


def one(items: list[Item], code: str) -> Item:
    (item,) = found(items, code)
    return item


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> tuple[Project, list[Item]]:
    root = tmp_path_factory.mktemp("sound") / "project"
    project = Project.create(root, snapshot(ROWS), ProjectSettings(name="test"))
    return project, preflight(project, TINY, "first")


def test_a_sound_run_passes_but_for_the_check_that_was_not_run(sound: tuple[Project, list[Item]]) -> None:
    project, items = sound
    assert [item.code for item in items if item.status != "pass"] == ["leakage"]
    assert "not been run" in one(items, "leakage").remedy
    assert {item.code for item in items} == {*CODES} - {"max_length", "data"}
    assert list((project.root / "runs").glob("*")) == []


def test_the_first_row_is_shown_as_the_model_sees_it(sound: tuple[Project, list[Item]]) -> None:
    message = one(sound[1], "columns").message
    assert "query “Instruct: Given a web search query" in message
    assert "Query: Onde peço a segunda via" in message
    assert "positive “A fatura da loja 1" in message


def test_negatives_say_that_accumulation_adds_none(sound: tuple[Project, list[Item]]) -> None:
    item = one(sound[1], "negatives")
    assert item.message.startswith("31 negatives") and "accumulation adds no in-batch negatives" in item.message
    more = setup_checks.negatives(changed(TINY, {"batch.accumulation": 4}))
    assert more.status == "warn" and "cached_mnrl with 128 rows" in more.remedy and "127 negatives" in more.remedy
    assert setup_checks.negatives(changed(TINY, {"devices.count": 2})).status == "warn"
    apart = changed(TINY, {"devices.count": 2, "loss.gather": True, "data.0.negatives": 1})
    assert setup_checks.negatives(apart).message.startswith(f"{32 * 2 * 2 - 1} negatives")
    assert "no negatives from the batch" in setup_checks.negatives(changed(TINY, {"loss.name": "triplet"})).message


def quick(project: Project, spec: RunSpec, monkeypatch: pytest.MonkeyPatch) -> list[Item]:
    """The preflight without loading the model, which other tests do."""
    monkeypatch.setattr(setup_checks, "model", lambda *given: iter(()))
    return preflight(project, spec)


def test_faults_of_data_are_found(
    make_project: Callable[..., Project], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    rows: list[dict[str, Any]] = [
        *ROWS[:40],
        {"query": "   ", "positive": "Texto.", "split": "train"},
        {"query": "Instruct: retrieve\nQuery: já com prompt", "positive": "Outro texto.", "split": "train"},
        {"query": "outra pergunta", "positive": ROWS[0]["positive"].upper(), "split": "train"},
        {"query": "pergunta longa", "positive": "palavra rara e comprida " * 60, "split": "train"},
    ]
    project = make_project(rows)
    items = quick(project, changed(TINY, {"batch.per_device": 16}), monkeypatch)
    assert one(items, "empty").status == "warn" and "1 rows" in one(items, "empty").message
    assert one(items, "double_prompts").status != "pass" and "1 texts" in one(items, "double_prompts").message
    assert "1 of 10 test queries" in one(items, "leakage").message
    assert one(items, "rows").status == "warn" and "BM25" in one(items, "rows").remedy
    assert "positive" in one(items, "truncation").message
    assert all(item.remedy for item in items if item.status != "pass")


def test_rows_that_share_an_answer_find_no_place(
    make_project: Callable[..., Project], monkeypatch: pytest.MonkeyPatch
) -> None:
    same = [{"query": f"pergunta {n}", "positive": "A mesma resposta para todas.", "split": "train"} for n in range(50)]
    project = make_project([*ROWS[:60], *same])
    items = quick(project, changed(TINY, {"batch.per_device": 16}), monkeypatch)
    item = one(items, "batches")
    assert item.status == "warn" and "find no place" in item.message
    random = quick(project, changed(TINY, {"sampler.name": "random"}), monkeypatch)
    assert "takes them for negatives" in one(random, "batches").message


def test_rows_too_few_for_one_batch_fail_with_the_batch_that_fits(
    make_project: Callable[..., Project], monkeypatch: pytest.MonkeyPatch
) -> None:
    project = make_project(ROWS[:60])
    for sampler in ("conflict_aware", "random"):
        spec = changed(TINY, {"batch.per_device": 1000, "sampler.name": sampler})
        items = quick(project, spec, monkeypatch)
        item = found(items, "batches")[0]
        assert item.status == "fail"
        assert "set batch.per_device = 32" in item.remedy
        assert one(items, "negatives").status == "warn"
        assert "No query meets 999 negatives" in one(items, "negatives").message


def test_rows_left_over_by_several_processes_are_not_said_to_share_texts(
    make_project: Callable[..., Project], monkeypatch: pytest.MonkeyPatch
) -> None:
    project = make_project(ROWS[:60])
    spec = changed(TINY, {"batch.per_device": 20, "devices.use": "cpu"})
    assert one(quick(project, spec, monkeypatch), "batches").status == "pass"
    item = one(quick(project, changed(spec, {"devices.count": 2}), monkeypatch), "batches")
    assert item.status == "warn"
    assert "2 processes take full batches only" in item.message
    assert "share texts" not in item.message


def test_rows_that_leak_are_named_and_the_remedy_takes_them_out(
    make_project: Callable[..., Project], monkeypatch: pytest.MonkeyPatch
) -> None:
    leak = {"query": "uma pergunta só do treino", "positive": ROWS[0]["positive"].upper(), "split": "train"}
    project = make_project([*ROWS[:60], leak])
    row = project.snapshot["row_id"][60]
    spec = changed(TINY, {"batch.per_device": 16})
    item = one(quick(project, spec, monkeypatch), "leakage")
    assert item.status == "warn"
    assert "(1 training rows)" in item.message
    assert f"harrier-studio decide --drop {row}`" in item.remedy
    project.ledger.append(Action.DROP, [Target(row)], actor="person", reason="leak")
    assert "letter by letter" in one(quick(project, spec, monkeypatch), "leakage").message


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({}, "pass"),
        ({"optimiser.lr": 1.1e-2}, "warn"),
        ({"optimiser.lr": 500}, "fail"),
        ({"optimiser.lr": 0.3, "optimiser.name": "sgd"}, "pass"),
        ({"optimiser.lr": 500, "schedule.max_steps": 0}, "pass"),
        ({"preset": "first_try", "optimiser.lr": 5.1e-5}, "warn"),
        ({"preset": "", "optimiser.lr": 1e-2}, "pass"),
        ({"preset": "", "optimiser.lr": 4e-2, "lora.r": 8}, "pass"),
    ],
)
def test_an_absurd_learning_rate_is_told(changes: dict[str, Any], status: str) -> None:
    item = setup_checks.learning_rate(changed(TINY, changes))
    assert item.status == status
    assert bool(item.remedy) == (status != "pass")


def test_a_gpu_that_is_not_there_fails_alone(
    make_project: Callable[..., Project], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(setup_checks, "cuda_devices", list)
    items = quick(make_project(ROWS[:60]), changed(TINY, {"batch.per_device": 16, "devices.use": "cuda"}), monkeypatch)
    assert one(items, "devices").status == "fail"
    assert one(items, "memory").status == "warn"
    assert "no CUDA device" in one(items, "memory").message


def test_a_spec_that_contradicts_itself_is_found(sound: tuple[Project, list[Item]], tmp_path: Path) -> None:
    project, _ = sound
    prepared = prepare(project, changed(TINY, {"prompts": PromptSettings().model_dump()}), tmp_path / "data")

    def items(**changes: Any) -> list[Item]:
        spec = changed(TINY, {"model.max_length": 64, **changes})
        return preflight(project, spec, prepared=prepared)

    both = items(
        **{"evaluation.metric": "ndgc@10", "evaluation.times": 0, "loss.margin": 0.3, "model.max_length": 40_000}
    )
    assert one(both, "metric").status == "fail" and "ndcg@10" in one(both, "metric").remedy
    assert one(both, "multiples").status == "fail"
    assert one(both, "loss").status == "fail" and "margin" in one(both, "loss").message
    assert one(both, "max_length").status == "fail"
    other = items(**{"prompts": {"query": "q: ", "document": "", "origin": "custom"}, "evaluation.times": 10_000})
    assert one(other, "prompts").status == "warn" and "ablation" in one(other, "prompts").remedy
    assert "fewer than" in one(other, "multiples").message


def test_what_cannot_be_prepared_is_a_failing_item(make_project: Callable[..., Project]) -> None:
    project = make_project([("a", "b"), ("c", "d")])
    items = preflight(project, TINY, "no name")
    assert one(items, "data").status == "fail" and "held out" in one(items, "data").message
    assert one(items, "name").status == "fail"
    assert found(items, "negatives")


def test_a_model_that_is_not_there_is_a_failing_item(sound: tuple[Project, list[Item]]) -> None:
    items = preflight(sound[0], changed(TINY, {"model.id": "no/such-model"}))
    assert one(items, "model").status == "fail"
    assert found(items, "leakage") and not found(items, "memory")


@pytest.mark.parametrize(
    ("mode", "devices", "status", "said"),
    [
        ("fp16", [GPU], "fail", "65,504"),
        ("fp16", [], "fail", "65,504"),
        ("bf16", [], "warn", "float32"),
        ("auto", [GPU], "pass", "CUDA"),
        ("auto", [], "pass", "the CPU"),
    ],
)
def test_precision_against_model_and_device(mode: str, devices: list[Device], status: str, said: str) -> None:
    spec = changed(PRESETS["first_try"].spec, {"precision.mode": mode})
    item = setup_checks.precision(spec, HARRIER_270M, devices)
    assert item.status == status and said in item.message


def test_the_remedy_for_float16_suits_the_machine() -> None:
    spec = changed(PRESETS["first_try"].spec, {"precision.mode": "fp16"})
    assert "T4" not in setup_checks.precision(spec, HARRIER_270M, []).remedy
    assert "T4" in setup_checks.precision(spec, HARRIER_270M, [GPU]).remedy


def test_memory_fails_with_remedies_where_a_run_cannot_fit(tmp_path: Path) -> None:
    spec = PRESETS["first_try"].spec
    small = Device("0", "NVIDIA T4", 0, 16 * 2**30)
    item = setup_checks.memory(tmp_path, spec, HARRIER_270M, lengths_of(60, 400), [small])
    assert item.status == "fail" and item.remedy.startswith("best first: cached_mnrl")
    assert "not yet measured" in item.message
    assert setup_checks.memory(tmp_path, spec, HARRIER_270M, lengths_of(60, 400), [GPU]).status == "pass"


def test_devices_versions_and_disk(tmp_path: Path, sound: tuple[Project, list[Item]]) -> None:
    cuda = changed(TINY, {"devices.use": "cuda", "devices.count": 2})
    assert setup_checks.devices_of(cuda, []).status == "fail"
    assert "there are 1" in setup_checks.devices_of(cuda, [GPU]).message
    assert setup_checks.devices_of(PRESETS["first_try"].spec, []).status == "warn"
    missing = setup_checks.versions(changed(TINY, {"reporting.to": ["wandb"]}))
    assert missing.status == "fail" and "harrier-studio[reporting]" in missing.remedy
    huge = ModelFacts(1, 1, 1, 1, 1, 10**13, 0, "x")
    assert setup_checks.disk(sound[0], TINY, huge).status == "fail"


def test_a_large_model_is_not_loaded(sound: tuple[Project, list[Item]]) -> None:
    large = ModelFacts(62, 5376, 21504, 4096, 2048, 27_000_000_000, 0, "gemma3_text")
    items = list(setup_checks.model(TINY, large, load_tokenizer(model_location(TINY_MODEL))))
    assert [(item.code, item.status) for item in items] == [("model", "warn"), ("eos", "pass")]
    assert "smoke test" in items[0].remedy
