"""`studio.toml`: what a project was made from and how it is worked on. Readable, diffable, strict."""

from __future__ import annotations

import tomllib
from collections.abc import MutableMapping
from pathlib import Path
from typing import Any, Literal, TypeVar

import tomlkit
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from studio.errors import ConfigError
from studio.files import write_text
from studio.project.refusing import refusal
from studio.prompts.contract import Origin, OriginKind, PromptContract
from studio.prompts.presets import get_preset

M = TypeVar("M", bound=BaseModel)

_DEFAULT_PROMPT = get_preset("web_search_query")


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class SourceSettings(_Strict):
    """One imported source: where it was, and the hash that proves it is the same."""

    path: str
    format: str
    sha256: str
    rows: int
    rejected: int = 0
    roles: dict[str, str | list[str]] = Field(default_factory=dict)


class PromptSettings(_Strict):
    """The prompt contract, byte for byte; `origin` says where it came from (`model:…`, `preset:…`, `custom:…`)."""

    query: str = _DEFAULT_PROMPT.query
    document: str = _DEFAULT_PROMPT.document
    origin: str = Field(default=f"preset:{_DEFAULT_PROMPT.name}", pattern="^(model|preset|custom)(:.*)?$")

    def contract(self) -> PromptContract:
        """The contract these settings stand for."""
        kind, _, name = self.origin.partition(":")
        return PromptContract(self.query, self.document, Origin(OriginKind(kind), name))


class ModelSettings(_Strict):
    """The model that reads the prompts: a folder, a hub id, or `harrier-tiny` for the embedded one."""

    id: str = "harrier-tiny"
    max_length: int = Field(default=512, ge=8)
    """Tokens a text is cut at, prompt and special tokens included."""


class RetrieverSettings(_Strict):
    """An encoder that looks for passages which also answer, and for hard negatives."""

    model: str
    """As in `ModelSettings.id`. Best another one than the model to be trained: it does not share its blind spots."""
    max_length: int = Field(default=512, ge=8)
    prompts: Literal["contract", "model", "none"] = "contract"
    """The project's contract, the model's own `query` and `document` prompts, or no prompt at all."""
    device: str | None = None
    """Such as `cpu` or `cuda:0`; chosen when it is not given."""
    trust_remote_code: bool = False
    """Run code that comes with the model. Never set it for a repository that nobody has read."""


class CurationSettings(_Strict):
    """What the rules may touch."""

    protected_splits: tuple[str, ...] = ("test", "validation", "valid", "dev", "eval", "evaluation")
    """Rows of these splits are never changed by a rule, only by a person."""
    leaked_split: str = Field(default="leaked", min_length=1)
    """Where a rule puts training rows that leak into a protected split: neither trained on nor tested with."""


class ProjectSettings(_Strict):
    """Everything in `studio.toml`. `checks` holds one table a check; each check validates its own."""

    format: Literal[1] = 1
    name: str
    snapshot: str = ""
    sources: tuple[SourceSettings, ...] = ()
    roles: dict[str, str | list[str]] = Field(default_factory=dict)
    """Columns that were named by hand at import."""
    prompts: PromptSettings = PromptSettings()
    model: ModelSettings = ModelSettings()
    retrievers: tuple[RetrieverSettings, ...] = ()
    """Encoders for false negatives and hard negatives; none: the project's own model."""
    false_negatives: dict[str, Any] = Field(default_factory=dict)
    """How false negatives are looked for (`studio.mining.false_negatives.SearchSettings`)."""
    mining: dict[str, Any] = Field(default_factory=dict)
    """How hard negatives are mined (`studio.mining.settings.MiningSettings`)."""
    curation: CurationSettings = CurationSettings()
    checks: dict[str, dict[str, Any]] = Field(default_factory=dict)


class InterfaceSettings(_Strict):
    """How the studio looks and which set of keys it starts from."""

    theme: str = "harrier-dark"
    keys: Literal["studio", "vim"] = "studio"
    """`vim` moves with h j k l; `keep` and `group` then have other keys (docs/keys.md)."""
    two_lines: bool = False
    """Whether a row of the pairs takes two lines: query above passage."""


class UserSettings(_Strict):
    """The person's own `config.toml`: defaults for new projects, and the interface."""

    interface: InterfaceSettings = InterfaceSettings()
    keymap: dict[str, str] = Field(default_factory=dict)
    """Id of a command → its keys, with commas; the interface refuses unknown ids and clashes."""

    prompts: PromptSettings = PromptSettings()
    model: ModelSettings = ModelSettings()
    curation: CurationSettings = CurationSettings()
    checks: dict[str, dict[str, Any]] = Field(default_factory=dict)

    @field_validator("keymap", mode="before")
    @classmethod
    def _dotted(cls, value: Any) -> Any:
        """Take `pairs.keep = "x"` for `"pairs.keep" = "x"`: TOML reads the former as a table in a table."""
        if not isinstance(value, dict):
            return value
        flat: dict[str, Any] = {}
        for name, keys in value.items():
            inner = {f"{name}.{last}": key for last, key in keys.items()} if isinstance(keys, dict) else {name: keys}
            flat.update(inner)
        return flat


def read_settings(path: Path, model: type[M]) -> M:
    """Read a TOML file as `model`.

    Raises:
        ConfigError: the file is missing or not TOML, a key is unknown (the nearest is named), a value is wrong.
    """
    try:
        data = tomllib.loads(path.read_bytes().decode("utf-8"))
    except FileNotFoundError:
        raise ConfigError("There is no such settings file.", where=str(path)) from None
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(
            "The settings file cannot be read.", where=str(path), why=str(error), remedy="mend it as TOML in UTF-8"
        ) from error
    return validated(data, model, str(path))


def validated(data: dict[str, Any], model: type[M], where: str) -> M:
    """Check `data` against `model`; the first thing that is wrong becomes a `ConfigError` that names it."""
    try:
        return model.model_validate(data)
    except ValidationError as error:
        key, why, remedy = refusal(error, model)
        if not key:
            raise ConfigError("These settings contradict each other.", where=where, why=why, remedy=remedy) from error
        raise ConfigError(f"The setting `{key}` cannot be used.", where=where, why=why, remedy=remedy) from error


def write_settings(path: Path, settings: BaseModel) -> None:
    """Write settings as TOML, keeping the comments and order of a file that is already there."""
    document = tomlkit.parse(path.read_text("utf-8")) if path.exists() else tomlkit.document()
    _update(document, settings.model_dump(mode="json", exclude_none=True))
    write_text(path, tomlkit.dumps(document))


def _update(table: MutableMapping[str, Any], data: dict[str, Any]) -> None:
    """Change only what differs, so that comments and order stay."""
    for key in [key for key in table if key not in data]:
        del table[key]
    for key, value in data.items():
        if isinstance(value, dict) and isinstance(table.get(key), MutableMapping):
            _update(table[key], value)
        elif key not in table or table[key] != value:
            table[key] = value
