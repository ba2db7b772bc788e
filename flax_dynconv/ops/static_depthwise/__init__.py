"""Depthwise convolutions whose kernel all samples share: two forms, one per file."""
