"""What an interface shows of a project: rows, states, filters, clusters. No textual, no files of its own but caches."""
