"""PyTorch's side of the benchmark: the forms of the published codes. Imported in the PyTorch process only."""
