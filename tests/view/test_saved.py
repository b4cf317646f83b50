"""Saved views."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from studio.errors import ProjectError, UsageError
from studio.project.project import Project
from studio.view.saved import SavedView, SavedViews
from studio.view.where import Order


@pytest.fixture
def project(make_project: Callable[..., Project]) -> Project:
    return make_project([("a", "b")])


def test_views_are_kept_in_order(project: Project) -> None:
    views = SavedViews(project)
    assert views.list() == []
    views.save(" short ", "query.chars<5", Order("query.chars", descending=True))
    views.save("\u202e\ud800", "")
    views.save("short", "query.chars<9")
    assert SavedViews(project).list() == [SavedView("short", "query.chars<9"), SavedView("\u202e\ud800", "")]
    views.remove("short")
    assert [view.name for view in views.list()] == ["\u202e\ud800"]


def test_what_cannot_be_saved(project: Project) -> None:
    views = SavedViews(project)
    for name, where in (("", ""), ("x" * 201, ""), ("bad", "slit:x")):
        with pytest.raises(UsageError):
            views.save(name, where)
    with pytest.raises(UsageError, match="nobody"):
        views.remove("nobody")
    assert views.list() == []


@pytest.mark.parametrize(
    "text",
    [
        b"{",
        b"[]",
        b"\xff",
        b'{"views": [{}]}',
        b'{"views": 3}',
        b'{"views": [{"name": 1, "where": "", "by": "query", "descending": false}]}',
        b'{"views": [{"name": "a", "where": "", "by": "colour", "descending": false}]}',
        b'{"views": [{"name": "a", "where": "", "by": [], "descending": false}]}',
        b'{"views": ["a"]}',
    ],
)
def test_a_damaged_file_is_explained_and_left_alone(project: Project, text: bytes) -> None:
    path = project.root / ".studio" / "views.json"
    path.write_bytes(text)
    for action in (SavedViews(project).list, lambda: SavedViews(project).save("a", "")):
        with pytest.raises(ProjectError) as caught:
            action()
        assert "delete" in str(caught.value.remedy)
    assert path.read_bytes() == text
