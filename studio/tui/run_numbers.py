"""Numbers of runs as people read them: scores, differences, times, bytes."""

from __future__ import annotations


def bar(share: float, width: int) -> str:
    """A share as a bar."""
    full = round(min(max(share, 0.0), 1.0) * width)
    return "█" * full + "·" * (width - full)


def clock(seconds: float) -> str:
    """A time as hours, minutes and seconds."""
    whole = int(max(seconds, 0))
    return f"{whole // 3600:02d}:{whole // 60 % 60:02d}:{whole % 60:02d}"


def decimal(value: float) -> str:
    """A share as papers write it: .655."""
    return f"{value:.3f}".replace("0.", ".", 1) if abs(value) < 1 else f"{value:.3f}"


def signed(value: float) -> str:
    """A difference with its sign: +.043."""
    return f"{value:+.3f}".replace("0.", ".", 1) if abs(value) < 1 else f"{value:+.3f}"


def size(number_of_bytes: float) -> str:
    """Bytes in a unit that suits them."""
    for unit, large in (("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)):
        if number_of_bytes >= large:
            value = number_of_bytes / large
            return f"{value:.1f} {unit}" if value < 10 else f"{value:.0f} {unit}"
    return f"{number_of_bytes:.0f} bytes"


def score_words(value: float | None) -> str:
    """A score, or a dash."""
    return "–" if value is None else decimal(value)


CHANCE = 0.05
"""From this p on a difference may be chance: so large a one comes about by chance alone in one of twenty trials."""


def p_words(p: float) -> str:
    """A p-value as papers write it: .62, .034, or that it is below .001."""
    if p < 0.001:
        return "<.001"
    return f"{p:.3f}"[1:] if p < 0.1 else f"{p:.2f}".removeprefix("0")
