"""The prompt contract: the exact string each role gets, and nothing else that could differ between two uses."""

from __future__ import annotations

import difflib
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from studio.errors import ConfigError

_DOMAIN = b"harrier-studio prompt contract 1"
_KEYS = {"query", "document", "origin", "hash"}
_ORIGIN_KEYS = {"kind", "name", "detail"}


class Role(StrEnum):
    """What a text is for; a contract holds one string a role."""

    QUERY = "query"
    DOCUMENT = "document"


class OriginKind(StrEnum):
    """Where the strings of a contract were taken from."""

    MODEL = "model"
    PRESET = "preset"
    CUSTOM = "custom"


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a contract comes from: for people, not part of its identity.

    `name` is the prompt name in the model, the preset's name, or free text; `detail` is a path, a revision or "".
    """

    kind: OriginKind
    name: str
    detail: str = ""


@dataclass(frozen=True, slots=True)
class PromptContract:
    """The exact strings put before a text, by role; "" means none.

    Raises:
        ConfigError: a string cannot be written as UTF-8 (it holds half a surrogate pair).
    """

    query: str
    document: str
    origin: Origin

    def __post_init__(self) -> None:
        for role in Role:
            try:
                self.prompt(role).encode()
            except UnicodeEncodeError as error:
                raise ConfigError(
                    f"The {role} prompt cannot be written as UTF-8.",
                    where=f"character {error.start}",
                    why=error.reason,
                    remedy="type the prompt again; it was cut in the middle of a character",
                ) from error

    @classmethod
    def from_model_prompts(
        cls,
        prompts: Mapping[str, str],
        name: str = "web_search_query",
        *,
        document_name: str | None = None,
        detail: str = "",
    ) -> PromptContract:
        """Take the query prompt (and, if named, the document prompt) from a model's own prompts, byte for byte.

        Raises:
            ConfigError: the model has no prompt of that name.
        """
        query = _named(prompts, name)
        document = "" if document_name is None else _named(prompts, document_name)
        return cls(query, document, Origin(OriginKind.MODEL, name, detail))

    @classmethod
    def custom(cls, query: str, document: str = "", *, name: str = "custom", detail: str = "") -> PromptContract:
        """Make a contract from strings a person typed."""
        return cls(query, document, Origin(OriginKind.CUSTOM, name, detail))

    @classmethod
    def from_dict(cls, value: Mapping[str, object]) -> PromptContract:
        """Read what `to_dict` wrote.

        Raises:
            ConfigError: a key is missing, unknown or of the wrong type, or `hash` does not fit the strings.
        """
        _only(value, _KEYS, "prompt contract")
        origin = value.get("origin")
        if not isinstance(origin, Mapping):
            raise ConfigError("A prompt contract needs an origin.", why=f"`origin` is {origin!r}")
        _only(origin, _ORIGIN_KEYS, "origin")
        kind = _text(origin, "kind")
        if kind not in set(OriginKind):
            raise ConfigError(
                f"{kind!r} is no origin of a prompt.", where="origin.kind", remedy=f"use one of {', '.join(OriginKind)}"
            )
        made_from = Origin(OriginKind(kind), _text(origin, "name"), _text(origin, "detail", ""))
        contract = cls(_text(value, "query"), _text(value, "document"), made_from)
        if value.get("hash", contract.hash) != contract.hash:
            raise ConfigError(
                "The prompt contract was changed after it was written.",
                where="hash",
                why=f"the strings give {contract.hash}, the file says {value['hash']}",
                remedy="restore the strings, or remove the hash to accept the new ones as another contract",
            )
        return contract

    def to_dict(self) -> dict[str, object]:
        """Return the contract as JSON-able values: query, document, origin (kind, name, detail), hash."""
        origin = {"kind": self.origin.kind.value, "name": self.origin.name, "detail": self.origin.detail}
        return {"query": self.query, "document": self.document, "origin": origin, "hash": self.hash}

    @property
    def hash(self) -> str:
        """Hex sha256 of role and string, each length-prefixed (8 bytes, big-endian): equal if and only if the
        strings are, wherever they came from."""
        digest = hashlib.sha256(_DOMAIN)
        for role in Role:
            for part in (role.value.encode(), self.prompt(role).encode()):
                digest.update(len(part).to_bytes(8, "big"))
                digest.update(part)
        return digest.hexdigest()

    @property
    def short_hash(self) -> str:
        """The first 12 hex digits of `hash`, for names and screens."""
        return self.hash[:12]

    def prompt(self, role: Role) -> str:
        """Return the string of a role; "" means none."""
        return self.query if role is Role.QUERY else self.document

    def apply(self, role: Role, text: str) -> str:
        """Put the role's prompt before a text: plain concatenation, as sentence-transformers does."""
        return self.prompt(role) + text

    def as_trainer_prompts(self, columns: Mapping[Role, str | Sequence[str]]) -> dict[str, str]:
        """Return `SentenceTransformerTrainingArguments.prompts`: column → string, for columns that get one.

        The trainer never looks at the model's own prompts, only at these. A column that is not named here is
        trained raw.

        Args:
            columns: role → its column, or its columns (the document role has the positive and every negative).

        Raises:
            ConfigError: a role has a prompt and no column, or a column has two roles.
        """
        prompts: dict[str, str] = {}
        taken: set[str] = set()
        for role in Role:
            given = columns.get(role, ())
            names = (given,) if isinstance(given, str) else tuple(given)
            if self.prompt(role) and not names:
                raise ConfigError(
                    f"The {role} prompt would reach no column, and training would run without it.",
                    remedy=f"say which column holds the {role} texts",
                )
            if twice := taken.intersection(names):
                raise ConfigError(f"Column {min(twice)!r} is given two roles.", remedy="give each column one role")
            taken.update(names)
            if self.prompt(role):
                prompts.update(dict.fromkeys(names, self.prompt(role)))
        return prompts

    def as_model_prompts(self, existing: Mapping[str, str] | None = None) -> dict[str, str]:
        """Return `existing` with `query` and `document` set, to be put on a model before it is used or saved.

        `encode_query` and `encode_document` look these two names up. Both are written, "" included: a missing
        `document` would fall through to `passage` or `corpus`.
        """
        return {**(existing or {}), Role.QUERY.value: self.query, Role.DOCUMENT.value: self.document}


def nearest(name: str, names: Sequence[str]) -> str:
    """Return a remedy that names the closest known name, or all of them."""
    close = difflib.get_close_matches(name, names, n=1)
    return f"did you mean {close[0]!r}?" if close else f"use one of: {', '.join(names) or '(there are none)'}"


def _named(prompts: Mapping[str, str], name: str) -> str:
    if name not in prompts:
        raise ConfigError(f"The model has no prompt named {name!r}.", remedy=nearest(name, list(prompts)))
    return prompts[name]


def _only(value: Mapping[str, object], known: set[str], what: str) -> None:
    if unknown := sorted(str(key) for key in value if key not in known):
        raise ConfigError(f"{unknown[0]!r} is not part of a {what}.", remedy=nearest(unknown[0], sorted(known)))


def _text(value: Mapping[str, object], key: str, default: str | None = None) -> str:
    found = value.get(key, default)
    if not isinstance(found, str):
        raise ConfigError("A prompt contract cannot be read.", where=key, why=f"expected a string, found {found!r}")
    return found
