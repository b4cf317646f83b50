"""What a dataset is: canonical columns, column roles, readers."""
