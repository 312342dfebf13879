"""A network of any backend that returns chosen outputs and keeps what it was given."""

from __future__ import annotations

import numpy as np

from tests.runtime.detectors.heads import HEADS


class FakeRunner:
    """Sees ``boxes`` (network pixels) in whatever it is shown."""

    def __init__(self, kind, size, boxes=(), scores=(), input_kind="float", **options):
        self.name = "fake"
        self.input_size = size
        self.input_kind = input_kind
        self.outputs = HEADS[kind](np.reshape(boxes, (-1, 4)), scores, size, **options)
        self.given = None
        self.closed = False

    def __call__(self, batch):
        self.given = batch
        return self.outputs

    def close(self):
        self.closed = True
