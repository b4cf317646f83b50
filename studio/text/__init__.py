"""Pure text: normalisation levels, words, shingles, MinHash. Knows nothing of files or models."""
