"""False negatives and hard negatives: what else answers a query, what it costs, and what is safe to push away."""
