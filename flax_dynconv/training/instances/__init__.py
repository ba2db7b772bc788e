"""Instances: a network finds every object of an image, its class, box and mask."""
