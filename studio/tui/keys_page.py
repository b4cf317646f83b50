"""docs/keys.md, made from the registry: `python -m studio.tui.keys_page > docs/keys.md`."""

from __future__ import annotations

import sys
from collections.abc import Iterable

from studio.tui.command import SIGNS, Command, keys_of
from studio.tui.help import PLACES
from studio.tui.registry import all_commands

_BEGINNING = """# Keys

Every key of the interface, made from the list that the interface itself is made from
(`python -m studio.tui.keys_page > docs/keys.md`). `?` in the studio shows the keys that work where you are, as you
mapped them; `ctrl+p` finds any command by its name.

## Your own keys

`harrier-studio config path` says where your `config.toml` is. `[interface]` chooses the theme and one of two sets of
keys: `studio`, or `vim`, which moves with `h` `j` `k` `l` `g` `G` and for that gives some commands other keys (the
column *vim*; where it is empty the key is the same). `[keymap]` then gives single commands other keys, by their id;
the ids have a dot and stand in quotes. Several keys are separated by commas.

```toml
[interface]
theme = "harrier-light"    # ctrl+p lists the themes
keys = "vim"               # or "studio"

[keymap]
"pairs.keep" = "a,f6"
"pairs.search" = "/,ctrl+f"
"studio.quit" = "Q"
```

A key is one letter or sign (`a`, `A`, `?`), or a name: `space`, `enter`, `escape`, `tab`, `backspace`, `delete`,
`insert`, `home`, `end`, `pageup`, `pagedown`, `up`, `down`, `left`, `right`, `f1` to `f24`; before it may stand
`ctrl+`, `alt+` or `shift+`. The comma is called `comma`. What you give a command replaces all its keys.

An unknown id, a key that does not exist, and a key that would do two things at once are refused, each with its name;
so are keys that lists and the screen itself need (`tab`, `enter`, the arrows up and down, …). `harrier-studio config
validate` says it without opening the interface.
"""


def keys_page() -> str:
    """The whole page."""
    commands = all_commands()
    places = [place for place in PLACES if any(command.place == place for command in commands)]
    places += sorted({command.place for command in commands} - set(places))
    parts = [_BEGINNING]
    for place in places:
        parts.append(f"## {PLACES.get(place, place)}\n")
        parts.append(_table([command for command in commands if command.place == place]))
    return "\n".join(parts)


def _table(commands: Iterable[Command]) -> str:
    lines = ["| id | keys | vim | what it does |", "|---|---|---|---|"]
    for command in commands:
        own, vim = keys_of([command], vim=False)[command.id], keys_of([command], vim=True)[command.id]
        other = "" if own == vim else _words(vim)
        words = command.help.replace("|", "\\|")
        lines.append(f"| `{command.id}` | {_words(own)} | {other} | {words} |")
    return "\n".join(lines) + "\n"


def _words(keys: Iterable[str]) -> str:
    """Keys as they can be written in `[keymap]`, as code; a bar would end the cell and a backtick the code."""
    return " ".join("`` ` ``" if sign == "`" else f"`{sign}`".replace("|", "\\|") for sign in map(_written, keys))


def _written(key: str) -> str:
    """A sign by itself, but for the comma, which stands between keys."""
    return key if key == "comma" else SIGNS.get(key, key)


if __name__ == "__main__":
    sys.stdout.write(keys_page())
