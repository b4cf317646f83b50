"""Measure the detectors: plant typed faults and hard non-duplicates, run the checks, count what was found."""
