"""Rows that already carry a prompt, and passages that carry a query's: they would be read twice prompted."""

from __future__ import annotations

import json
from typing import Any

import polars as pl

from studio.checks.base import Check, check
from studio.progress import Progress, silent
from studio.project.evidence import Band, Evidence
from studio.prompts.lint import lint_contract
from studio.prompts.prompted import find_prompted_rows


@check
class PromptLint(Check):
    """Texts that begin with an instruction or a prefix of another model, judged with the project's own contract."""

    name = "prompt_lint"
    version = "1"
    summary = "queries that are already prompted, passages that carry a query prompt, faults of the contract itself"

    def depends_on(self) -> dict[str, Any]:
        """The configuration and the contract's two strings."""
        contract = self.setting.project.prompts.contract()
        return {**super().depends_on(), "query_prompt": contract.query, "document_prompt": contract.document}

    def run(self, pairs: pl.DataFrame, progress: Progress = silent) -> Evidence:
        """Emit one flag a text, for review; what is wrong with the contract itself goes into the notes."""
        contract = self.setting.project.prompts.contract()
        found = find_prompted_rows(pairs, contract)
        progress("look for prompts in texts", 1, 1)
        evidence = [
            json.dumps({key: value for key, value in row.items() if value is not None}, ensure_ascii=False)
            for row in found.select("column", "index", "prefix").iter_rows(named=True)
        ]
        flags = found.select("row_id", "reason", "score").with_columns(
            band=pl.lit(Band.REVIEW.value), evidence=pl.Series(evidence, dtype=pl.String)
        )
        notes = tuple(
            f"{lint.severity}: {lint.message.rstrip('.')}; to do: {lint.remedy}" for lint in lint_contract(contract)
        )
        return Evidence(self.flags(flags), notes=notes)
