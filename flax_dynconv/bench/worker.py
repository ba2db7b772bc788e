"""Worker: the parent's end of a worker process."""

import json
import os
import select
import subprocess
import sys
import tempfile
from pathlib import Path

import flax_dynconv


class WorkerDied(RuntimeError):
    """The process ended, or was ended because it took too long."""


class Refused(RuntimeError):
    """The process lives, the request failed."""


class Worker:
    """A process with JAX or PyTorch, started when it is first asked; after a death the next request starts a new one.

    `ask` raises `Refused` with the other side's error, `WorkerDied` where the process is gone (with the end of what it
    wrote to stderr) or took more than `timeout` seconds.
    """

    def __init__(self, framework: str):
        self.framework = framework
        self.process = self.log = None

    def ask(self, do: str, timeout: float | None = None, **request) -> dict:
        """Send one request and wait for its answer."""
        if self.process is None:
            self._start()
        try:
            self.process.stdin.write(json.dumps({'do': do, **request}) + '\n')
            self.process.stdin.flush()
        except BrokenPipeError:
            raise self._death() from None
        if not select.select([self.process.stdout], [], [], timeout)[0]:
            self.stop()
            raise WorkerDied(f'took more than {timeout:.0f} s')
        line = self.process.stdout.readline()
        if not line:
            raise self._death()
        answer = json.loads(line)
        if 'error' in answer:
            raise Refused(answer['error'])
        return answer

    def stop(self):
        """End the process, if there is one."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process.stdin.close()
            self.process.stdout.close()
            self.log.close()
        self.process = self.log = None

    def _start(self):
        self.log = tempfile.TemporaryFile('w+')  # noqa: SIM115 - `stop` closes it
        # This package and no other: -P is for a working directory that holds a second one, such as a checkout.
        path = [str(Path(flax_dynconv.__file__).parents[1]), *filter(None, [os.environ.get('PYTHONPATH')])]
        self.process = subprocess.Popen(
            [sys.executable, '-P', '-m', 'flax_dynconv.bench.child', self.framework], stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, stderr=self.log, text=True, env=os.environ | {'PYTHONPATH': os.pathsep.join(path)},
        )  # fmt: skip

    def _death(self):
        code = self.process.wait()
        self.log.seek(0)
        lines = self.log.read().strip().splitlines()
        self.stop()
        return WorkerDied(f'the {self.framework} process ended with {code}' + (f': {lines[-1]}' if lines else ''))
