"""Reports tell the same figures in every form, and nothing that comes from data can steer whoever reads them."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from xml.etree import ElementTree

import numpy as np
import polars as pl
import pytest

from studio.errors import UsageError
from studio.evaluation.drawing import Interval, Point, columns, curves, intervals
from studio.evaluation.markdown import markdown
from studio.evaluation.page import page
from studio.evaluation.reporting import Report, as_json, report
from studio.evaluation.results import Evaluation, Operations
from studio.evaluation.sets import About, SimilaritySet
from studio.evaluation.systems import Dense, Lexical, SystemClass
from studio.evaluation.tables import cost_grid, heading, metrics_grid, slices_grid, systems_grid, verdicts
from studio.evaluation.wording import numbered, shortened
from tests.evaluation.judging import evaluation, ranked, retrieval_set, system

HOSTILE = "<script>alert(1)</script>\x1b[2J\u202e'\"&|`*{{ 7*7 }}"
QUERIES = 24
PASSAGES = [f"p{n:02}" for n in range(30)]
COST = Operations("cpu", 0.5, 1200.0, 0.004, 0.0061, 123_456, 64, 300_000_000, (1, 20), (4, 300), (30, 24))


def _evaluation(name: str = "mine") -> Evaluation:
    """A dense reference, the same model cut, a better one with a hostile name, BM25, and one that could not be run."""
    rng = np.random.default_rng(5)
    qrels = {f"q{n:02}": {PASSAGES[n]: 1.0} for n in range(QUERIES)}
    attributes = pl.DataFrame({"query_id": list(qrels), "language": ["pt", HOSTILE] * (QUERIES // 2)})
    evaluated = retrieval_set(qrels, PASSAGES, attributes, leaked={f"q{n:02}": HOSTILE for n in range(6)})
    judged = evaluated.judged
    texts = judged.queries.with_columns(text=pl.lit(HOSTILE) + pl.col("text"))
    corpus = judged.corpus.with_columns(text=pl.lit(HOSTILE) + pl.col("text"))
    evaluated = replace(evaluated, judged=judged._replace(queries=texts, corpus=corpus),
                        about=About(HOSTILE, HOSTILE, trained_on=HOSTILE, notes=(HOSTILE,)))  # fmt: skip

    def lists(share: float) -> list[list[str]]:
        """The answer first in a share of the queries, else fifth."""
        found = []
        for n in range(QUERIES):
            others = [p for p in PASSAGES if p != PASSAGES[n]]
            at = 0 if rng.random() < share else 4
            found.append([*others[:at], PASSAGES[n], *others[at:8]])
        return found

    tiny, cut = Dense(model="tiny"), Dense(model="tiny", dim=16)
    made = [
        system(evaluated, "tiny", ranked(evaluated, lists(0.1), 10), system=tiny, operations=COST),
        system(evaluated, "tiny dim 16", ranked(evaluated, lists(0.0), 10), system=cut),
        system(evaluated, name, ranked(evaluated, lists(0.9), 10), system=Dense(run="r"), notes=(HOSTILE,),
               described={"model": HOSTILE}),
        system(evaluated, "bm25", ranked(evaluated, lists(0.5), 10), of_class=SystemClass.LEXICAL, system=Lexical()),
        replace(system(evaluated, "gone"), error=HOSTILE),
    ]  # fmt: skip
    return evaluation(evaluated, *made)


@pytest.fixture(scope="module")
def told() -> Report:
    return report(_evaluation(HOSTILE), by=("length", "language"), pair=(HOSTILE, "tiny"))


class _Page(HTMLParser):
    """Collects what a browser would see."""

    VOID = frozenset({"meta", "br", "hr", "img", "link", "input"})

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.text: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert not self._open

    def handle_starttag(self, tag, attrs) -> None:
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]
        if tag not in self.VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag, attrs) -> None:
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]

    def handle_endtag(self, tag) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data) -> None:
        self.text.append(data)


def test_the_page_is_whole_by_itself_and_text_from_data_stays_text(told) -> None:
    made = page([told, told])
    found = _Page(made)
    assert "script" not in found.tags and not {"link", "img", "iframe", "object"} & set(found.tags)
    assert not [name for name, _ in found.attributes if name.startswith("on") or name in ("src", "href", "style")]
    assert not re.search(r"https?://|url\(|@import", made)
    # Direction marks and escapes are spelled out, and templates in data are not obeyed.
    assert "\x1b" not in made and "\u202e" not in made and "{{ 7*7 }}" in made
    assert "<script>alert(1)</script>⟨U+001B⟩[2J⟨U+202E⟩" in "".join(found.text)
    assert found.tags.count("article") == 2 and "prefers-color-scheme: dark" in made
    for svg in re.findall(r"<svg.*?</svg>", made, re.DOTALL):
        ElementTree.fromstring(svg)
    # Scores, differences, two kinds of slices, rank moves of two systems and a curve, in each of both reports.
    assert made.count("<svg") == 2 * 7


def test_every_form_tells_the_same_figures(told) -> None:
    said = json.loads(json.dumps(as_json(told, per_query=True), allow_nan=False))
    made, text = page([told]), markdown(told)
    assert len(said["systems"]) == 5 and said["systems"][4]["error"] == HOSTILE
    for row, one in zip(told.table.rows, said["systems"], strict=True):
        assert (one["name"], one["class"]) == (row.name, row.of_class.value)
        if row.score is not None:
            assert f"{row.score:.4f}" in made and f"{row.score:.4f}" in text
            assert np.mean(list(one["per_query"]["ndcg@10"].values())) == pytest.approx(one["score"])
            assert one["low"] <= one["score"] <= one["high"]
        if row.judgement:
            # Markdown escapes what it would obey.
            plain = re.sub(r"\\(.)", r"\1", text)
            assert one["line"] == row.judgement.line and row.judgement.line in plain
    assert said["clean"]["n"] == 18 and said["overlap"]["n"] == 6
    assert said["set"]["leaked"] == 6 and said["set"]["passages"] == 30
    assert sum(one["n"] for one in said["slices"]["length"]) == QUERIES
    assert said["compared"] == {"system": HOSTILE, "with": "tiny"}
    assert not as_json(told)["systems"][0].get("per_query")


def test_markdown_obeys_nothing_from_data(told) -> None:
    text = markdown(told)
    assert "\x1b" not in text and "\u202e" not in text
    assert not re.search(r"(?<!\\)<script", text)
    lines = [line for line in text.splitlines() if line.startswith("|")]
    cells = [len(re.findall(r"(?<!\\)\|", line)) for line in lines]
    # Each table's lines have as many cells as its header: no bar from data makes another one.
    for before, after, line in zip(cells, cells[1:], lines[1:], strict=False):
        assert before == after or "---" in lines[lines.index(line) + 1]


def test_only_equals_are_compared_and_each_row_says_why(told) -> None:
    grid = systems_grid(told.table)
    assert grid.groups == ("dense",) * 4 + ("lexical",)
    by_name = {line[0]: line for line in grid.lines}
    assert by_name["tiny"][3] == "reference" and by_name["bm25"][3] == "alone"
    assert by_name["gone"][2] == "could not be run" and by_name[HOSTILE][5].count("/") == 2
    sentences = dict(verdicts(told.table))
    assert sentences["gone"].endswith(HOSTILE) and "VERDICT: WIN" in sentences[HOSTILE]
    assert "bm25" not in sentences
    assert heading(told).startswith("e: ") and "24 queries among 30 passages" in heading(told)
    assert [line[0] for line in metrics_grid(told).lines] == ["tiny", "tiny dim 16", HOSTILE, "bm25"]
    cost = dict(zip(cost_grid(told).header, cost_grid(told).lines[0], strict=True))
    assert (cost["p50 ms"], cost["index"], cost["cut"]) == ("4.00", "121 KiB", "21")
    header = slices_grid(told, "language").header
    assert header[:7] == ("language", "n", "Δ", "p", "+/=/-", shortened(HOSTILE, 32), "tiny")


def test_metrics_and_references_that_are_not_there_are_refused() -> None:
    found = _evaluation()
    with pytest.raises(UsageError, match="was not computed"):
        report(found, "ndcg@20")
    with pytest.raises(UsageError, match="no system `nobody`"):
        report(found, references=["nobody"])
    other = report(found, "mrr@10", references=["mine"])
    assert other.table.metric == "mrr@10"
    references = {row.name: row.reference for row in other.table.rows if row.difference}
    # A cut form is held against its own model, the others against the one that was named.
    assert references == {"tiny": "mine", "tiny dim 16": "tiny"}


def test_pairs_are_told_too() -> None:
    pairs = pl.DataFrame(
        {"pair_id": ["0", "1", "2", "3", "4", "5"], "left": "a", "right": "b", "score": [0.0, 1, 2, 3, 4, 5]}
    )
    values = {"cosine": [0.1, 0.2, 0.3, 0.5, 0.4, 0.9]}
    evaluated = SimilaritySet(pairs, About("sts", "here"))
    one = system(evaluated, "tiny", values=values)
    one = replace(one, overall={"spearman": 0.94})
    found = Evaluation("e", evaluated, "spearman", ("spearman",), (one, replace(one, name="twin")))
    told = report(found)
    assert told.table.rows[0].score == pytest.approx(0.942857, abs=1e-5)
    assert "6 pairs" in heading(told) and "sts" in page([told]) and "0.9429" in markdown(told)
    assert set(as_json(told, per_query=True)["systems"][0]["per_query"]["cosine"]) == set("012345")


def test_plots_hold_what_they_are_given_and_nothing_where_there_is_nothing() -> None:
    rows = [Interval("a", 0.5, 0.4, 0.6, "g", True, "0.5"), Interval("b", None, words="gone"), Interval("c", 0.5)]
    for zero in (False, True):
        ElementTree.fromstring(intervals(rows, "t", zero=zero))
    assert intervals([Interval("b", None)], "t") == "" and columns([("a", 0, "same")], "t") == ""
    assert curves([], "x", "t") == ""
    several = [Point(16, 0.1, 0.0, 0.2, "f"), Point(float("inf"), 0.1, 0.1, 0.1, "f"), Point(16, 0.3, 0.1, 0.4, "b")]
    drawn = ElementTree.fromstring(curves(several, "dimensions", "t"))
    assert len(drawn.findall(".//{*}circle") or drawn.findall(".//circle")) == 3
    assert "all" in "".join(drawn.itertext())
    assert ElementTree.fromstring(columns([("found", 3, "better"), ("lost", 1, "worse")], HOSTILE)) is not None


def test_the_metric_that_is_asked_for_stands_first() -> None:
    assert metrics_grid(report(_evaluation(), "recall@50")).header[:3] == ("system", "recall@50", "ndcg@10")


def test_a_long_name_is_cut_in_its_middle_everywhere_but_in_json() -> None:
    name = "a" * 120 + " the end " + "b" * 10
    told = report(_evaluation(name), by=("language",), pair=(name, "tiny"))
    # In plots it is whole where a mouse rests on it.
    shown = re.sub(r"<title>.*?</title>", "", page([told]))
    assert name not in markdown(told) and name not in shown and f"<td>{shortened(name)}</td>" in shown
    assert name in json.dumps(as_json(told))
    assert shortened("x" * 60) == "x" * 60 and len(shortened("x" * 61)) == 60
    assert (numbered(1, "query"), numbered(2, "query"), numbered(0, "pair")) == ("1 query", "2 queries", "0 pairs")


def test_a_win_is_coloured_only_where_it_is_more_than_chance() -> None:
    sure, chance = _evaluation(), _evaluation()
    noisy = np.zeros(QUERIES)
    noisy[0] = 0.3
    base = sure.system("tiny")
    barely = replace(base, name="barely", values={"ndcg@10": base.values["ndcg@10"] + noisy}, system=Dense(model="b"))
    chance = replace(chance, systems=(base, barely), metrics=("ndcg@10",))
    assert 'class="WIN"' in page([report(sure)]) and 'class="WIN"' not in page([report(chance)])
    assert "VERDICT: WIN" in page([report(chance)]) and "opened again" not in page([report(chance)])
