"""Program: one thing whose runs are timed, and what building it told."""

import dataclasses
from collections.abc import Callable

FORWARD, GRADIENT, TRAIN, INFER = 'forward', 'gradient', 'train', 'infer'
# By suite.
DIRECTIONS = {'ops': (FORWARD, GRADIENT), 'models': (TRAIN, INFER)}


@dataclasses.dataclass(frozen=True)
class Built:
    """`run()` computes once and returns when the result is there; `facts` are numbers by name."""

    run: Callable[[], object]
    facts: dict


@dataclasses.dataclass(frozen=True)
class Program:
    """A timed program of a cell, before it is compiled.

    `direction` is 'forward' or 'gradient' (forward and full gradient in one program), for networks 'train' (a step) or
    'infer' (a batch). `build()` compiles; NotImplementedError there means that a form declines the case.
    """

    name: str
    direction: str
    build: Callable[[], Built]

    @property
    def key(self) -> str:
        """Its name within a cell."""
        return f'{self.name}/{self.direction}'
