"""A trained network that a smaller one learns from."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from models.checkpoint import LoadedNetwork
from runtime.preprocess import preprocess, read_image
from training.loader import Batch
from training.progress import Progress
from training.run_folder import replace_file

BATCH = 64


def embed_with_mirror(
    teacher: LoadedNetwork,
    paths: Sequence[Path],
    device: torch.device,
    progress: Progress,
) -> Tensor:
    """The teacher's embeddings of crops and of their mirror images.

    Args:
        teacher: The network, read in its own resolution.
        paths: Image files, M of them.
        device: Where to run it.
        progress: Shows how far it is.

    Returns:
        (2, M, D) float32, L2-normalised; ``[1]`` is of the mirrored crops.

    Raises:
        ReidEdgeError: An image that cannot be decoded.
    """
    network = teacher.network.to(device)
    embeddings = torch.empty(2, len(paths), teacher.embedding.dim)
    bar = progress("teacher", len(paths))
    try:
        with torch.inference_mode():
            for start in range(0, len(paths), BATCH):
                crops = [read_image(path) for path in paths[start : start + BATCH]]
                pixels = torch.from_numpy(preprocess(crops, teacher.input)).to(device)
                for mirrored, x in enumerate((pixels, pixels.flip(3))):
                    embeddings[mirrored, start : start + len(crops)] = F.normalize(network(x)).cpu()
                bar.update(len(crops))
    finally:
        bar.close()
    return embeddings


def stored_embeddings(path: Path, key: str, compute: Callable[[], Tensor]) -> Tensor:
    """Embeddings kept in a file, computed again when ``key`` is not the one stored with them.

    Args:
        path: ``.npz`` file.
        key: What they depend on: the teacher's hash and the list of images.
        compute: Makes them.

    Raises:
        ReidEdgeError: The file cannot be written.
    """
    if path.is_file():
        try:
            with np.load(path, allow_pickle=False) as stored:
                if str(stored["key"]) == key:
                    return torch.from_numpy(stored["embeddings"])
        except (OSError, ValueError, KeyError, EOFError, TypeError, zipfile.BadZipFile, zlib.error):
            pass  # a damaged cache is only a cache
    embeddings = compute()
    replace_file(path, lambda p: np.savez(p, key=np.array(key), embeddings=embeddings.numpy()))
    return embeddings


class LiveTeacher:
    """Embeds every augmented batch, as the student sees it.

    Args:
        teacher: The network.
        colour: Order of the training crops' channels, ``"RGB"`` or ``"BGR"``.
        device: Where to run it.

    Attributes:
        dim: Length of its embedding.
    """

    def __init__(self, teacher: LoadedNetwork, colour: str, device: torch.device):
        self.network, self.contract = teacher.network.to(device), teacher.input
        self.colour, self.device, self.dim = colour, device, teacher.embedding.dim

    def __call__(self, batch: Batch) -> Tensor:
        """(N, D) float32, L2-normalised."""
        crops = batch.images.numpy()
        if self.colour == "RGB":  # preprocess() takes BGR
            crops = crops[..., ::-1]
        pixels = torch.from_numpy(preprocess(list(crops), self.contract)).to(self.device)
        with torch.no_grad():
            return F.normalize(self.network(pixels))
