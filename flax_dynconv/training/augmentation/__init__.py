"""Augmentation of images with numpy and PIL: what happens to training and test images before they are inputs."""

from flax_dynconv.training.augmentation.composition import train_transform
from flax_dynconv.training.augmentation.evaluation import evaluation_transform
from flax_dynconv.training.augmentation.mixing import mix

__all__ = ['evaluation_transform', 'mix', 'train_transform']
