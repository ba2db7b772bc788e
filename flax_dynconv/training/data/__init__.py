"""Images for training and evaluation: where they lie, how they are decoded, and batches that depend on no host."""
