"""What a user could take instead of a reid-edge bundle, measured in the same run.

| alternative | what it is |
|---|---|
| ``ort_static`` | ONNX Runtime's own static quantization of the fp32 model, with its defaults |
| ``ort_static_channel`` | the same with one scale per output channel |
| ``fp32_<provider>``, ``int8_<provider>`` | the bundle's models in another execution provider of ONNX Runtime |
| a user's name | an ONNX file with the bundle's input and embedding, such as the original form of RGA |
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Dict, Iterator, List, Optional, Sequence, Tuple, Union

import numpy as np

from benchmarks.machine import versions
from benchmarks.results import MEASURED
from benchmarks.variants import Variant
from calibration.layouts import training_crops
from calibration.selection import select_crops
from runtime.backends.base import Backend
from runtime.bundle import Bundle, file_sha256
from runtime.errors import ReidEdgeError
from runtime.preprocess import preprocess, read_image

_BATCH = 8
_QUIET = (
    "CPUExecutionProvider",
    "AzureExecutionProvider",
)  # the default; and one that computes elsewhere
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]*")
_STATIC = {
    "ort_static": (False, "ONNX Runtime's static quantization with its defaults"),
    "ort_static_channel": (True, "ONNX Runtime's static quantization with a scale per channel"),
}


@dataclass(frozen=True)
class QuantizeJob:
    """ONNX Runtime's static quantization of a bundle's fp32 model; can run in another process.

    Attributes:
        bundle: Its folder.
        calib: Folder of training crops.
        count, seed: How many of these, and the seed of their choice.
        cache: Folder for the results.
    """

    bundle: str
    calib: str
    count: int
    seed: int
    cache: str

    def run(self, progress: bool = False) -> List[Variant]:
        """Quantize, or take what an earlier run made of the same model and crops.

        Raises:
            ReidEdgeError: ONNX Runtime's quantization is not installed or fails, or the crops
                cannot be used.
        """
        bundle = Bundle.open(self.bundle, verify=False)
        crops, layout = training_crops(self.calib)
        chosen = select_crops(crops, self.count, root=self.calib, method="identity", seed=self.seed)
        source = bundle.find("model.fp32")
        made = []
        for name, (per_channel, what) in _STATIC.items():
            key = {
                "model": file_sha256(source),
                "crops": chosen.sha256,
                "input": bundle.manifest.input.to_dict(),
                "per_channel": per_channel,
                "onnxruntime": versions().get("onnxruntime"),
            }
            digest = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:32]
            path = Path(self.cache) / "models" / ("%s.onnx" % digest)
            if not path.is_file():
                images = [read_image(crop.path) for crop in chosen.crops]
                _quantize_static(
                    source, path, preprocess(images, bundle.manifest.input), per_channel
                )
            note = "%s of the fp32 model, calibrated on %d crops of %s (%s)." % (
                what, len(chosen.crops), Path(self.calib).name, layout,
            )  # fmt: skip
            made.append(_of_file(name, path, what, "int8", (note,)))
        return made


def user_alternatives(given: Sequence[str], bundles: Sequence[Bundle]) -> List[Tuple[int, Variant]]:
    """Variants of ONNX files given as ``NAME=FILE.onnx``, each with the number of its bundle.

    A file belongs to the first bundle with its input size and embedding.

    Raises:
        ReidEdgeError: Not of this form, a name twice, no such file, or it fits no bundle.
    """
    found: List[Tuple[int, Variant]] = []
    for text in given:
        name, equals, file = text.partition("=")
        if not equals or not _NAME.fullmatch(name) or name in {v.name for _, v in found}:
            raise ReidEdgeError(
                "--alternative takes NAME=FILE.onnx with a new name of letters, digits, - and _, got %r."
                % text
            )
        path = Path(file)
        if not path.is_file():
            raise ReidEdgeError("--alternative %s: there is no file %s." % (name, path))
        what = "%s, given by the user" % path.name
        # Q/DQ pairs and integer operators are spelled out in the file.
        contents = path.read_bytes()
        integer = any(op in contents for op in (b"QuantizeLinear", b"QLinear", b"Integer"))
        variant = _of_file(name, path, what, "int8" if integer else "fp32", ())
        found.append((_fitting(variant, bundles), variant))
    return found


def provider_variants(
    variants: Sequence[Variant], available: Optional[Sequence[str]] = None
) -> List[Variant]:
    """The measured models of ``variants`` in the other execution providers of this machine.

    Args:
        variants: Of a bundle.
        available: Names of providers; by default those of the installed ONNX Runtime.
    """
    if available is None:
        import onnxruntime

        available = onnxruntime.get_available_providers()
    found = []
    for provider in available:
        if provider in _QUIET:
            continue
        short = provider.replace("ExecutionProvider", "").lower()
        for variant in variants:
            if variant.backend == "onnxruntime" and variant.timed and variant.provider is None:
                found.append(
                    replace(
                        variant,
                        name="%s_%s" % (variant.name, short),
                        label="onnxruntime-%s" % short,
                        provider=provider,
                        alternative="ONNX Runtime's %s" % provider,
                    )
                )
    return found


class ProviderBackend(Backend):
    """ONNX Runtime with another execution provider; what that cannot run falls back to the CPU."""

    def __init__(
        self,
        model: Union[str, Path],
        input_shape: Sequence[int],
        provider: str,
        threads: Optional[int] = None,
    ):
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        if threads is not None:
            options.intra_op_num_threads = threads
        try:
            self._session: Any = onnxruntime.InferenceSession(
                str(model), options, providers=list(dict.fromkeys([provider, _QUIET[0]]))
            )
        except Exception as error:  # onnxruntime raises a different class for every kind of failure
            raise ReidEdgeError(
                "ONNX Runtime's %s cannot open %s: %s"
                % (provider, model, str(error).strip().splitlines()[0])
            ) from None
        if self._session.get_providers()[0] != provider:
            raise ReidEdgeError(
                "ONNX Runtime lists the provider %s but cannot use it here (it took %s); check its "
                "libraries." % (provider, ", ".join(self._session.get_providers()))
            )
        self._input = self._session.get_inputs()[0]
        self.input_shape = tuple(self._input.shape[1:])
        if self.input_shape != tuple(input_shape):
            raise ReidEdgeError(
                "%s takes inputs of %s, but the contract says %s."
                % (model, self.input_shape, tuple(input_shape))
            )
        if isinstance(self._input.shape[0], int):
            self.min_batch = self.max_batch = self._input.shape[0]
        self.name = "onnxruntime-%s" % provider.replace("ExecutionProvider", "").lower()

    def _run(self, batch: np.ndarray) -> np.ndarray:
        output = self._session.run(None, {self._input.name: batch})[0]
        return output.reshape(len(output), -1)

    def close(self) -> None:
        self._session = None


def _fitting(variant: Variant, bundles: Sequence[Bundle]) -> int:
    reasons = []
    for number, bundle in enumerate(bundles):
        shape, dim = bundle.manifest.input.shape, bundle.manifest.embedding.dim
        try:
            with variant.open(bundle, 1) as backend:
                got = backend.run(np.zeros((1, *shape), np.float32)).shape[1]
        except ReidEdgeError as error:
            reasons.append(str(error))
            continue
        if got == dim:
            return number
        reasons.append("it returns %d values and bundle %s %d" % (got, bundle.path.name, dim))
    raise ReidEdgeError(
        "%s fits none of the bundles (%s); give a model with the input and embedding of one."
        % (variant.model, "; ".join(reasons))
    )


def _of_file(name: str, path: Path, what: str, precision: str, notes: Tuple[str, ...]) -> Variant:
    return Variant(
        name, precision, "onnxruntime", "onnxruntime-cpu", MEASURED, str(path), file_sha256(path),
        alternative=what, notes=notes,
    )  # fmt: skip


def _quantize_static(source: Path, path: Path, pixels: np.ndarray, per_channel: bool) -> None:
    try:
        from onnxruntime.quantization import CalibrationDataReader, quantize_static
        from onnxruntime.quantization.shape_inference import quant_pre_process
    except ImportError as error:
        raise ReidEdgeError(
            "ONNX Runtime's quantization cannot be imported (%s); install onnx, or leave "
            "--alternatives out." % error
        ) from None
    import onnx

    name = onnx.load(str(source), load_external_data=False).graph.input[0].name

    class Reader(CalibrationDataReader):
        def __init__(self) -> None:
            self._batches: Iterator[Dict[str, np.ndarray]] = (
                {name: pixels[i : i + _BATCH]} for i in range(0, len(pixels), _BATCH)
            )

        def get_next(self) -> Optional[Dict[str, np.ndarray]]:
            return next(self._batches, None)

    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=str(path.parent), prefix=".quantize-") as folder:
        prepared, made = Path(folder) / "prepared.onnx", Path(folder) / "made.onnx"
        try:
            # Symbolic shapes are for transformers; the documentation lets CNNs skip them.
            quant_pre_process(str(source), str(prepared), skip_symbolic_shape=True)
            quantize_static(str(prepared), str(made), Reader(), per_channel=per_channel)
        except Exception as error:  # whatever the tool stumbles over is its answer to this network
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
            raise ReidEdgeError(
                "ONNX Runtime's static quantization failed on %s: %s" % (source, reason)
            ) from None
        os.replace(str(made), str(path))
