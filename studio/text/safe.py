"""The one boundary between text from data and a screen: nothing that passes it can steer a terminal."""

from __future__ import annotations

import re
import unicodedata

_STEERING = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\uffff\ud800-\udfff"
    "\U000e0000-\U000e007f]"
)


def visible(text: str, limit: int | None = None) -> str:
    """Return `text` on one line, with every control, direction and invisible mark spelled out as ⟨U+001B⟩.

    Newlines become ⏎ and tabs ⇥. At most `limit` characters are kept, the last of them …, so a 200 kB line costs
    no more than a short one.
    """
    cut = limit is not None and len(text) > limit
    shown = text[: limit - 1 if cut else None] if limit is not None else text
    return _STEERING.sub(lambda match: _name(match.group()), shown) + ("…" if cut else "")


def steering(text: str) -> bool:
    """Whether `text` holds a character that `visible` would spell out."""
    return _STEERING.search(text) is not None


def json_safe(document: str) -> str:
    """Escape, inside a JSON document, what `json.dumps(ensure_ascii=False)` leaves and a terminal would obey."""
    return _STEERING.sub(
        lambda match: match.group() if match.group() == "\n" else _json_escape(match.group()), document
    )


def _name(character: str) -> str:
    if character == "\n":
        return "⏎"
    if character == "\t":
        return "⇥"
    return f"⟨U+{ord(character):04X}⟩"


def _json_escape(character: str) -> str:
    return "".join(
        f"\\u{int.from_bytes(pair, 'big'):04x}" for pair in _pairs(character.encode("utf-16-be", "surrogatepass"))
    )


def _pairs(data: bytes) -> list[bytes]:
    return [data[i : i + 2] for i in range(0, len(data), 2)]


def width(text: str) -> int:
    """Columns `text` takes on a terminal: two for wide characters, none for combining marks."""
    return sum(0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)
