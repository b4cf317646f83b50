import json
import unicodedata

from hypothesis import given
from hypothesis import strategies as st

from studio.text.safe import json_safe, visible

anything = st.text(st.characters(exclude_categories=[])) | st.text(
    st.sampled_from("\x1b\x9b\u202e\u200b[]m\n\t\ud800a")
)


@given(anything)
def test_nothing_that_steers_a_terminal_passes(text: str) -> None:
    shown = visible(text)
    assert not any(unicodedata.category(c) in ("Cc", "Cs") for c in shown)
    assert not any(unicodedata.bidirectional(c) in ("RLO", "LRO", "RLE", "LRE", "PDF", "RLI", "LRI") for c in shown)


@given(anything, st.integers(1, 40))
def test_long_text_is_cut_before_anything_else(text: str, limit: int) -> None:
    assert visible(text, limit) == (visible(text) if len(text) <= limit else visible(text[: limit - 1]) + "…")


@given(st.dictionaries(st.text(st.characters(codec="utf-8")), st.text(st.characters(codec="utf-8"))))
def test_json_stays_the_same_document(data: dict[str, str]) -> None:
    document = json_safe(json.dumps(data, ensure_ascii=False, indent=1))
    assert json.loads(document) == data
    assert "\x9b" not in document
    assert "\u202e" not in document
