"""A worker process: `python -m flax_dynconv.bench.child jax|torch`, one JSON object per line in and out.

Requests: {'do': 'hello'}, {'do': 'facts', 'suite', 'cell', 'batch'}, {'do': 'open', 'suite', 'cell', 'batch', 'forms'},
{'do': 'build', 'key'}, {'do': 'run', 'key', 'count', 'settle'} and {'do': 'close'}. An answer has 'error' where the
request failed and 'declined' where a form cannot do the case.
"""

import gc
import importlib.metadata
import json
import os
import signal
import sys
import time

from flax_dynconv.bench import cells, machine


class Child:
    """The programs of one open cell."""

    def __init__(self, framework):
        self.framework, self.programs, self.built = framework, {}, {}
        if framework == 'jax':
            import jax

            # So that compile times are compile times, also in a process that replaces a lost one.
            jax.config.update('jax_enable_compilation_cache', False)

    def hello(self):
        """Version, threads, device."""
        if self.framework == 'torch':
            import torch

            return {'version': torch.__version__, 'threads': torch.get_num_threads()}
        import jax

        device = jax.devices()[0]
        return {
            'version': jax.__version__, 'jaxlib': importlib.metadata.version('jaxlib'), 'platform': device.platform,
            'device': device.device_kind, 'threads': machine.cores(),
        }  # fmt: skip

    def facts(self, suite, cell, batch):
        """What the cell says about itself; nothing is drawn."""
        return cells.find(suite, cell).facts(batch)

    def open(self, suite, cell, batch, forms):
        """The keys of the cell's programs; nothing is compiled."""
        self.close()
        cell = cells.find(suite, cell)
        programs = cell.jax_programs(batch, forms) if self.framework == 'jax' else cell.torch_programs(batch)
        self.programs = {program.key: program for program in programs}
        return {'programs': list(self.programs)}

    def build(self, key):
        """Compile one program."""
        try:
            self.built[key] = self.programs[key].build()
        except NotImplementedError as error:
            return {'declined': str(error)}
        return {'facts': self.built[key].facts}

    def run(self, key, count, settle):
        """Seconds of `count` runs; `settle` runs before them are not counted. Builds what a lost process had built."""
        if key not in self.built:
            self.build(key)
        run, seconds = self.built[key].run, []
        for i in range(settle + count):
            start = time.perf_counter()
            run()
            if i >= settle:
                seconds.append(time.perf_counter() - start)
        return {'seconds': seconds}

    def close(self):
        """Forget the cell."""
        self.programs, self.built = {}, {}
        gc.collect()
        return {}


def main():
    """Serve until the other end closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle.
    # Whatever a library prints must not end up among the answers.
    answers = os.fdopen(os.dup(1), 'w')
    os.dup2(2, 1)
    child = Child(sys.argv[1])
    for line in sys.stdin:
        request = json.loads(line)
        try:
            answer = getattr(child, request.pop('do'))(**request)
        except Exception as error:
            answer = {'error': f'{type(error).__name__}: {str(error).strip()}'}
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == '__main__':
    main()
