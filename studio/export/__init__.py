"""The cleaned dataset, its card and its audit."""
