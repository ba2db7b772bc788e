"""The pieces of a pass read in parallel by grain, put together to batches."""

import numpy as np

from flax_dynconv.training.extras import require

# Batches that are read ahead.
AHEAD = 2
# Small images are read in pieces, as handing over one at a time takes longer than decoding it.
LARGEST_PART = 16


def part_size(rows, workers):
    """Rows per piece: an even number (a mixed pair stays together), at least one piece for each worker if possible.

    >>> part_size(rows=256, workers=4), part_size(rows=32, workers=8), part_size(rows=3, workers=4)
    (16, 4, 2)
    """
    return min(LARGEST_PART, max(2, 2 * (rows // (2 * workers))))


def batches(reader, threads, processes, on_bad):
    """A generator of batches from the pieces that `reader` gives, in order; its threads end with it.

    `reader` is a `TrainingReader` or `EvaluationReader`; `on_bad({name: reason})` is told of unreadable images.
    With processes > 0 each of that many has `threads` threads; they are started anew for each pass.
    Raises ImportError without grain, and what the reader raises.
    """
    grain, part = require('grain', 'reads images in parallel'), reader.part
    ahead = max(threads, -(-AHEAD * part.parts // max(1, processes)))
    options = grain.ReadOptions(num_threads=threads, prefetch_buffer_size=ahead)
    dataset = grain.MapDataset.range(len(part)).map(reader).to_iter_dataset(options)
    if processes:
        _parse_flags()
        dataset = dataset.mp_prefetch(grain.MultiprocessingOptions(processes, per_worker_buffer_size=ahead))
    return _assembled(dataset, part, on_bad)


def _assembled(dataset, part, on_bad):
    pieces = iter(dataset)
    try:
        for _ in range(part.start, part.steps):
            arrays = []
            for _ in range(part.parts):
                piece, bad = next(pieces)
                on_bad(bad)
                arrays.append(piece)
            # A copy in any case: arrays from another process are shared memory that ends with them.
            yield {name: np.concatenate([np.asarray(piece[name]) for piece in arrays]) for name in arrays[0]}
    finally:
        pieces.close()


def _parse_flags():
    # grain hands the values of its absl flags to its processes, and reading them before they are parsed is an error.
    from absl import flags

    if not flags.FLAGS.is_parsed():
        flags.FLAGS.mark_as_parsed()
