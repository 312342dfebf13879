"""The variants of a bundle's network that a machine can run, and how each is opened.

| target | fp32 | fp16 | int8 |
|---|---|---|---|
| ``cpu`` | ONNX Runtime | - | ONNX Runtime |
| ``xavier`` | plan, or ONNX Runtime | plan, or simulated | plan, or simulated: the Q/DQ graph as written |
| ``x3`` | ONNX Runtime | - | the compiled model, or simulated, without and with NV12 |

A simulation gives the accuracy to expect; its time says nothing, so it is not timed.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import List, Optional, Sequence, Tuple

import numpy as np

from benchmarks.accuracy import CropTransform, Prepare
from benchmarks.half_precision import half_precision_model
from benchmarks.machine import read_machine
from benchmarks.results import (
    MEASURED,
    SIMULATED_FP16,
    SIMULATED_X3,
    SIMULATED_X3_NV12,
    SIMULATED_XAVIER,
)
from runtime.backends import BACKENDS, open_backend
from runtime.backends.base import Backend
from runtime.bundle import ENGINES_DIR, Bundle, file_sha256
from runtime.contract import InputContract
from runtime.errors import ReidEdgeError
from runtime.manifest import PRECISIONS
from runtime.nv12 import preprocess_nv12, through_nv12
from runtime.preprocess import preprocess, resize_crop

NO_FP16 = (
    "Without a plan for it fp16 is simulated, which needs the package onnx, and that is not installed; "
    "install it, or leave fp16 out."
)
_MODULES = {"onnxruntime": "onnxruntime", "tensorrt": "tensorrt", "horizon": "hobot_dnn"}


@dataclass(frozen=True)
class Variant:
    """One way to run a bundle's network; plain data, so that it can be sent to another process.

    Attributes:
        name: Within the bundle: "fp32", "fp16", "int8", "int8_nv12", "int8-dla0", or a user's; where
            several backends run one precision, those after the first have "@backend" behind it.
        precision: "fp32", "fp16" or "int8".
        backend: "onnxruntime", "tensorrt" or "horizon".
        label: Backend and device, for reports.
        how: See benchmarks.results.HOWS.
        model: The file that runs, or that the simulation is made of.
        model_sha256: Its SHA-256.
        timed: Whether its time means anything.
        as_written: Run node by node, so that rounding does not hang on this CPU's integer kernels.
        provider: ONNX Runtime's execution provider.
        alternative: What this is, where it is not of reid-edge.
        notes: What a reader must know.
    """

    name: str
    precision: str
    backend: str
    label: str
    how: str
    model: str
    model_sha256: str
    timed: bool = True
    as_written: bool = False
    provider: Optional[str] = None
    alternative: Optional[str] = None
    notes: Tuple[str, ...] = ()

    def open(self, bundle: Bundle, threads: Optional[int] = None) -> Backend:
        """The network, ready to run.

        Raises:
            ReidEdgeError: The backend is not installed, or refuses the model.
        """
        shape = bundle.manifest.input.shape
        if self.backend == "tensorrt":
            from runtime.backends.tensorrt import TensorRTBackend  # only where there is TensorRT

            return TensorRTBackend(self.model, bundle)
        if self.backend == "horizon":
            return open_backend(bundle, "horizon", self.precision)
        if self.provider is not None:
            from benchmarks.alternatives import ProviderBackend

            return ProviderBackend(self.model, shape, self.provider, threads)
        from runtime.backends.onnxruntime import OnnxRuntimeBackend  # a board may not have it

        source = Path(self.model)
        if self.how == SIMULATED_FP16:
            half = half_precision_model(source.read_bytes())
            return OnnxRuntimeBackend(half, shape, threads, optimize=False)
        return OnnxRuntimeBackend(source, shape, threads, optimize=not self.as_written)

    def view(self, contract: InputContract) -> Optional[CropTransform]:
        """What is done to a crop before it is prepared; None for nothing."""
        if self.how != SIMULATED_X3_NV12:
            return None
        bgr = contract.with_(color="BGR")
        return lambda crop: through_nv12(resize_crop(crop, bgr))

    @property
    def numerics(self) -> str:
        """What, besides the model and the crops, decides the embeddings."""
        parts = [self.how, self.label, "as written" if self.as_written else "optimised"]
        if self.backend == "onnxruntime":
            parts += _cpu_numerics()
        return "; ".join(parts)


def prepare_of(backend: Backend) -> Prepare:
    """How crops become the backend's input."""
    return preprocess_nv12 if backend.input_kind == "nv12" else preprocess


def golden_inputs(bundle: Bundle, backend: Backend) -> Optional[np.ndarray]:
    """A few inputs of people from elsewhere, as the backend takes them; None where there are none."""
    if not bundle.has("golden"):
        return None
    name = "inputs_nv12" if backend.input_kind == "nv12" else "inputs"
    with np.load(str(bundle.find("golden"))) as golden:
        return golden[name] if name in golden else None


def plan_variants(
    bundle: Bundle,
    backends: Sequence[str] = ("auto",),
    precisions: Optional[Sequence[str]] = None,
) -> List[Variant]:
    """The variants of a bundle to measure, fp32 first.

    Args:
        bundle: An opened bundle.
        backends: Names of runtime.backends.BACKENDS; "auto" takes for each precision what the device
            side would: a plan, a compiled model, else ONNX Runtime.
        precisions: Those of runtime.manifest.PRECISIONS that are wanted; by default what the table
            of this module has for the bundle's target and this machine.

    Raises:
        ReidEdgeError: Unknown backend or precision, a backend that is not installed, or nothing
            that this machine can run.
    """
    for given, known, flag in (
        (backends, BACKENDS, "--backend"),
        (precisions or (), PRECISIONS, "--precision"),
    ):
        wrong = [name for name in given if name not in known]
        if wrong:
            raise ReidEdgeError(
                "%s must be one of %s, got %r." % (flag, ", ".join(known), wrong[0])
            )
    for backend in backends:
        if backend != "auto" and not _installed(backend):
            raise ReidEdgeError(
                "Backend %s is not installed in this Python (no module %s); it can run %s."
                % (backend, _MODULES[backend], ", ".join(filter(_installed, _MODULES)) or "none")
            )
    found: List[Variant] = []
    for precision in PRECISIONS:
        if precisions is not None and precision not in precisions:
            continue
        for backend in backends:
            made = _of_backend(bundle, backend, precision, precisions is not None)
            for variant in made:
                if variant in found:
                    continue
                if variant.name in {other.name for other in found}:
                    variant = replace(variant, name="%s@%s" % (variant.name, variant.backend))
                found.append(variant)
    missing = [p for p in precisions or () if p not in {variant.precision for variant in found}]
    if missing or not found:
        raise ReidEdgeError(
            "Bundle %s cannot run here in %s with --backend %s: it holds %s, and this Python has %s."
            % (
                bundle.path,
                missing[0] if missing else "any precision",
                ",".join(backends),
                ", ".join(bundle.roles() + [p.name for p in _plans(bundle)]) or "no files",
                ", ".join(filter(_installed, _MODULES)) or "no backend",
            )
        )
    return found


def _of_backend(bundle: Bundle, backend: str, precision: str, asked: bool) -> List[Variant]:
    plans = [path for path in _plans(bundle) if path.stem.split("-")[0] == precision]
    if plans and (backend == "tensorrt" or (backend == "auto" and _installed("tensorrt"))):
        return [_plan(path, precision) for path in plans]
    compiled = precision == "int8" and bundle.has("model.bin")
    if compiled and (backend == "horizon" or (backend == "auto" and _installed("horizon"))):
        path = bundle.find("model.bin")
        return [_variant(bundle, path, "int8", "int8", "horizon", "horizon-bpu", MEASURED)]
    if backend in ("auto", "onnxruntime") and _installed("onnxruntime"):
        return _of_onnxruntime(bundle, precision, asked)
    return []


def _of_onnxruntime(bundle: Bundle, precision: str, asked: bool) -> List[Variant]:
    target, label = bundle.manifest.target, "onnxruntime-cpu"

    def simulated(name: str, role: str, how: str, note: str) -> Variant:
        return _variant(
            bundle, bundle.find(role), name, precision, "onnxruntime", label, how,
            timed=False, as_written=True, notes=(note,),
        )  # fmt: skip

    if precision == "fp16":
        if not bundle.has("model.fp32") or not (asked or (target == "xavier" and _has("onnx"))):
            return []
        if not _has("onnx"):
            raise ReidEdgeError(NO_FP16)
        note = "fp16 is simulated: every tensor is rounded to half precision, sums are in float."
        return [simulated("fp16", "model.fp32", SIMULATED_FP16, note)]
    role = "model." + precision
    if not bundle.has(role):
        return []
    if precision == "int8" and target == "xavier":
        note = "int8 is the Q/DQ graph for TensorRT, run node by node on the CPU."
        return [simulated("int8", role, SIMULATED_XAVIER, note)]
    if precision == "int8" and target == "x3":
        note = "int8 is what hb_mapper is expected to make of the network, run on the CPU."
        found = [simulated("int8", role, SIMULATED_X3, note)]
        if _takes_nv12(bundle):
            seen = "int8_nv12 sees each crop after its way through the camera's NV12."
            found.append(simulated("int8_nv12", role, SIMULATED_X3_NV12, seen))
        return found
    path = bundle.find(role)
    return [_variant(bundle, path, precision, precision, "onnxruntime", label, MEASURED)]


def _takes_nv12(bundle: Bundle) -> bool:
    if not bundle.has("golden"):
        return False
    with np.load(str(bundle.find("golden"))) as golden:
        return "inputs_nv12" in golden


def _variant(bundle, path, name, precision, backend, label, how, **rest) -> Variant:
    entry = bundle.manifest.files[path.relative_to(bundle.path).as_posix()]
    return Variant(name, precision, backend, label, how, str(path), entry["sha256"], **rest)


def _plan(path: Path, precision: str) -> Variant:
    device = path.stem.split("-", 1)[-1]
    name = precision if device == "gpu" else "%s-%s" % (precision, device)
    label = "tensorrt-%s-%s" % (device, precision)
    return Variant(name, precision, "tensorrt", label, MEASURED, str(path), file_sha256(path))


def _plans(bundle: Bundle) -> List[Path]:
    # The GPU's before a DLA's: a bundle's figures are the GPU's unless they say otherwise.
    plans = (bundle.path / ENGINES_DIR).glob("*.plan")
    return sorted(plans, key=lambda path: (not path.stem.endswith("-gpu"), path.name))


def bundle_sha256(bundle: Bundle) -> str:
    """SHA-256 of the manifest, which holds those of all other files."""
    return hashlib.sha256((bundle.path / "manifest.json").read_bytes()).hexdigest()


@lru_cache(maxsize=1)
def _cpu_numerics() -> Tuple[str, ...]:
    """ONNX Runtime's integer kernels saturate or not by the CPU's instructions."""
    machine = read_machine()
    return (machine.versions.get("onnxruntime", ""), machine.arch, *machine.cpu_flags)


def _installed(backend: str) -> bool:
    return _has(_MODULES[backend])


def _has(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ValueError:  # a module put into sys.modules by hand has no spec
        return True
