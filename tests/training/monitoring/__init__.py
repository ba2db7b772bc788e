"""Tests of what one sees of a training run."""
