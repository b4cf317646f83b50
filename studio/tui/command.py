"""Commands: the one description of a key that bindings, footer, help, palette, keymap and the docs are made from."""

from __future__ import annotations

import difflib
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from textual.binding import Binding, BindingType
from textual.keys import KEY_NAME_REPLACEMENTS, Keys

from studio.errors import ConfigError
from studio.text.safe import visible


@dataclass(frozen=True, slots=True)
class Command:
    """Something a person can do with a key.

    `id` is `<place>.<name>`; the place is where it works: `studio` (everywhere), a panel, a widget such as `table`,
    or a dialog. `keys` are Textual's names, with commas. `action` is the method without `action_`, with arguments.
    `label` is one or two words for the footer, `help` one sentence. `footer`: whether the footer shows it.
    `vim`: other keys for the vim set, where they differ.
    """

    id: str
    keys: str
    action: str
    label: str
    help: str
    footer: bool = True
    vim: str | None = None
    priority: bool = False

    @property
    def place(self) -> str:
        """Where the command works."""
        return self.id.split(".", 1)[0]


def bindings(commands: Iterable[Command]) -> list[BindingType]:
    """Textual's bindings for commands: each with its id, so that it can be remapped."""
    return [
        Binding(
            command.keys,
            command.action,
            command.label,
            show=command.footer,
            id=command.id,
            tooltip=command.help,
            priority=command.priority,
        )
        for command in commands
    ]


PANELS: tuple[tuple[str, str, str], ...] = (
    ("pairs", "Pairs", "Pairs"),
    ("duplicates", "Duplicates", "Duplicates"),
    ("false_negatives", "False negatives", "False neg."),
    ("prompts", "Prompts", "Prompts"),
    ("train", "Train", "Train"),
    ("runs", "Runs", "Runs"),
    ("evaluate", "Evaluate", "Eval"),
    ("export", "Export", "Export"),
)
"""Name, title and short title of every panel, in the order of their number keys."""

DIALOGS = frozenset(
    {
        "asked",
        "confirm",
        "contract",
        "dialog",
        "edit",
        "help",
        "histogram",
        "log",
        "matrix",
        "path",
        "query",
        "tell",
        "tour",
    }
)
"""Places over the screen: while one is open nothing else has keys."""

_WITH_TABLE = ("pairs",)
"""Panels that hold the table of pairs."""
_TYPED_IN = frozenset({"asked", "contract", "dialog", "edit", "import", "path"})
"""Places in which text is typed: a key that types cannot be a command there."""

_MODIFIERS = frozenset({"alt", "ctrl", "shift", "super", "hyper", "meta"})
_NOT_SENT = {"ctrl+i": "tab", "ctrl+m": "enter", "ctrl+h": "backspace", "ctrl+[": "escape"}
"""What most terminals cannot tell from another key."""
_MEANT = {
    "return": "enter", "esc": "escape", "del": "delete", "ins": "insert", "pgup": "pageup", "pgdn": "pagedown",
    "page_up": "pageup", "page_down": "pagedown", "spacebar": "space", "question": "question_mark",
    "period": "full_stop", "dot": "full_stop", "hash": "number_sign",
}  # fmt: skip
"""Names that people and other programs give to keys; they are not guessed from the letters."""
_TAKEN = {
    "tab": "moves between the parts of the screen", "shift+tab": "moves between the parts of the screen",
    "ctrl+c": "copies what is selected", "up": "moves in lists", "down": "moves in lists", "home": "moves in lists",
    "end": "moves in lists", "pageup": "moves in lists", "pagedown": "moves in lists", "enter": "chooses in lists",
}  # fmt: skip
"""Keys that a list or the screen takes first, so that another command would work now and then."""


def _name_of(character: str) -> str:
    """What Textual calls the key that types a character; it has no public function for that."""
    if character.isalnum():
        return character
    name = unicodedata.name(character).lower().replace("-", "_").replace(" ", "_")
    return KEY_NAME_REPLACEMENTS.get(name, name)


SIGNS = {_name_of(sign): sign for sign in map(chr, range(33, 127)) if not sign.isalnum()}
"""Signs by the name that Textual has for their key."""
_LONG_SIGNS = {long: SIGNS[short] for long, short in KEY_NAME_REPLACEMENTS.items()}
"""Signs by their Unicode name, where Textual has a shorter one."""
_NAMED = frozenset(key.value for key in Keys if "+" not in key.value and key.value.isalnum() and key is not Keys.Return)
"""Keys that type nothing (but a space), by Textual's names; no terminal sends `return`."""


def key_name(key: str) -> str:
    """The name by which Textual knows a key, of any way to write it: `?`, `question_mark`, `Ctrl+X`, `shift+a`.

    Raises:
        ConfigError: no terminal has such a key; the nearest that one has is named.
    """
    written = key.strip()
    head, _, base = ("", "", written) if len(written) == 1 else written.rpartition("+")
    if not base and head.endswith("+"):
        head, base = head.removesuffix("+"), "+"
    modifiers = {part.strip().lower() for part in head.split("+") if head}
    base = base if len(base) == 1 else base.lower()
    character = SIGNS.get(base) or _LONG_SIGNS.get(base) or (base if len(base) == 1 else None)
    if unknown := sorted(modifiers - _MODIFIERS):
        raise _no_such_key(written, unknown[0])
    if character is None:
        if base not in _NAMED:
            raise _no_such_key(written, base)
        return "+".join([*sorted(modifiers), base])
    if not character.isprintable() or character.isspace() or not unicodedata.name(character, ""):
        raise _no_such_key(written, base)
    if modifiers and character.isalpha():
        # A terminal sends the capital letter for shift and a letter, and the small one for ctrl and a capital letter.
        if modifiers == {"shift"}:
            return character.upper()
        if "alt" in modifiers and character.isupper():
            modifiers.add("shift")
        character = character.lower()
    if modifiers == {"shift"}:
        raise ConfigError(
            f"No terminal sends the key `{written}`.", remedy="write the sign that it types, such as `!` for shift+1"
        )
    if other := _NOT_SENT.get("+".join([*sorted(modifiers), character])):
        raise ConfigError(
            f"The key `{written}` cannot be used.",
            why=f"most terminals send it as `{other}`",
            remedy="choose another key, such as `ctrl+e` or `f6`",
        )
    return "+".join([*sorted(modifiers), _name_of(character)])


def _no_such_key(written: str, part: str) -> ConfigError:
    known = sorted({*_NAMED, *SIGNS, *_MODIFIERS})
    near = [_MEANT[part]] if part in _MEANT else difflib.get_close_matches(part, known, n=1, cutoff=0.6)
    meant = written.lower().replace(part, near[0]) if near else ""
    if "+" not in written and part.split("-")[0] in _MODIFIERS:
        meant = written.lower().replace("-", "+")
    return ConfigError(
        f"There is no key `{visible(written, 40)}`.",
        remedy=f"did you mean `{meant}`?"
        if meant
        else "write one letter or sign, or a name such as `f6`, `ctrl+e`, `pageup` or `space`; commas between keys",
    )


def split_keys(keys: str) -> tuple[str, ...]:
    """The keys of a list with commas."""
    return tuple(key.strip() for key in keys.split(",") if key.strip())


def keys_of(commands: Iterable[Command], vim: bool) -> dict[str, tuple[str, ...]]:
    """Id → keys, as the studio's own set or the vim set has them."""
    return {command.id: split_keys((command.vim if vim else None) or command.keys) for command in commands}


def keymap(commands: Sequence[Command], chosen: Mapping[str, str], vim: bool, where: str) -> dict[str, str]:
    """The keys of every command that differs from its own, for `App.set_keymap`.

    Args:
        commands: all there are.
        chosen: the person's `[keymap]`: id → keys with commas.
        vim: whether the vim set stands under what was chosen.
        where: the file `chosen` comes from, for errors.

    Raises:
        ConfigError: an id or a key is unknown (the nearest is named), keys are empty or of no use there, or two
            commands that work at the same time would have the same key (both are named). Textual says nothing of
            the last: the command that is not remapped just loses its key.
    """
    known = {command.id: command for command in commands}
    keys = keys_of(commands, vim)
    for name, written in chosen.items():
        place = f"{where}, [keymap] {name}"
        if name not in known:
            near = difflib.get_close_matches(name, list(known), n=1, cutoff=0.4)
            raise ConfigError(
                f"There is no command `{name}` to give a key.",
                where=place,
                remedy=f"did you mean `{near[0]}`?" if near else "docs/keys.md lists them",
            )
        if not split_keys(written):
            raise ConfigError(
                f"The command `{name}` would have no key.",
                where=place,
                remedy="give it one, such as `f6` (the key `,` is called `comma`), or remove the line",
            )
        keys[name] = tuple(dict.fromkeys(_usable(known[name], key, place) for key in split_keys(written)))
    for one, other, key in clashes(commands, keys):
        for mine, its in ((one, other), (other, one)):
            if mine.id in chosen:
                raise ConfigError(
                    f"The key `{key}` would do two things: `{mine.id}` and `{its.id}`.",
                    where=f"{where}, [keymap] {mine.id}",
                    why="both work at the same time" + (", and the vim set gives keys too" if vim else ""),
                    remedy=f"choose another key for it, or give `{its.id}` another one too",
                )
    return {name: ",".join(value) for name, value in keys.items() if value != split_keys(known[name].keys)}


def clashes(commands: Sequence[Command], keys: Mapping[str, Sequence[str]]) -> Iterator[tuple[Command, Command, str]]:
    """Every two commands that would have the same key while both work."""
    taken: dict[tuple[str, str], Command] = {}
    for command in commands:
        for key in keys[command.id]:
            for place in _together_with(command.place):
                other = taken.get((place, key))
                if other is not None and other.id != command.id:
                    yield other, command, key
            taken[command.place, key] = command


def _together_with(place: str) -> tuple[str, ...]:
    """Places whose commands work at the same time as those of `place`."""
    panels = tuple(name for name, _, _ in PANELS)
    if place in ("dialog", "path"):
        return ("dialog", "path")
    if place in DIALOGS:
        return (place,)
    if place == "studio":
        return ("studio", "table", "welcome", "import", *panels)
    if place == "table":
        return ("table", "studio", *_WITH_TABLE)
    return (place, "studio", *(("table",) if place in _WITH_TABLE else ()))


def _usable(command: Command, written: str, where: str) -> str:
    """The name of a key that a person chose for a command, if it can work there."""
    try:
        key = key_name(written)
    except ConfigError as error:
        raise ConfigError(error.what, where=where, why=error.why, remedy=error.remedy) from None
    why = None
    if command.place in _TYPED_IN and (len(key) == 1 or key == "space" or key in SIGNS):
        why = "text is typed there, and this key types"
    elif command.place not in DIALOGS and command.place != "table" and key not in split_keys(command.keys):
        why = f"it {_TAKEN[key]}" if key in _TAKEN else None
    if why:
        raise ConfigError(
            f"The key `{written}` cannot be given to `{command.id}`.",
            where=where,
            why=why,
            remedy="choose another key, such as `ctrl+e` or `f6`",
        )
    return key
