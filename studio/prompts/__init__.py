"""The prompt contract, its lints and the exact preview: the one place where a prompt is built. Knows no model."""
