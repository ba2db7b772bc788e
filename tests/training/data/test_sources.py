"""Every kind of source gives the same images; what is wrong with one is said when it is opened."""

import io
import json
import os
import pickle
import stat
import tarfile
import threading
import zipfile

import numpy as np
import pytest

from flax_dynconv.training.data.array_records import ArrayRecords, write_array_records
from flax_dynconv.training.data.opening import open_source
from flax_dynconv.training.data.source import UnreadableImage
from tests.training.data.images import CLASSES, Memory, files, whole, write_folder, write_tar, write_zip

FILES = files()
EXPECTED = whole(Memory(FILES))


def hugging_face(path):
    datasets = pytest.importorskip('datasets')
    features = datasets.Features({'img': datasets.Image(), 'label': datasets.ClassLabel(names=list(CLASSES))})

    def table(rows):
        columns = {'img': [{'bytes': data, 'path': None} for data, _ in rows], 'label': [label for _, label in rows]}
        return datasets.Dataset.from_dict(columns, features=features)

    datasets.DatasetDict({'train': table(EXPECTED['train']), 'validation': table(EXPECTED['test'])}).save_to_disk(path)
    return f'hf:{path}'


def tensorflow_datasets(path):
    """Written by TFDS itself, which needs no TensorFlow for images that are encoded already."""
    tfds = pytest.importorskip('tensorflow_datasets')

    class Tiny(tfds.core.GeneratorBasedBuilder, skip_registration=True):
        VERSION = tfds.core.Version('1.0.0')
        __module__ = '__main__'  # In a module TFDS looks for files beside it, with another package.

        def _info(self):
            features = {'image': tfds.features.Image(), 'label': tfds.features.ClassLabel(names=list(CLASSES))}
            return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict(features))

        def _split_generators(self, dl_manager):
            return {split: self._generate_examples(split) for split in ('train', 'test')}

        def _generate_examples(self, split):
            for index, (data, label) in enumerate(EXPECTED[split]):
                yield index, {'image': io.BytesIO(data), 'label': label}

    builder = Tiny(data_dir=path, file_format='array_record')
    builder.download_and_prepare()
    return f'tfds:{builder.data_dir}'


def records(path):
    write_array_records(Memory(FILES), path, images_per_file=5)
    return f'arrayrecord:{path}'


MAKERS = {
    'folder': lambda path: write_folder(path / 'images', FILES),
    'zip': lambda path: write_zip(path / 'images.zip', FILES),
    'deflated zip': lambda path: write_zip(path / 'images.zip', FILES, zipfile.ZIP_DEFLATED),
    'zip with a top folder': lambda path: write_zip(path / 'images.zip', files('images/')),
    'tar': lambda path: write_tar(path / 'images.tar', FILES),
    'tar from inside': lambda path: write_tar(path / 'images.tar', files('./')),
    'array records': lambda path: records(path / 'records'),
    'hugging face': lambda path: hugging_face(path / 'saved'),
    'tfds': lambda path: tensorflow_datasets(path),
}


@pytest.mark.parametrize('kind', MAKERS)
def test_every_source_gives_the_same_images(kind, tmp_path):
    source = open_source(str(MAKERS[kind](tmp_path)))
    assert source.classes == CLASSES
    assert (source.size('train'), source.size('test')) == (13, 7)
    if kind == 'tfds':  # It keeps an order of its own, by a hash of the keys.
        assert {split: sorted(rows) for split, rows in whole(source).items()} == {
            split: sorted(rows) for split, rows in EXPECTED.items()
        }
    else:
        assert whole(source) == EXPECTED
    assert whole(pickle.loads(pickle.dumps(source))) == whole(source)
    with pytest.raises(ValueError, match=r"split must be one of \['test', 'train'\], got 'val'"):
        source.size('val')
    names = [source.read('train', i)[2] for i in range(13)]
    assert len(set(names)) == 13


@pytest.mark.parametrize('kind', ['zip', 'tar', 'array records'])
def test_threads_read_at_the_same_time(kind, tmp_path):
    source, wrong = open_source(str(MAKERS[kind](tmp_path))), []

    def read(seed):
        for index in np.random.default_rng(seed).integers(0, 13, 300):
            if source.read('train', index)[:2] != EXPECTED['train'][index]:
                wrong.append(index)

    threads = [threading.Thread(target=read, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


@pytest.mark.parametrize(
    'name',
    [
        '../train/ant/9.png',
        'train/../../x.png',
        '/train/ant/9.png',
        'train\\ant\\9.png',
        'C:/train/ant/9.png',
        'train/..',
    ],
)
@pytest.mark.parametrize('write', [write_zip, write_tar])
def test_an_archive_with_a_name_that_leads_out_is_refused(write, name, tmp_path):
    path = write(tmp_path / f'bad{"." + write.__name__[6:]}', FILES | {name: b'x'})
    with pytest.raises(ValueError, match=r'the archive .*bad.* is refused: its entry .* leads out of the archive'):
        open_source(str(path))


def test_a_zip_with_a_link_is_refused(tmp_path):
    path = write_zip(tmp_path / 'bad.zip', FILES)
    with zipfile.ZipFile(path, 'a') as archive:
        link = zipfile.ZipInfo('train/ant/9.png')
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(link, '/etc/passwd')
    with pytest.raises(ValueError, match=r"refused: its entry 'train/ant/9.png' is a link"):
        open_source(str(path))


@pytest.mark.parametrize(
    ('kind', 'words'),
    [(tarfile.SYMTYPE, "a link to '/etc/passwd'"), (tarfile.LNKTYPE, 'a link'), (tarfile.FIFOTYPE, 'special')],
)
def test_a_tar_with_a_link_or_a_device_is_refused(kind, words, tmp_path):
    path = write_tar(tmp_path / 'bad.tar', FILES)
    with tarfile.open(path, 'a') as archive:
        member = tarfile.TarInfo('train/ant/9.png')
        member.type, member.linkname = kind, '/etc/passwd'
        archive.addfile(member)
    with pytest.raises(ValueError, match=rf"entry 'train/ant/9.png' is no plain file or folder but {words}"):
        open_source(str(path))


@pytest.mark.filterwarnings('ignore:Duplicate name')
@pytest.mark.parametrize('write', [write_zip, write_tar])
def test_an_archive_with_an_entry_twice_is_refused(write, tmp_path):
    path = write(tmp_path / f'bad.{write.__name__[6:]}', FILES | {'./train/ant/0.png': b'x'})
    with pytest.raises(ValueError, match=r"refused: its entry 'train/ant/0.png' is there twice"):
        open_source(str(path))


def test_another_compression_of_a_zip_is_refused(tmp_path):
    path = write_zip(tmp_path / 'bad.zip', FILES, zipfile.ZIP_BZIP2)
    with pytest.raises(ValueError, match=r'must be stored or deflated, not encrypted; got method 12'):
        open_source(str(path))


@pytest.mark.parametrize(('mode', 'suffix', 'words'), [('w:gz', '.tar.gz', 'gzip'), ('w:xz', '.tar', 'xz')])
def test_a_compressed_tar_is_refused(mode, suffix, words, tmp_path):
    path = write_tar(tmp_path / f'images{suffix}', FILES, mode)
    with pytest.raises(ValueError, match=rf'is compressed \({words}\).*expected an uncompressed .tar or a .zip'):
        open_source(str(path))


def test_damage_to_an_archive_is_found(tmp_path):
    (tmp_path / 'no.zip').write_bytes(b'PK' + bytes(100))
    with pytest.raises(ValueError, match=r'no.zip is no zip archive, or is damaged'):
        open_source(str(tmp_path / 'no.zip'))
    (tmp_path / 'no.tar').write_bytes(b'x' * 2000)
    with pytest.raises(ValueError, match=r'no.tar is no tar archive, or is damaged'):
        open_source(str(tmp_path / 'no.tar'))


@pytest.mark.parametrize('more', [0, 100, 512, 700])
def test_a_tar_that_is_cut_off_is_refused(more, tmp_path):
    """Before, in or after the header of the last image: without it every class would still have an image."""
    path = write_tar(tmp_path / 'cut.tar', FILES)
    with tarfile.open(path) as archive:
        os.truncate(path, archive.getmember('val/cow/1.png').offset + more)
    with pytest.raises(
        ValueError, match=r'the archive .*cut.tar is (cut off or damaged after \d+ bytes|no tar archive)'
    ):
        open_source(str(path))


def test_a_tar_with_a_damaged_header_is_refused(tmp_path):
    path = write_tar(tmp_path / 'bad.tar', FILES)
    with tarfile.open(path) as archive:
        place = archive.getmember('val/cow/1.png').offset
    with path.open('r+b') as file:
        file.seek(place + 150)  # its checksum
        file.write(b'7')
    with pytest.raises(ValueError, match=r'cut off or damaged after \d+ bytes: there is no end of archive'):
        open_source(str(path))


@pytest.mark.parametrize('method', [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_a_damaged_entry_of_a_zip_is_unreadable(method, tmp_path):
    path = write_zip(tmp_path / 'images.zip', FILES, method)
    with zipfile.ZipFile(path) as archive:
        info = archive.getinfo('train/ant/2.png')
    data = bytearray(path.read_bytes())
    data[info.header_offset + 60 + len(info.filename)] ^= 255
    data[zipfile.ZipFile(path).getinfo('train/ant/3.png').header_offset] = 0
    path.write_bytes(data)
    source = open_source(str(path))
    with pytest.raises(UnreadableImage, match=r'train/ant/2.png cannot be read: the entry of the archive is damaged'):
        source.read('train', 2)
    with pytest.raises(UnreadableImage, match=r'train/ant/3.png cannot be read: the archive has no entry where'):
        source.read('train', 3)
    assert source.read('train', 1)[:2] == EXPECTED['train'][1]


def test_an_archive_that_is_cut_off_later_is_unreadable(tmp_path):
    path = write_tar(tmp_path / 'images.tar', FILES)
    source = open_source(str(path))
    os.truncate(path, 1000)
    with pytest.raises(UnreadableImage, match=r'the archive is cut off \(.*images.tar ends \d+ bytes too early'):
        source.read('test', 0)


def test_places_that_are_none_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r'data: there is no file or folder digit; expected digits, a folder'):
        open_source('digit')
    (tmp_path / 'images.rar').write_bytes(b'x')
    with pytest.raises(ValueError, match=r'data must be digits, a folder, .*; got the file .*images.rar'):
        open_source(str(tmp_path / 'images.rar'))
    with pytest.raises(FileNotFoundError, match=r'there is no dataset.json in .*: `write_array_records` writes it'):
        open_source(f'arrayrecord:{tmp_path}')


def test_records_that_do_not_fit_their_contents_are_named(tmp_path):
    write_array_records(Memory(FILES), tmp_path / 'r', images_per_file=5)
    with pytest.raises(FileExistsError):
        write_array_records(Memory(FILES), tmp_path / 'r')
    with pytest.raises(ValueError, match=r'images_per_file must be >= 1, got 0'):
        write_array_records(Memory(FILES), tmp_path / 'q', images_per_file=0)
    contents = tmp_path / 'r' / 'dataset.json'
    right = json.loads(contents.read_text())
    assert list(right['splits']['train'].values()) == [5, 5, 3]

    def changed(change):
        wrong = json.loads(json.dumps(right))
        change(wrong)
        contents.write_text(json.dumps(wrong))
        return ArrayRecords(tmp_path / 'r')

    with pytest.raises(ValueError, match=r"must have the format 'flax_dynconv images 1', but: .*its format is 'other'"):
        changed(lambda wrong: wrong.update(format='other'))
    with pytest.raises(ValueError, match=r"must have the format .*, but: KeyError\('test'\)"):
        changed(lambda wrong: wrong['splits'].pop('test'))
    with pytest.raises(ValueError, match=r'test-00000-of-00002.array_record must have 9 records, .* got 5'):
        changed(lambda wrong: wrong['splits']['test'].update({'test-00000-of-00002.array_record': 9}))
    changed(lambda wrong: None)
    os.truncate(tmp_path / 'r' / 'train-00001-of-00003.array_record', 100)
    with pytest.raises(ValueError, match=r'train-00001-of-00003.array_record is missing or damaged'):
        ArrayRecords(tmp_path / 'r')


def test_hugging_face_data_without_the_right_columns_are_named(tmp_path):
    datasets = pytest.importorskip('datasets')
    label = datasets.ClassLabel(names=list(CLASSES))

    def save(name, columns, features, splits=('train', 'test')):
        table = datasets.Dataset.from_dict(columns, features=datasets.Features(features))
        datasets.DatasetDict({split: table for split in splits}).save_to_disk(tmp_path / name)
        return f'hf:{tmp_path / name}'

    data = {'image': [{'bytes': b'', 'path': None}] * 2, 'label': [0, 1]}
    image = {'image': datasets.Image()}
    with pytest.raises(
        ValueError, match=r"must have one column of the type ClassLabel .*got \[\] of \['image', 'label'\]"
    ):
        open_source(save('a', data, image | {'label': datasets.Value('int64')}))
    with pytest.raises(ValueError, match=r"every class must have training images, \['cow'\] have none"):
        open_source(save('b', data, image | {'label': label}))
    with pytest.raises(ValueError, match=r'labels of train must be from 0 to 2, got \[-1\]'):
        open_source(save('c', data | {'label': [0, -1]}, image | {'label': label}))
    with pytest.raises(ValueError, match=r"has no images for evaluation: expected a split among .*, got \['train'\]"):
        open_source(save('d', data, image | {'label': label}, splits=('train',)))


def test_tfds_data_that_are_not_prepared_are_named(tmp_path, monkeypatch):
    tfds = pytest.importorskip('tensorflow_datasets')
    with pytest.raises(
        ValueError, match=r"'no_such_data' is no folder with dataset_info.json and no data set that TFDS"
    ):
        open_source('tfds:no_such_data')
    monkeypatch.setattr(tfds.core.constants, 'DATA_DIR', str(tmp_path))
    with pytest.raises(ValueError, match=r"'cifar10' is not prepared in .*: run `tfds build cifar10 --file_format"):
        open_source('tfds:cifar10')
    folder = tensorflow_datasets(tmp_path)
    info = os.path.join(folder.removeprefix('tfds:'), 'dataset_info.json')
    with open(info) as file:
        other = json.load(file) | {'fileFormat': 'tfrecord'}
    with open(info, 'w') as file:
        json.dump(other, file)
    with pytest.raises(ValueError, match=r'must be prepared as array_record, got tfrecord: run `tfds build'):
        open_source(folder)
