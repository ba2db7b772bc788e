"""Command lines that need both training and convert: evaluate and predict."""
