import re
import unicodedata

from hypothesis import example, given
from hypothesis import strategies as st

from studio.prompts.visible import visible


def restore(shown: str) -> str:
    """The way back: what makes the form unambiguous."""
    signs = {"␠": " ", "⏎": "\n", "⇥": "\t", "⍽": "\u00a0"}
    pattern = r"⟨U\+([0-9A-F]{4,6})⟩|([␠⏎⇥⍽])"
    return re.sub(pattern, lambda m: chr(int(m[1], 16)) if m[1] else signs[m[2]], shown)


@given(st.text(alphabet=st.characters(exclude_categories=[])))
@example("a\u202eb\u200f\u200d\x1b[31m\r\n\x00\ufeff\u00ad\ud800")
@example("⟨U+0041⟩␠⏎⇥⍽")
@example("e\u0301\ufe0f\u3164\u115f\u2800\U000e0101")
def test_nothing_a_terminal_acts_on_and_nothing_lost(text: str) -> None:
    shown = visible(text)
    assert not [
        char for char in shown if unicodedata.category(char) in {"Cc", "Cf", "Cs", "Co", "Cn", "Zs", "Zl", "Zp"}
    ]
    assert restore(shown) == text


def test_the_signs() -> None:
    assert visible("a b\nc\td\u00a0e") == "a␠b⏎c⇥d⍽e"
    assert visible("\u202e") == "⟨U+202E⟩"
    assert visible("maçã e\u0301 👍") == "maçã␠e\u0301␠👍"
    assert visible("❤\ufe0f") == "❤⟨U+FE0F⟩"
