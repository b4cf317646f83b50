"""One curation project on disk: settings, the immutable snapshot, evidence, the ledger and its replay."""
