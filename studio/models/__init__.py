"""Models: find, load, examine, tokenise. The one place torch is touched outside training, and only inside functions."""
