"""How good a retriever is, and whether a difference can be told from chance."""
