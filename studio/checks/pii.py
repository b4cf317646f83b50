"""Personal data in queries, passages and negatives: a person decides what becomes of it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import groupby
from typing import Any

import polars as pl
from pydantic import Field

from studio.checks.base import Check, CheckConfig, check
from studio.pairs.texts import texts_where
from studio.progress import Progress, silent
from studio.project.evidence import Band, Evidence
from studio.text.pii import Hit, Kind, find, masked, may_hold

_CERTAINTY = {Kind.PHONE: 0.8, Kind.CEP: 0.6}
"""Scores of the kinds that have neither check digits nor an unmistakable form."""
_FOUND = {"row_id": pl.String, "reason": pl.String, "score": pl.Float64, "evidence": pl.String}
_STEP = 10_000


class PiiConfig(CheckConfig):
    """Which kinds are looked for."""

    kinds: tuple[Kind, ...] = Field(tuple(Kind), min_length=1)
    """Any of email, pix, cnpj, cpf, phone, cep."""


@check
class Pii(Check):
    """One flag a row, column and kind. The evidence shows the form and the last characters, never the datum."""

    name = "pii"
    version = "1"
    summary = "e-mail addresses, Brazilian phone numbers, CPF, CNPJ, CEP and PIX keys in texts"
    config_type = PiiConfig
    config: PiiConfig

    def run(self, pairs: pl.DataFrame, progress: Progress = silent) -> Evidence:
        """Search the texts that the prefilter leaves, each distinct one once."""
        texts = texts_where(pairs, lambda text: may_hold(text, self.config.kinds))
        distinct = texts["text"].unique(maintain_order=True).to_list()
        hits: dict[str, list[Hit]] = {}
        for done, text in enumerate(distinct):
            if done % _STEP == 0:
                progress("look for personal data", done, len(distinct))
            if found := find(text, self.config.kinds):
                hits[text] = found
        progress("look for personal data", len(distinct), len(distinct))
        flags = pl.DataFrame(list(_found(texts, hits)), schema=_FOUND, orient="row")
        return Evidence(self.flags(flags.with_columns(band=pl.lit(Band.REVIEW.value))))


def _found(texts: pl.DataFrame, hits: dict[str, list[Hit]]) -> Iterator[tuple[str, str, float, str]]:
    """Yield row_id, reason, score and evidence; the negatives of a row count together."""
    rows = ((row_id, column, index, hits[text]) for row_id, column, index, text in texts.iter_rows() if text in hits)
    for (row_id, column), group in groupby(rows, key=lambda row: row[:2]):
        by_kind: dict[Kind, dict[str, Any]] = {}
        for *_, index, found in group:
            for hit in found:
                at = {} if index is None else {"index": index}
                evidence = by_kind.setdefault(hit.kind, {"column": column, **at, "count": 0, "shown": masked(hit)})
                evidence["count"] += 1
        for kind, evidence in by_kind.items():
            yield row_id, f"pii_{kind.value}", _CERTAINTY.get(kind, 1.0), json.dumps(evidence, ensure_ascii=False)
