"""Every character a person could overlook, made visible; nothing a terminal would act on passes through."""

from __future__ import annotations

import unicodedata

_SIGNS = {" ": "␠", "\n": "⏎", "\t": "⇥", "\N{NO-BREAK SPACE}": "⍽"}
_OPEN = "⟨"
_RESERVED = {*_SIGNS.values(), _OPEN}
_HIDDEN_CATEGORIES = {"Cc", "Cf", "Cs", "Co", "Cn", "Zs", "Zl", "Zp"}
# Drawn as nothing although their category is a letter, a mark or a symbol: fillers, joiners, variation selectors.
_HIDDEN_POINTS = frozenset(
    {0x034F, 0x115F, 0x1160, 0x17B4, 0x17B5, 0x180B, 0x180C, 0x180D, 0x180F, 0x2800, 0x3164, 0xFFA0}
    | set(range(0xFE00, 0xFE10))
    | set(range(0xE0100, 0xE01F0))
)


class _Forms(dict[int, str]):
    """Code point → what is shown for it, worked out once."""

    def __missing__(self, point: int) -> str:
        char = chr(point)
        hidden = unicodedata.category(char) in _HIDDEN_CATEGORIES or point in _HIDDEN_POINTS or char in _RESERVED
        self[point] = form = _SIGNS.get(char) or (f"{_OPEN}U+{point:04X}⟩" if hidden else char)
        return form


_FORMS = _Forms()


def visible(text: str) -> str:
    """Show a text so that two different texts never look the same because of white space or invisible characters.

    Space is ␠, line feed ⏎, tab ⇥, no-break space ⍽. Every other control, format (bidirectional, zero-width),
    separator, private or unassigned character, invisible letter and variation selector is ⟨U+XXXX⟩; so are these
    signs where the text itself holds them, which makes the form unambiguous. Combining accents stay as they are.
    The result holds no character that moves a cursor, changes a colour or reorders text.
    """
    return text.translate(_FORMS)
