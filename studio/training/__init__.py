"""What training needs beyond sentence-transformers: batches free of conflicts."""
