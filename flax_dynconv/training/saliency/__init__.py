"""Salient objects: a network marks what stands out in an image with depth."""
