"""Steerable filters: a network learns the filter of every angle from filtered images."""
