"""Detectors: pairs in, evidence out. They never decide and never delete. One file a check."""
