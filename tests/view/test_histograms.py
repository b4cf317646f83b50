"""Histograms of lengths."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from studio.errors import UsageError
from studio.project.project import Project
from studio.project.settings import ProjectSettings
from studio.view.bench import Bench
from studio.view.histograms import histogram
from studio.view.tokens import token_file
from studio.view.where import Where, parse
from tests.conftest import snapshot


@settings(deadline=None, max_examples=40)
@given(sizes=st.lists(st.integers(0, 3_000), min_size=1, max_size=40), bins=st.integers(2, 30))
def test_every_text_is_in_one_bin(sizes: list[int], bins: int, tmp_path_factory: pytest.TempPathFactory) -> None:
    root: Path = tmp_path_factory.mktemp("bench") / "p"
    bench = Bench(Project.create(root, snapshot([("x" * n, "p") for n in sizes]), ProjectSettings(name="t")).root)
    found = histogram(bench, Where(), "query", "characters", bins)
    assert len(found.counts) == len(found.edges) - 1 <= bins
    pairs = zip(found.edges, found.edges[1:], strict=False)
    assert found.counts == [sum(low <= n < high for n in sizes) for low, high in pairs]
    assert sum(found.counts) == len(sizes)
    widths = {high - low for low, high in zip(found.edges, found.edges[1:], strict=False)}
    assert found.more or len(widths) == 1
    assert found.quantiles[0.0] == min(sizes) and found.quantiles[1.0] == max(sizes)


def test_a_long_tail_is_one_bin(make_project: Callable[..., Project]) -> None:
    bench = Bench(make_project([("x" * (n % 50), "p") for n in range(999)] + [("x" * 9_000, "p")]).root)
    found = histogram(bench, Where(), "query", "characters", 12)
    assert found.more and found.edges[-1] == 9_001 and found.counts[-1] == 1
    assert found.edges[:3] == [0, 5, 10] and found.quantiles[0.5] == 24
    assert not histogram(bench, parse("query.chars<100"), "query", "characters", 12).more


def test_the_limit_counts_for_tokens_only(make_project: Callable[..., Project]) -> None:
    project = make_project([("a", "b")] * 4)
    bench = Bench(project.root)
    with pytest.raises(UsageError, match="tokens"):
        histogram(bench, Where(), "query", "tokens", 10, 512)
    token_file(project).parent.mkdir(exist_ok=True)
    pl.DataFrame({"query": [5, 512, 513, 900], "positive": [1] * 4}).write_parquet(token_file(project))
    assert histogram(bench, Where(), "query", "tokens", 10, 512).over_limit == 2
    words = histogram(bench, Where(), "query", "words", 10, 0)
    assert (words.over_limit, words.limit) == (0, None)


def test_no_rows_no_bins(make_project: Callable[..., Project]) -> None:
    bench = Bench(make_project([("a", "b")]).root)
    found = histogram(bench, parse("absent"), "query", "characters", 10)
    assert (found.edges, found.counts, found.quantiles) == ([], [], {})
    with pytest.raises(UsageError):
        histogram(bench, Where(), "query", "characters", 1)
