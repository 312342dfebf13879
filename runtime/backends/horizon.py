"""Horizon BPU: runs the .bin that the vendor's compiler made of a bundle's model, on an RDK X3 or X5."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Optional, Union

import numpy as np

from runtime.backends.base import Backend
from runtime.bundle import Bundle
from runtime.errors import ReidEdgeError, VerificationError
from runtime.horizon_model import OUTPUT_TYPES, HorizonModel
from runtime.preprocess import l2_normalize

# Smallest cosine to the simulated board's golden embeddings. The vendor calls an output below 0.8 a
# clear loss. Simulated on real crops, a right model gives 0.98 and more, another range of NV12 0.86
# to 0.93, exchanged colours below 0.35.
MIN_COSINE, GOOD_COSINE = 0.8, 0.95

_log = logging.getLogger(__name__)


class HorizonBackend(Backend):
    """A compiled model with one NV12 or float32 image input and one embedding output.

    One crop per call to the BPU; ``run`` splits larger batches. ``run`` may be called from any
    thread, but from one at a time: the model has one set of buffers.
    """

    min_batch = max_batch = 1

    def __init__(
        self,
        model: Union[str, Path],
        bundle: Optional[Bundle] = None,
        core_id: int = 0,
        priority: int = 0,
    ):
        """Load a compiled model.

        Args:
            model: Path of the .bin file.
            bundle: The bundle it was compiled from; its contracts are compared.
            core_id: BPU core: 0 lets the board choose, else 1 or 2.
            priority: Of this model's runs among all on the BPU, 0 to 255, the largest first.

        Raises:
            ReidEdgeError: Not on a Horizon board, no such file, or not a ReID model of this bundle.
        """
        path = Path(model)
        elsewhere = "pass --backend onnxruntime"
        self._model = HorizonModel(path, "ReID model", elsewhere, core_id, priority)
        if len(self._model.outputs) != 1:
            raise ReidEdgeError(
                "A ReID model has one input and one output, got 1 and %d in %s; "
                "compile the model of the bundle." % (len(self._model.outputs), path)
            )
        self.input_kind, self.input_shape = self._model.image.kind, self._model.image.shape
        self._dim, self._scale = _embedding_of(self._model.outputs[0], path)
        if bundle is not None:
            expected = (tuple(bundle.manifest.input.shape), bundle.manifest.embedding.dim)
            if (self.input_shape, self._dim) != expected:
                raise ReidEdgeError(
                    "%s takes %s and returns %d values but the bundle says %s and %d; "
                    "compile the model of this bundle."
                    % (path, self.input_shape, self._dim, *expected)
                )
        self.name = "horizon-bpu"

    def _run(self, batch: np.ndarray) -> np.ndarray:
        (buffer,) = self._model.run(batch)
        values = buffer.reshape(1, self._dim).astype(np.float32)  # a copy
        return values if self._scale is None else values * self._scale

    def close(self) -> None:
        """Forget the model; a second call does nothing."""
        self._model.close()


def check_golden(backend: HorizonBackend, golden: Path) -> Optional[float]:
    """Compare the board with the simulation on the bundle's golden inputs.

    A model compiled with another colour order, range or normalisation runs as well as the right one;
    only its embeddings tell.

    Args:
        golden: The bundle's file with ``inputs`` and ``embedding_int8``, or for NV12
            ``inputs_nv12`` and ``embedding_int8_nv12``.

    Returns:
        The smallest cosine; None where the file has nothing for this model's input.

    Raises:
        VerificationError: A cosine is below MIN_COSINE.
    """
    suffix = "_nv12" if backend.input_kind == "nv12" else ""
    with np.load(str(golden), allow_pickle=False) as data:
        if "embedding_int8" + suffix not in data:
            _log.info(
                "The bundle has no golden embeddings for this input; the board is not tested."
            )
            return None
        inputs, expected = data["inputs" + suffix], data["embedding_int8" + suffix]
    got = backend.run(np.ascontiguousarray(inputs))
    worst = float((l2_normalize(got) * l2_normalize(expected)).sum(axis=1).min())
    if not worst >= MIN_COSINE:  # also catches NaN
        raise VerificationError(
            "The board's embeddings differ from the simulation's: cosine %.3f at worst, expected at "
            "least %g; compile the exported config.yaml (colour order, range and normalisation as they "
            "are in it) and fold the result again." % (worst, MIN_COSINE)
        )
    log = _log.info if worst >= GOOD_COSINE else _log.warning
    log("The board agrees with the simulation to a cosine of %.3f at worst.", worst)
    return worst


def _embedding_of(output, path):
    """(dim, scales or None) of an output that is an embedding."""
    dim = int(np.prod(output.shape))
    if output.tensor_type not in OUTPUT_TYPES or not output.shape or max(output.shape) != dim:
        raise ReidEdgeError(
            "A ReID model returns one embedding in %s, but %s returns %s of type %s; compile it "
            "again." % (" or ".join(OUTPUT_TYPES), path, output.shape, output.tensor_type)
        )
    if output.tensor_type == "float32":
        return dim, None
    if len(output.scales) not in (1, dim):
        raise ReidEdgeError(
            "%s returns %d values in %s with %d scales, so they cannot be turned into floats; compile "
            "it without removing its Dequantize node."
            % (path, dim, output.tensor_type, len(output.scales))
        )
    return dim, output.scales
