"""A run is a directory: what its worker writes there, and how anybody reads it. No torch, no textual."""
