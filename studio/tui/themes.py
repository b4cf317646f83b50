"""The studio's themes. Textual's own, the ANSI ones among them, can be chosen too; NO_COLOR takes all colour away."""

from __future__ import annotations

from textual.theme import Theme

THEMES = (
    Theme(
        name="harrier-dark",
        primary="#7aa2c8",
        secondary="#9db4a0",
        accent="#d9a95b",
        warning="#d9a95b",
        error="#d9776b",
        success="#8fb573",
        foreground="#d8dee4",
        background="#14181d",
        surface="#1b2027",
        panel="#232a33",
        dark=True,
    ),
    Theme(
        name="harrier-light",
        primary="#2b5d8a",
        secondary="#47664c",
        accent="#8a5a00",
        warning="#8a5a00",
        error="#a3261a",
        success="#3d6b1f",
        foreground="#1c2228",
        background="#fbfaf7",
        surface="#f1efe9",
        panel="#e5e2d9",
        dark=False,
    ),
    Theme(
        name="harrier-contrast",
        primary="#ffff00",
        secondary="#00ffff",
        accent="#ffff00",
        warning="#ffff00",
        error="#ff8080",
        success="#80ff80",
        foreground="#ffffff",
        background="#000000",
        surface="#000000",
        panel="#202020",
        dark=True,
        variables={"border": "#ffffff", "block-cursor-foreground": "#000000", "block-cursor-background": "#ffff00"},
    ),
)
