"""The dataset card: what the data is, how to train on it, how it was curated."""

from __future__ import annotations

import json
from pathlib import PurePath

from studio.export.formats import DataFile, Format
from studio.export.subsets import Kind, Subset
from studio.project.curate import Curated
from studio.project.settings import ProjectSettings
from studio.sample import TINY_MODEL
from studio.text.safe import visible

_SIZES = (
    (1_000, "n<1K"),
    (10_000, "1K<n<10K"),
    (100_000, "10K<n<100K"),
    (1_000_000, "100K<n<1M"),
    (10_000_000, "1M<n<10M"),
)
_LOSSES = {
    Kind.PAIR: "MultipleNegativesRankingLoss",
    Kind.TRIPLET: "MultipleNegativesRankingLoss",
    Kind.NTUPLE: "MultipleNegativesRankingLoss",
    Kind.SCORED: "CoSENTLoss",
    Kind.LABELLED: "OnlineContrastiveLoss",
}


def card(settings: ProjectSettings, curated: Curated, subsets: list[Subset], files: list[DataFile], fmt: Format) -> str:
    """Return README.md of an export, with the front matter by which `datasets.load_dataset` finds the files."""
    tables = fmt in (Format.PARQUET, Format.JSONL, Format.CSV, Format.HF)
    sections = [
        _front_matter(curated, subsets, files, tables),
        f"# {visible(settings.name)}",
        f"{curated.kept.height:,} query/passage rows for training a retrieval embedder, curated with harrier-studio "
        f"from {curated.rows.height:,}.",
        _files(files),
        _training(settings, subsets, fmt),
        _curation(curated),
        _audit(),
    ]
    return "\n\n".join(section for section in sections if section) + "\n"


def _front_matter(curated: Curated, subsets: list[Subset], files: list[DataFile], tables: bool) -> str:
    size = next((name for limit, name in _SIZES if curated.kept.height < limit), "n>10M")
    lines = ["---", "task_categories:", "- sentence-similarity", "- text-retrieval", "size_categories:", f"- {size}"]
    if tables and files:
        lines.append("configs:")
        for folder in dict.fromkeys(subset.folder for subset in subsets):
            lines += [f"- config_name: {folder or 'default'}", "  data_files:"]
            for subset, file in zip(subsets, files, strict=True):
                if subset.folder == folder:
                    lines += [f"  - split: {subset.split}", f"    path: {json.dumps(file.path)}"]
    return "\n".join([*lines, "---"])


def _files(files: list[DataFile]) -> str:
    lines = ["## Files", "", "| file | rows |", "| --- | ---: |"]
    return "\n".join([*lines, *(f"| `{file.path}` | {file.rows:,} |" for file in files)])


def _training(settings: ProjectSettings, subsets: list[Subset], fmt: Format) -> str:
    prompts = {
        name: text
        for name, text in (("query", settings.prompts.query), ("positive", settings.prompts.document))
        if text
    }
    if not subsets:
        return ""
    first = subsets[0]
    loaded = {
        Format.PARQUET: 'load_dataset("parquet", data_files="{path}", split="train")',
        Format.JSONL: 'load_dataset("json", data_files="{path}", split="train")',
        Format.CSV: 'load_dataset("csv", data_files="{path}", split="train", keep_default_na=False)',
        Format.HF: 'load_from_disk("{path}")',
    }.get(fmt)
    if loaded is None:
        return "## Training\n\n" + _PROMPT_NOTE.format(prompts=json.dumps(prompts, ensure_ascii=False))
    suffix = "" if fmt is Format.HF else f".{fmt.value}"
    call = loaded.format(path=f"data/{first.place}{suffix}")
    loss = _LOSSES[first.kind]
    model = "microsoft/harrier-oss-v1-270m" if settings.model.id == TINY_MODEL else _portable(settings.model.id)
    return f"""## Training

{_PROMPT_NOTE.format(prompts=json.dumps(prompts, ensure_ascii=False))}

```python
from datasets import load_dataset, load_from_disk
from sentence_transformers import SentenceTransformer, SentenceTransformerTrainer, SentenceTransformerTrainingArguments
from sentence_transformers.sentence_transformer.losses import {loss}

model = SentenceTransformer({json.dumps(model)})
model.max_seq_length = {settings.model.max_length}
data = {call}
arguments = SentenceTransformerTrainingArguments(
    output_dir="out",
    prompts={json.dumps(prompts, ensure_ascii=False)},
    batch_sampler="no_duplicates",
)
SentenceTransformerTrainer(model=model, args=arguments, train_dataset=data, loss={loss}(model)).train()
```"""


def _portable(model: str) -> str:
    """A model's name without the folders of the machine it lay on: a card must not tell them."""
    return PurePath(model).name if PurePath(model).is_absolute() else model


_PROMPT_NOTE = """The columns are in the order a trainer takes them; everything else is in `sidecar.parquet`.
Texts are stored without prompts. Train and search with these, byte for byte (`{{}}`: none):

```json
{prompts}
```"""


def _curation(curated: Curated) -> str:
    lines = ["## Curation", "", "| rows | outcome | reason |", "| ---: | --- | --- |"]
    for status, reason, count in curated.counts().iter_rows():
        lines.append(f"| {count:,} | {status} | {visible(reason).replace('|', '&#124;')} |")
    return "\n".join(lines)


def _audit() -> str:
    return """## Audit

- `manifest.json`: sources with their hashes, every setting, counts, the hash of each file
- `rows.parquet`: what became of every imported row, with its keeper, score, rule and decision
- `edges.parquet`, `flags.parquet`: all evidence, rejected candidates too
- `decisions.jsonl`: every decision in order, undone ones too

`harrier-studio verify DIR` replays the decisions and compares the hashes; with `--source FILE` it also rebuilds the
data from the sources."""
