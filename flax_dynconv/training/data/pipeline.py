"""The pieces of a pass read in parallel by grain, put together to batches."""

import contextlib
import multiprocessing
import os
import signal
import threading

import numpy as np

from flax_dynconv.training.extras import require

# Batches that are read ahead.
AHEAD = 2
# Small images are read in pieces, as handing over one at a time takes longer than decoding it.
LARGEST_PART = 16
_SIGNALS = (signal.SIGTERM, signal.SIGINT)


def part_size(rows, workers):
    """Rows per piece: an even number (a mixed pair stays together), at least one piece for each worker if possible.

    >>> part_size(rows=256, workers=4), part_size(rows=32, workers=8), part_size(rows=3, workers=4)
    (16, 4, 2)
    """
    return min(LARGEST_PART, max(2, 2 * (rows // (2 * workers))))


def batches(reader, threads, processes, on_bad):
    """A generator of batches from the pieces that `reader` gives, in order; its threads end with it.

    `reader` is a `TrainingReader` or `EvaluationReader`; `on_bad({name: reason})` is told of unreadable images.
    With processes > 0 each of that many has `threads` threads; they are started anew for each pass, end with this
    process however it ends, and leave SIGTERM and SIGINT, which a terminal or a scheduler sends to all processes of a
    run, to it.
    Raises ImportError without grain, and what the reader raises.
    """
    grain, part = require('grain', 'reads images in parallel'), reader.part
    ahead = max(threads, -(-AHEAD * part.parts // max(1, processes)))
    options = grain.ReadOptions(num_threads=threads, prefetch_buffer_size=ahead)
    dataset = grain.MapDataset.range(len(part)).map(reader).to_iter_dataset(options)
    if processes:
        _parse_flags()
        dataset = dataset.mp_prefetch(grain.MultiprocessingOptions(processes, per_worker_buffer_size=ahead), _begun)
    return _assembled(dataset, part, on_bad, _signals_held if processes else contextlib.nullcontext)


def _assembled(dataset, part, on_bad, starting):
    pieces = iter(dataset)
    try:
        for step in range(part.start, part.steps):
            arrays = []
            for number in range(part.parts):
                with starting() if (step, number) == (part.start, 0) else contextlib.nullcontext():
                    piece, bad = next(pieces)
                on_bad(bad)
                arrays.append(piece)
            # A copy in any case: arrays from another process are shared memory that ends with them.
            yield {name: np.concatenate([np.asarray(piece[name]) for piece in arrays]) for name in arrays[0]}
    finally:
        pieces.close()


@contextlib.contextmanager
def _signals_held():
    """Signals wait until the processes have begun: those that they are started with held stay held in them."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _begun(index, count):
    """The first thing in a reader process."""
    for number in _SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent():
    # A process that is killed tells its readers nothing; they would wait for it for ever.
    multiprocessing.parent_process().join()
    os._exit(1)


def _parse_flags():
    # grain hands the values of its absl flags to its processes, and reading them before they are parsed is an error.
    from absl import flags

    if not flags.FLAGS.is_parsed():
        flags.FLAGS.mark_as_parsed()
