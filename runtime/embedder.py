"""Crops in, embeddings out: preprocessing, network and normalisation of one bundle."""

from typing import Optional, Sequence

import numpy as np

from runtime.backends import open_backend
from runtime.backends.base import Backend
from runtime.bundle import Bundle
from runtime.nv12 import preprocess_nv12
from runtime.preprocess import l2_normalize, preprocess


class Embedder:
    """The ReID network of a bundle as a function on image crops.

    embedder = Embedder(Bundle.open("market_rga"))
    embeddings = embedder.embed([frame[y0:y1, x0:x1] for x0, y0, x1, y1 in boxes])
    """

    def __init__(self, bundle: Bundle, backend: Optional[Backend] = None):
        """Use ``backend``, or the one runtime.backends.open_backend picks for the bundle."""
        self.input = bundle.manifest.input
        self.embedding = bundle.manifest.embedding
        self.backend = backend or open_backend(bundle)

    def embed(self, crops: Sequence[np.ndarray]) -> np.ndarray:
        """Embed N crops, each (H, W, 3) uint8 BGR of any size, as (N, dim) float32.

        Rows have unit length when the contract says so. No crops give an array of shape (0, dim).
        """
        if not len(crops):
            return np.empty((0, self.embedding.dim), np.float32)
        prepare = preprocess_nv12 if self.backend.input_kind == "nv12" else preprocess
        embeddings = self.backend.run(prepare(crops, self.input))
        return l2_normalize(embeddings) if self.embedding.l2_normalize else embeddings
