"""The real jobs, run in a real engine."""

import json
import random
from collections.abc import Callable
from itertools import groupby
from pathlib import Path

import polars as pl
import pytest

from studio.engine.client import Engine, Job, Progressed
from studio.errors import Cancelled, InputError, ProjectError
from studio.models.tokenizer import load_tokenizer
from studio.project.project import Project
from studio.sample import model_location
from studio.text.language import languages_of
from studio.view.languages import language_file, read_languages, tell_languages
from studio.view.tokens import count_tokens, read_tokens, token_file
from tests.engine.conftest import SECONDS, Heard


def rows(count: int, words: int) -> list[tuple[str, str]]:
    rng = random.Random(3)
    some = ["casa", "tempo", "caminho", "pessoa", "água", "mundo"]
    return [(f"o que é isto, número {i}?", " ".join(rng.choices(some, k=words))) for i in range(count)]


def test_the_main_job_from_sources_to_a_verified_export(start: Callable[..., Engine], tmp_path: Path) -> None:
    source, root, out = tmp_path / "pairs.jsonl", tmp_path / "project", tmp_path / "out"
    lines = [{"query": f"what is {i % 8}", "positive": f"this is {i % 8}"} for i in range(12)]
    source.write_text("\n".join([*map(json.dumps, lines), "no json"]), "utf-8")
    engine = start()
    heard = Heard()
    imported = engine.run("import_sources", on_progress=heard, root=root, sources=[source]).future.result(SECONDS)
    assert (imported.root, imported.rows, imported.rejected) == (root, 12, 1)
    assert [(part.pairs, part.rejected) for part in imported.sources] == [(12, 1)]
    assert heard.all
    assert engine.open(root).result(SECONDS)["rows"] == 12
    for reused in (False, True):
        checked = engine.run("check", names=["exact_duplicates"]).future.result(SECONDS)
        assert [(found.check, found.reused) for found in checked] == [("exact_duplicates", reused)]
        assert checked[0].edges and checked[0].seconds >= 0
    accepted = engine.run("accept_auto").future.result(SECONDS)
    assert not accepted.unchanged
    assert sum(step.rows for step in accepted.steps if step.action == "drop") == 4
    assert engine.run("accept_auto").future.result(SECONDS).unchanged
    exported = engine.run("export", out=out, fmt="jsonl").future.result(SECONDS)
    assert exported.path == out.resolve() and exported.files.keys() and isinstance(exported.notes, tuple)
    verified = engine.run("verify", out=out).future.result(SECONDS)
    assert verified.sound and {item.code for item in verified.items} >= {"files", "rebuild"}


def test_errors_of_the_jobs_are_the_engines_own(start: Callable[..., Engine], project: Project, tmp_path: Path) -> None:
    engine = start(project.root)
    (tmp_path / "foreign").mkdir()
    (tmp_path / "foreign" / "mine.txt").write_text("mine", "utf-8")
    with pytest.raises(InputError, match="left alone"):
        engine.run("export", out=tmp_path / "foreign").future.result(SECONDS)
    with pytest.raises(InputError, match="not an export"):
        engine.run("verify", out=tmp_path / "foreign").future.result(SECONDS)
    with pytest.raises(InputError):
        engine.run("import_sources", root=tmp_path / "new", sources=["no-such-file"]).future.result(SECONDS)


def test_a_locked_project_is_told(start: Callable[..., Engine], project: Project) -> None:
    engine = start(project.root)
    with project.locked(), pytest.raises(Exception, match="Another process is writing"):
        engine.run("accept_auto").future.result(SECONDS)


def test_tokens_are_cancelled_in_the_middle_and_counted_once(
    start: Callable[..., Engine], make_project: Callable[..., Project]
) -> None:
    project = make_project(rows(4_000, 400))
    assert read_tokens(project) is None
    engine = start(project.root)
    jobs: list[Job] = []
    heard = Heard()

    def cancel_midway(progressed: Progressed) -> None:
        heard(progressed)
        if progressed.step == "count tokens of positive":
            jobs[0].cancel()

    jobs.append(engine.run("tokens", on_progress=cancel_midway))
    with pytest.raises(Cancelled):
        jobs[0].future.result(SECONDS)
    assert all(told.done < 4_000 for told in heard.all if told.step == "count tokens of positive")
    assert not token_file(project).exists()

    again = Heard()
    path = engine.run("tokens", on_progress=again).future.result(SECONDS)
    assert path == token_file(project)
    for step, told in groupby(again.all, lambda told: told.step):
        dones = [(told.done, told.total) for told in told]
        assert (dones[0], dones[-1]) == ((0, 4_000), (4_000, 4_000)), step
        assert dones == sorted(dones)
    counts = read_tokens(project)
    assert counts is not None
    assert counts.schema == {"query": pl.UInt32, "positive": pl.UInt32}
    tokenizer = load_tokenizer(model_location(project.settings.model.id))
    for at in (0, 1_234, 3_999):
        query, positive = project.snapshot["query"][at], project.snapshot["positive"][at]
        assert counts["query"][at] == len(tokenizer.encode(project.settings.prompts.query + query).ids)
        assert counts["positive"][at] == len(tokenizer.encode(positive).ids)

    written = path.stat().st_mtime_ns
    assert engine.run("tokens").future.result(SECONDS) == path
    assert path.stat().st_mtime_ns == written, "what is there is not counted again"


def test_other_prompts_have_other_counts(make_project: Callable[..., Project]) -> None:
    project = make_project([("uma pergunta", "uma resposta")])
    count_tokens(project)
    before = read_tokens(project)
    prompts = project.settings.prompts.model_copy(update={"document": "passage: "})
    project.settings = project.settings.model_copy(update={"prompts": prompts})
    assert read_tokens(project) is None
    count_tokens(project)
    after = read_tokens(project)
    assert before is not None and after is not None
    assert after["positive"][0] > before["positive"][0]
    assert after["query"][0] == before["query"][0]


def test_languages_are_told_and_kept(start: Callable[..., Engine], make_project: Callable[..., Project]) -> None:
    queries = ["onde fica a estação de trem?", "where is the nearest train station?", "1234"]
    project = make_project([(query, "texto") for query in queries])
    assert read_languages(project) is None
    heard = Heard()
    path = start(project.root).run("languages", on_progress=heard).future.result(SECONDS)
    assert path == language_file(project)
    assert heard.all[-1].done == heard.all[-1].total == 3
    told = read_languages(project)
    assert told is not None and told["language"].to_list() == languages_of(queries) == ["pt", "en", None]


def test_languages_are_cancelled_between_blocks(make_project: Callable[..., Project]) -> None:
    project = make_project([(f"pergunta {i}", "texto") for i in range(201)])

    def stop(step: str, done: int, total: int | None) -> None:
        if done:
            raise Cancelled

    with pytest.raises(Cancelled):
        tell_languages(project, stop)
    assert read_languages(project) is None


def test_a_damaged_cache_is_made_again(make_project: Callable[..., Project]) -> None:
    project = make_project([("uma pergunta", "uma resposta")])
    token_file(project).parent.mkdir(parents=True)
    token_file(project).write_bytes(b"PAR1 broken")
    assert read_tokens(project) is None
    count_tokens(project)
    assert read_tokens(project) is not None


def test_a_job_sees_the_settings_of_now(start: Callable[..., Engine], project: Project) -> None:
    engine = start(project.root)
    assert engine.ask("ping").result(SECONDS)
    (project.root / "studio.toml").unlink()
    with pytest.raises(ProjectError, match="no harrier-studio project"):
        engine.run("tokens").future.result(SECONDS)
