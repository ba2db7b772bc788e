"""A folder of images with json files of COCO's format."""

import warnings
from pathlib import Path

from flax_dynconv.training.data.coco.annotations import read_annotations
from flax_dynconv.training.data.coco.layout import find_annotations, image_folder
from flax_dynconv.training.data.coco.outlines import outline
from flax_dynconv.training.data.decoding import decode
from flax_dynconv.training.data.instances import Instance
from flax_dynconv.training.data.source import check_split, shortened


class Coco:
    """Images and objects of the json files below `path`; see `layout` for where they and the images lie.

    Images are in the order of their ids, classes in that of the ids of their categories, which are the same in both
    files. Training images without an object are left out, but with `keep_empty`. Crowds are told as such.

    Files and images are checked at opening, without a look at the images but that they are there: what is raised then
    is in `layout.find_annotations` and `annotations.read_annotations`, and ValueError for a file of crowds alone. With
    `skip_empty` polygons, masks and boxes without an extent, of which COCO's own training annotations have a few, are
    left out with one warning. With `boxes` training objects need no segmentation: their boxes take its place.
    """

    splits = ('train', 'test')

    def __init__(self, path, skip_empty=False, keep_empty=False, boxes=False):
        self.path = Path(path).expanduser()
        self.files = find_annotations(self.path)
        self._content = {
            split: read_annotations(file, skip_empty, boxes and split == 'train') for split, file in self.files.items()
        }
        self._check_categories()
        self.category_ids = tuple(self._content['train'].categories)
        self.classes = tuple(self._content['train'].categories.values())
        self._labels = {category: label for label, category in enumerate(self.category_ids)}
        self._folders = {split: self._folder_of(split) for split in self.splits}
        self._images = {split: content.images for split, content in self._content.items()}
        learned = {split: self._with_objects(split) for split in self.splits}
        for split in ('test',) if keep_empty else self.splits:
            if not learned[split]:
                raise ValueError(f'{self.files[split]} must have an image with an object that is no crowd, got none')
        if not keep_empty:
            self._images['train'] = learned['train']
        self._warn_of_empty()

    def size(self, split):
        """Number of images."""
        check_split(split, self.splits)
        return len(self._images[split])

    def dimensions(self, split):
        """{(height, width)} of the images: which there are."""
        check_split(split, self.splits)
        return {(image['height'], image['width']) for image in self._images[split]}

    def image_id(self, split, index):
        """The image's id in its json file."""
        check_split(split, self.splits)
        return self._images[split][index]['id']

    def image_size(self, split, index):
        """(height, width), as the json file has it."""
        check_split(split, self.splits)
        return self._images[split][index]['height'], self._images[split][index]['width']

    def example(self, split, index, generator):
        """(PIL image RGB, [`Instance`], path of the image); the generator is not needed.

        Raises `UnreadableImage` for a damaged file, ValueError for an image of another size than the json file says.
        """
        size, entry = self.image_size(split, index), self._images[split][index]
        path = self._folders[split] / entry['file_name']
        image = decode(path.read_bytes(), str(path))
        if (image.height, image.width) != size:
            raise ValueError(
                f'{path} must have {size[1]} x {size[0]} pixels, as {self.files[split]} says of image {entry["id"]}, '
                f'got {image.width} x {image.height}'
            )
        return image, [self._instance(found, size) for found in self._with_extent(split, entry)], str(path)

    def truth(self, split):
        """All annotations of the split's images in the form of COCO's json, crowds and what was left out here too.

        As pycocotools would misunderstand them, polygons of less than three points are not there, nor annotations of
        nothing else, and ids of annotations are one higher than in the file where one is 0.
        """
        check_split(split, self.splits)
        content = self._content[split]
        found = [a for image in self._images[split] for a in content.by_image.get(image['id'], ())]
        shift = int(any(annotation['id'] == 0 for annotation in found))
        annotations = [
            a | {'id': a['id'] + shift, 'segmentation': segmentation}
            for a in found
            if (segmentation := _with_three_points(a['segmentation']))
        ]
        return {
            'images': [dict(image) for image in self._images[split]],
            'annotations': annotations,
            'categories': [{'id': category, 'name': name} for category, name in content.categories.items()],
        }

    def _with_extent(self, split, image):
        content = self._content[split]
        return [found for found in content.by_image.get(image['id'], ()) if found['id'] not in content.empty]

    def _with_objects(self, split):
        """The images with an object that is no crowd."""
        found = ((image, self._with_extent(split, image)) for image in self._images[split])
        return tuple(image for image, objects in found if not all(each['iscrowd'] for each in objects))

    def _instance(self, found, size):
        x, y, width, height = found['bbox']
        return Instance(
            self._labels[found['category_id']],
            (x, y, x + width, y + height),
            outline(found['segmentation'], size),
            float(found['area']),
            bool(found['iscrowd']),
        )

    def _check_categories(self):
        train, test = (self._content[split].categories for split in self.splits)
        if train != test:
            differ = sorted(set(train.items()) ^ set(test.items()))
            raise ValueError(
                f'categories of {self.files["train"]} and {self.files["test"]} must be the same, '
                f'only one of them has {shortened(differ)}'
            )

    def _folder_of(self, split):
        """The folder of the images, all of which are in it."""
        images, file = self._content[split].images, self.files[split]
        folder = image_folder(self.path, file, images[0]['file_name'])
        for image in images:
            if not (folder / image['file_name']).is_file():
                raise FileNotFoundError(f'{file}: image {image["id"]}: there is no file {folder / image["file_name"]}')
        return folder

    def _warn_of_empty(self):
        for split, content in self._content.items():
            if content.faults:
                warnings.warn(
                    f'{self.files[split]}: what has no extent is left out of {len(content.faults)} annotations: '
                    f'{shortened(content.faults, 3)}',
                    stacklevel=3,
                )


def _with_three_points(segmentation):
    return segmentation if isinstance(segmentation, dict) else [part for part in segmentation if len(part) >= 6]
