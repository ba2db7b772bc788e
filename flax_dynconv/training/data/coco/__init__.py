"""Images with objects in COCO's format."""

from flax_dynconv.training.data.coco.folder import Coco

__all__ = ['Coco']
