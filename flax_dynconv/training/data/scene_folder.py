"""Images with depth and masks of their salient objects, in folders."""

from pathlib import Path

from flax_dynconv.training.data.decoding import decode
from flax_dynconv.training.data.heads import files_below, opened
from flax_dynconv.training.data.scene_decoding import check_depth_mode, check_mask_mode, decode_depth, decode_mask
from flax_dynconv.training.data.scene_listing import triple_up
from flax_dynconv.training.data.source import check_split


class SceneFolder:
    """Images, depth and masks below `path`; see `scene_listing.triple_up` for the layout and errors.

    At opening the heads of all files are read: ValueError that names the file for depth that is not one channel of 8 or
    16 bits, for a mask that is not grey, and where sizes differ; `UnreadableImage` for what is no image.
    FileNotFoundError if there is no such folder.
    """

    splits = ('train', 'test')

    def __init__(self, path):
        self.path, self.name = Path(path), str(path)
        self.triples = triple_up(files_below(self.path), f'the folder {self.path}')
        self._dimensions = {split: {self._measured(t) for t in triples} for split, triples in self.triples.items()}

    def size(self, split):
        """Number of images."""
        check_split(split, self.splits)
        return len(self.triples[split])

    def dimensions(self, split):
        """{(height, width)} of the images: which there are."""
        check_split(split, self.splits)
        return self._dimensions[split]

    def example(self, split, index, generator):
        """(PIL image RGB, PIL depth of the mode L or F, mask (H, W) bool, path below the folder).

        The generator is not needed. Raises `UnreadableImage` for a damaged file.
        """
        image, depth, mask = self.triples[split][index]
        return (
            decode((self.path / image).read_bytes(), image),
            decode_depth((self.path / depth).read_bytes(), depth),
            decode_mask((self.path / mask).read_bytes(), mask),
            image,
        )

    def _measured(self, triple):
        """(height, width) of three files, of which only the heads are read."""
        with opened(self.path / triple.image, triple.image) as image:
            size = image.size
        for path, kind, check in (
            (triple.depth, 'depth', check_depth_mode),
            (triple.mask, 'mask', check_mask_mode),
        ):
            with opened(self.path / path, path) as found:
                check(found, path)
                if found.size != size:
                    raise ValueError(
                        f'{path} must have the size of its image {triple.image}, {size[0]} x {size[1]} pixels, '
                        f'got {kind} of {found.width} x {found.height}'
                    )
        return size[1], size[0]
