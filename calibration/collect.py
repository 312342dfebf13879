"""Run a network over calibration batches and collect the histogram of chosen tensors."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
from google.protobuf.message import DecodeError

from calibration.histogram import DEFAULT_BINS, TensorHistogram
from runtime.errors import ReidEdgeError

_MAX_BATCH = 8
# What one run may hand back: with ONNX Runtime's own buffers well below 1 GB in all.
_MAX_OUTPUT_BYTES = 256 << 20


def collect_ranges(
    model: onnx.ModelProto | str | Path,
    tensors: Sequence[str],
    batches: Iterable[np.ndarray],
    *,
    bins: int = DEFAULT_BINS,
    threads: int | None = None,
    progress: Callable[[int], object] | None = None,
) -> dict[str, TensorHistogram]:
    """Collect the value histograms of tensors inside a network, in one pass and bounded memory.

    The tensors become extra outputs of the graph, so no optimisation of ONNX Runtime can remove
    them. Batches are cut so that one run returns at most 8 images and about 256 MB.

    Args:
        model: A float32 network with one input, its batch dimension free or 1; or its file.
        tensors: Names of float tensors: the graph's input, or any node's output.
        batches: Preprocessed inputs, each (N, C, H, W) float32, N of any size.
        bins: Histogram bins on either side of zero; a power of two.
        threads: CPU threads; None takes ONNX Runtime's choice for inference, 2 for histograms.
        progress: Called with the number of images just finished (a tqdm bar's ``update`` fits).

    Returns:
        One histogram per name, in the order of ``tensors``.

    Raises:
        ReidEdgeError: The model cannot be read or run, a name is not one of its tensors, a batch
            does not fit the input, there are no batches, or a tensor holds NaN or infinity.
    """
    graph_model = model if isinstance(model, onnx.ModelProto) else _load(Path(model))
    histograms = {name: TensorHistogram(name, bins) for name in tensors}
    input_name = _only_input(graph_model)
    fetched = [name for name in histograms if name != input_name]
    session = _session(graph_model, fetched, threads)
    step = 1  # the first image shows how much one image returns
    images = 0
    with ThreadPoolExecutor(threads or 2) as pool:
        for batch in batches:
            _check_batch(batch, session)
            start = 0
            while start < len(batch):
                part = np.ascontiguousarray(batch[start : start + step])
                values = dict(zip(fetched, _run(session, fetched, {input_name: part})))
                if input_name in histograms:
                    values[input_name] = part
                for _ in pool.map(lambda item: histograms[item[0]].update(item[1]), values.items()):
                    pass  # raises here what an update raised
                start += len(part)
                images += len(part)
                if progress is not None:
                    progress(len(part))
                step = _images_per_run(session, values, len(part))
                del values  # before the next run allocates its own
    if not images:
        raise ReidEdgeError("Calibration got no images; give at least one batch.")
    return histograms


def _load(path: Path) -> onnx.ModelProto:
    try:
        return onnx.load(str(path))
    except OSError as error:
        raise ReidEdgeError(f"Cannot read the network {path}: {error.strerror or error}.") from None
    except DecodeError:
        raise ReidEdgeError(f"{path} is not an ONNX file; export the network again.") from None


def _only_input(model: onnx.ModelProto) -> str:
    weights = {tensor.name for tensor in model.graph.initializer}
    inputs = [value.name for value in model.graph.input if value.name not in weights]
    if len(inputs) != 1:
        raise ReidEdgeError(f"Calibration needs a network with one input, this one has {inputs}.")
    return inputs[0]


def _session(
    model: onnx.ModelProto, fetched: Sequence[str], threads: int | None
) -> ort.InferenceSession:
    """The network with ``fetched`` as outputs."""
    produced = {name for node in model.graph.node for name in node.output if name}
    unknown = [name for name in fetched if name not in produced]
    if unknown:
        raise ReidEdgeError(
            f"Cannot calibrate {unknown[:5]}: no node of the network produces them; "
            "name the graph's input or the output of a node."
        )
    opened = onnx.ModelProto()
    opened.CopyFrom(model)
    outputs = {value.name: value for value in opened.graph.output}
    del opened.graph.output[:]
    # ONNX Runtime infers the types; a graph must have an output even if only its input is wanted.
    wanted = list(fetched) or list(outputs)
    opened.graph.output.extend(outputs.get(n, onnx.ValueInfoProto(name=n)) for n in wanted)
    options = ort.SessionOptions()
    options.log_severity_level = 3
    if threads is not None:
        options.intra_op_num_threads = threads
    try:
        session = ort.InferenceSession(
            opened.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
    except Exception as error:  # ONNX Runtime's exceptions share no narrower base class
        raise ReidEdgeError(f"ONNX Runtime cannot load it: {_first_line(error)}") from error
    for value in session.get_outputs():
        if value.name in fetched and value.type not in ("tensor(float)", "tensor(float16)"):
            raise ReidEdgeError(
                f"Cannot calibrate {value.name!r}: expected a float tensor, got {value.type}."
            )
    return session


def _check_batch(batch: np.ndarray, session: ort.InferenceSession) -> None:
    expected = session.get_inputs()[0].shape
    fits = batch.dtype == np.float32 and batch.ndim == len(expected)
    fits = fits and all(
        not isinstance(size, int) or size == got for size, got in zip(expected[1:], batch.shape[1:])
    )
    fixed = isinstance(expected[0], int)
    if not fits or (fixed and expected[0] != 1):
        raise ReidEdgeError(
            f"Calibration needs float32 batches for input shape {expected}, its first dimension "
            f"free or 1; got {batch.dtype} of shape {list(batch.shape)}."
        )


def _run(
    session: ort.InferenceSession, fetched: Sequence[str], feed: dict[str, np.ndarray]
) -> list[np.ndarray]:
    if not fetched:
        return []
    try:
        return session.run(list(fetched), feed)
    except Exception as error:  # as above
        raise ReidEdgeError(f"ONNX Runtime cannot run it: {_first_line(error)}") from error


def _images_per_run(
    session: ort.InferenceSession, values: dict[str, np.ndarray], images: int
) -> int:
    if isinstance(session.get_inputs()[0].shape[0], int):
        return 1
    image_bytes = sum(value.nbytes for value in values.values()) / images
    return int(min(max(_MAX_OUTPUT_BYTES // max(image_bytes, 1), 1), _MAX_BATCH))


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
