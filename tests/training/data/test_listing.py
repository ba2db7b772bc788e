"""The layout of an image folder, and what is said when it is another."""

import warnings

import pytest

from flax_dynconv.training.data.listing import arrange

TRAIN = ['train/a/1.png', 'train/a/2.JPEG', 'train/b/1.webp']


@pytest.mark.parametrize('test', ['val', 'validation', 'valid', 'test'])
def test_names_of_the_test_split(test):
    listing = arrange([*TRAIN, f'{test}/a/1.png', f'{test}/b/1.png'], [], 'here')
    assert listing.paths['test'] == (f'{test}/a/1.png', f'{test}/b/1.png')
    assert listing.labels['train'].tolist() == [0, 0, 1]


def test_validation_images_come_before_test_images():
    files = [*TRAIN, 'test/a/1.png', 'test/b/1.png', 'val/a/7.png', 'val/b/7.png']
    assert arrange(files, [], 'here').paths['test'] == ('val/a/7.png', 'val/b/7.png')
    # The unlabelled test images of a data set with validation images are no mistake.
    assert arrange([*files[:3], 'test/1.png', *files[5:]], [], 'here').classes == ('a', 'b')


def test_one_common_top_folder_is_left_out_of_the_classes():
    files = [f'photos/{path}' for path in (*TRAIN, 'val/a/1.png', 'val/b/1.png')]
    listing = arrange([*files, '__MACOSX/photos/train/c/._1.png', 'photos/.DS_Store'], ['photos/'], 'here')
    assert listing.classes == ('a', 'b')
    assert listing.paths['train'][0] == 'photos/train/a/1.png'


def test_folders_in_a_class_belong_to_it_and_other_files_beside_the_splits_do_not_matter():
    files = [*TRAIN, 'train/b/more/2.png', 'val/a/1.png', 'val/b/1.png', 'readme.txt', 'meta/x.png']
    assert arrange(files, [], 'here').labels['train'].tolist() == [0, 0, 1, 1]


def test_files_that_are_no_images_are_left_out_with_one_warning():
    files = [*TRAIN, 'val/a/1.png', 'val/b/1.png', 'train/a/notes.txt', 'train/a/.hidden', 'train/labels.csv']
    with pytest.warns(UserWarning, match=r'2 files are no images by their names and are left out, the first is') as got:
        listing = arrange(files, [], 'here')
    assert len(got) == 1
    assert len(listing.paths['train']) == 3
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        arrange(files[:5], [], 'here')


@pytest.mark.parametrize(
    ('files', 'folders', 'message'),
    [
        (
            ['val/a/1.png'],
            [],
            r'here must hold the folders train/CLASS and one of val/CLASS, .*got the folders \[.val.\]',
        ),
        (TRAIN, [], r"must hold .*got the folders \['train'\]"),
        (['a/1.png', 'b/1.png'], [], r"must hold .*got the folders \['a', 'b'\]"),
        ([], [], r'must hold .*got the folders \[\]'),
        (
            [*TRAIN, 'val/1.png', 'val/2.png'],
            [],
            r"images must lie in a folder of their class, val/CLASS/, got \['val/1.png', 'val/2.png'\]",
        ),
        ([*TRAIN, 'val/a/1.png', 'val/b/1.png'], ['train/c'], r"every class must have an image .* in \['train/c'\]"),
        ([*TRAIN, 'val/a/1.png', 'val/b/1.txt'], [], r"every class must have an image .* in \['val/b'\]"),
        (TRAIN, ['val'], r'val/ must hold a folder for each class, but there is none'),
        (
            [*TRAIN, 'val/b/1.png', 'val/c/1.png', 'val/d/1.png'],
            [],
            r"the classes of train/ and val/ must be the same; only in train/: \['a'\], only in val/: \['c', 'd'\]",
        ),
    ],
)
def test_another_layout_is_named(files, folders, message):
    with pytest.raises(ValueError, match=message):
        arrange(files, folders, 'here')
