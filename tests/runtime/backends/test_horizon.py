"""The Horizon backend on a stand-in for the board's hobot_dnn.

Shows that what reaches the board is the documented input and that what comes back is the network's
embedding; says nothing about the BPU's speed or rounding.
"""

import logging
import sys

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.backends import open_backend
from runtime.backends.base import Backend
from runtime.backends.horizon import GOOD_COSINE, MIN_COSINE, HorizonBackend, check_golden
from runtime.contract import InputContract
from runtime.embedder import Embedder
from runtime.errors import ReidEdgeError, VerificationError
from runtime.nv12 import preprocess_nv12, through_nv12
from runtime.preprocess import preprocess
from tests.runtime.fake_hobot_dnn import (
    CONTRACT,
    DIM,
    HEIGHT,
    WIDTH,
    install,
    make_bin,
    make_x3_bundle,
    network,
)

FLOAT = {"tensor_type": "float32"}


def crops(count, seed=0):
    """Smooth crops of different sizes, so that chroma at half size loses little."""
    generator = np.random.RandomState(seed)
    small = generator.randint(0, 256, (count, 4, 3, 3)).astype(np.uint8)
    sizes = [(20 + 7 * i, 12 + 5 * i) for i in range(count)]
    return [
        cv2.resize(image, size, interpolation=cv2.INTER_CUBIC) for image, size in zip(small, sizes)
    ]


def seen(images):
    """The float network on what the board sees of the crops."""
    resized = [cv2.resize(image, (WIDTH, HEIGHT)) for image in images]
    return network(preprocess([through_nv12(image) for image in resized], CONTRACT))


def cosine(a, b):
    return (a * b).sum(axis=1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)


@pytest.fixture
def model(tmp_path):
    """Writes a compiled model and returns its path."""

    def write(**options):
        path = tmp_path / "model.bin"
        path.write_bytes(make_bin(**options))
        return path

    return write


def unit_noise(shape):
    """(N, D) rows of unit length."""
    noise = np.random.RandomState(0).normal(size=shape)
    return (noise / np.linalg.norm(noise, axis=1, keepdims=True)).astype(np.float32)


def refused(call):
    with pytest.raises(ReidEdgeError) as caught:
        call()
    message = str(caught.value)
    assert "\n" not in message and message.endswith(".")
    return message


@pytest.mark.parametrize("tensor_type", ["NV12_SEPARATE", "NV12"])  # of an X3, of an X5
@pytest.mark.parametrize(
    "layout, shape", [("NCHW", (1, 3, HEIGHT, WIDTH)), ("NHWC", (1, HEIGHT, WIDTH, 3))]
)
def test_the_board_gets_one_flat_nv12_buffer_per_crop(
    monkeypatch, model, tensor_type, layout, shape
):
    board = install(monkeypatch)
    backend = HorizonBackend(model(tensor_type=tensor_type, layout=layout, shape=shape))
    assert (backend.name, backend.input_kind) == ("horizon-bpu", "nv12")
    assert backend.input_shape == (3, HEIGHT, WIDTH)
    batch = preprocess_nv12(crops(5), CONTRACT)
    embeddings = backend.run(batch)
    assert not board.refused and len(board.runs) == 5
    for (array, core_id, priority), row in zip(board.runs, batch):
        assert (core_id, priority) == (0, 0)
        np.testing.assert_array_equal(array, row)
    assert embeddings.shape == (5, DIM) and embeddings.dtype == np.float32
    # The board decodes with integers; a level of 255 more or less moves the embedding by so much.
    np.testing.assert_allclose(embeddings, seen(crops(5)), atol=2.0)
    assert cosine(embeddings, seen(crops(5))).min() > 0.999


def test_results_do_not_share_the_boards_memory(monkeypatch, model):
    install(monkeypatch)
    backend = HorizonBackend(model())
    batch = preprocess_nv12(crops(2), CONTRACT)
    first = backend.run(batch[:1])
    kept = first.copy()
    second = backend.run(batch[1:])
    np.testing.assert_array_equal(first, kept)
    assert np.abs(first - second).max() > 0.1


@pytest.mark.parametrize(
    "layout, shape", [("NCHW", (1, 3, HEIGHT, WIDTH)), ("NHWC", (1, HEIGHT, WIDTH, 3))]
)
def test_a_float_model_gets_floats_in_its_layout(monkeypatch, model, layout, shape):
    board = install(monkeypatch)
    backend = HorizonBackend(model(layout=layout, shape=shape, **FLOAT))
    assert backend.input_kind == "float" and backend.input_shape == (3, HEIGHT, WIDTH)
    batch = preprocess(crops(3), CONTRACT)
    np.testing.assert_allclose(backend.run(batch), network(batch), rtol=1e-5, atol=1e-5)
    assert [array.shape for array, _, _ in board.runs] == [shape] * 3


@pytest.mark.parametrize("shape", [(1, DIM, 1, 1), (1, 1, 1, DIM), (1, DIM)])
@pytest.mark.parametrize("output_type", ["int8", "int32"])
@pytest.mark.parametrize("per_channel", [False, True])
def test_integers_become_floats_by_their_scales(
    monkeypatch, model, shape, output_type, per_channel
):
    install(monkeypatch)
    batch = preprocess(crops(3), CONTRACT)
    exact = network(batch)
    largest = np.abs(exact).max(axis=0) if per_channel else np.abs(exact).max(keepdims=True)[0]
    scale = (largest / (127 if output_type == "int8" else 1e5)).tolist()
    backend = HorizonBackend(
        model(output_type=output_type, output_shape=shape, scale_data=scale, **FLOAT)
    )
    got = backend.run(batch)
    assert got.shape == (3, DIM) and got.dtype == np.float32
    # Half a code of rounding, and float32's own.
    assert (np.abs(got - exact) <= np.array(scale) * 0.5 + 1e-5 * np.abs(exact).max()).all()


def test_scales_of_a_float_output_are_not_applied(monkeypatch, model):
    install(monkeypatch)
    batch = preprocess(crops(1), CONTRACT)
    backend = HorizonBackend(model(scale_data=[0.5], **FLOAT))
    np.testing.assert_allclose(backend.run(batch), network(batch), rtol=1e-5, atol=1e-5)


def test_core_and_priority_reach_the_board(monkeypatch, model):
    board = install(monkeypatch)
    HorizonBackend(model(), core_id=2, priority=255).run(preprocess_nv12(crops(1), CONTRACT))
    HorizonBackend(model(), priority=7).run(preprocess_nv12(crops(1), CONTRACT))
    assert [run[1:] for run in board.runs] == [(2, 255), (0, 7)]


@pytest.mark.parametrize(
    "control",
    [{"core_id": 3}, {"core_id": -1}, {"priority": 256}, {"priority": -1}, {"priority": 1.5}],
)
def test_core_and_priority_out_of_range_are_refused(monkeypatch, model, control):
    install(monkeypatch)
    message = refused(lambda: HorizonBackend(model(), **control))
    assert message.startswith("BPU core_id must be 0, 1 or 2 and priority 0 to 255, got")


@pytest.mark.parametrize(
    "options, message",
    [
        (
            {"tensor_type": "YUV444"},
            "inputs of type YUV444 but reid-edge feeds NV12, NV12_SEPARATE",
        ),
        ({"tensor_type": "RGB"}, "compile it with input_type_rt nv12"),
        ({"tensor_type": "int8"}, "inputs of type int8"),
        ({"layout": "NONE"}, "in layout NONE"),
        ({"shape": (2, 3, HEIGHT, WIDTH)}, "takes (2, 3, 24, 16)"),
        ({"shape": (1, 1, HEIGHT, WIDTH)}, "image of three channels"),
        ({"shape": (1, HEIGHT, WIDTH, 3)}, "takes (1, 24, 16, 3) in layout NCHW"),
        ({"shape": (3, HEIGHT, WIDTH)}, "takes (3, 24, 16)"),
        ({"shape": (1, 3, HEIGHT, 24)}, "NV12 of 24 x 24 but .* a multiple of 16"),
        ({"shape": (1, 3, 23, WIDTH)}, "NV12 of 23 x 16 but its height must be even"),
        ({"inputs": 2}, "one input and one output, got 2 and 1"),
        ({"outputs": 3}, "one input and one output, got 1 and 3"),
        ({"models": 2}, "holds one model, got 2"),
        ({"models": 0}, "holds one model, got 0"),
        ({"output_type": "int16"}, "returns (1, 12, 1, 1) of type int16"),
        ({"output_shape": (1, 3, 4, 1)}, "returns one embedding .* returns (1, 3, 4, 1)"),
        ({"output_type": "int8"}, "12 values in int8 with 0 scales"),
        ({"output_type": "int32", "scale_data": []}, "12 values in int32 with 0 scales"),
        ({"output_type": "int8", "scale_data": [0.1, 0.2]}, "without removing its Dequantize node"),
    ],
)
def test_what_is_no_reid_model_is_refused(monkeypatch, model, options, message):
    install(monkeypatch)
    got = refused(lambda: HorizonBackend(model(**options)))
    for part in message.split(" .* "):
        assert part in got


def test_missing_or_broken_file_is_one_sentence(monkeypatch, tmp_path):
    install(monkeypatch)
    message = refused(lambda: HorizonBackend(tmp_path / "none.bin"))
    assert "no compiled model" in message and "none.bin" in message and "build.sh" in message
    (tmp_path / "broken.bin").write_bytes(b"\x00not a model")
    message = refused(lambda: HorizonBackend(tmp_path / "broken.bin"))
    assert "cannot load" in message and "march bernoulli2" in message


def test_another_machine_is_told_where_the_backend_runs(monkeypatch, model):
    monkeypatch.setitem(sys.modules, "hobot_dnn", None)  # as if it were not installed
    message = refused(lambda: HorizonBackend(model()))
    assert "hobot_dnn cannot be imported" in message and "--backend onnxruntime" in message


def test_a_failed_run_is_one_sentence(monkeypatch, model, capsys):
    install(monkeypatch, broken=True)
    batch = preprocess_nv12(crops(1), CONTRACT)
    message = refused(lambda: HorizonBackend(model()).run(batch))
    assert "could not run" in message and "hrt_model_exec" in message
    assert "hbDNNInfer failed" in capsys.readouterr().out


def test_an_interface_without_float_inputs_is_named(monkeypatch, model):
    install(monkeypatch, only_bytes=True)
    batch = preprocess(crops(1), CONTRACT)
    message = refused(lambda: HorizonBackend(model(**FLOAT)).run(batch))
    assert "exception set" in message and "input_type_rt nv12" in message
    nv12 = preprocess_nv12(crops(1), CONTRACT)
    assert HorizonBackend(model()).run(nv12).shape == (1, DIM)


def test_a_buffer_that_is_not_what_the_model_said_is_refused(monkeypatch, model):
    board = install(monkeypatch)
    backend = HorizonBackend(model())
    monkeypatch.setattr(
        board.pyDNNTensor, "buffer", property(lambda self: np.zeros((1, DIM + 4, 1, 1), np.int8))
    )
    message = refused(lambda: backend.run(preprocess_nv12(crops(1), CONTRACT)))
    assert "12 values of float32 and returned 16 of int8" in message


def test_a_closed_backend_does_not_run(monkeypatch, model):
    install(monkeypatch)
    batch = preprocess_nv12(crops(1), CONTRACT)
    with HorizonBackend(model()) as backend:
        backend.run(batch)
    backend.close()
    assert "was closed" in refused(lambda: backend.run(batch))


@pytest.mark.parametrize(
    "batch, message",
    [
        (np.zeros((1, 3, HEIGHT, WIDTH), np.float32), r"expects \(N, 576\) with N >= 1"),
        (np.zeros((1, HEIGHT * WIDTH), np.uint8), r"got \(1, 384\)"),
        (np.zeros((0, 576), np.uint8), r"got \(0, 576\)"),
        (np.zeros((1, 576), np.float32), "expects uint8 input, got float32"),
    ],
)
def test_wrong_input_does_not_reach_the_board(monkeypatch, model, batch, message):
    board = install(monkeypatch)
    with pytest.raises(ReidEdgeError, match=message):
        HorizonBackend(model()).run(batch)
    assert not board.runs and not board.refused


class Bytes(Backend):
    """The first byte of each NV12 buffer; remembers the sizes it was asked for."""

    name, input_shape, input_kind = "bytes", (3, 4, 2), "nv12"

    def __init__(self, min_batch, max_batch):
        self.min_batch, self.max_batch, self.asked = min_batch, max_batch, []

    def _run(self, batch):
        assert batch.flags.c_contiguous and batch.dtype == np.uint8
        self.asked.append(len(batch))
        return batch[:, :1].astype(np.float32)


@settings(deadline=None)
@given(st.integers(1, 40), st.integers(1, 6), st.integers(0, 6))
def test_batches_of_bytes_are_split_and_padded_too(count, least, more):
    backend = Bytes(least, least + more)
    batch = np.zeros((count, 12), np.uint8)
    batch[:, 0] = np.arange(count)
    assert backend.run(batch)[:, 0].tolist() == list(range(count))
    assert all(least <= size <= least + more for size in backend.asked)


def test_a_bundles_compiled_model_is_chosen_and_logged(monkeypatch, tmp_path, caplog):
    install(monkeypatch)
    bundle = make_x3_bundle(tmp_path / "b", make_bin())
    for backend in ("auto", "horizon"):
        caplog.clear()
        with caplog.at_level(logging.INFO, logger="runtime.backends"):
            assert isinstance(open_backend(bundle, backend), HorizonBackend)
        assert "Horizon BPU on model.bin" in caplog.text


def test_an_embedder_feeds_the_board_what_it_takes(monkeypatch, tmp_path):
    board = install(monkeypatch)
    bundle = make_x3_bundle(tmp_path / "b", make_bin())
    embeddings = Embedder(bundle).embed(crops(4))
    np.testing.assert_allclose(np.linalg.norm(embeddings, axis=1), 1, rtol=1e-6)
    assert cosine(embeddings, seen(crops(4))).min() > 0.999
    assert cosine(embeddings, network(preprocess(crops(4), CONTRACT))).min() > 0.95  # colour lost
    assert len(board.runs) == 4 and not board.refused
    assert Embedder(bundle).embed([]).shape == (0, DIM)


@pytest.mark.parametrize(
    "contract, dim", [(InputContract(32, 16), DIM), (InputContract(24, 32), DIM), (CONTRACT, 13)]
)
def test_a_model_of_another_bundle_is_refused(monkeypatch, tmp_path, contract, dim):
    install(monkeypatch)
    bundle = make_x3_bundle(tmp_path / "b", make_bin(), contract, dim)
    message = refused(lambda: open_backend(bundle))
    assert "takes (3, 24, 16) and returns 12 values but the bundle says" in message
    assert "%s and %d;" % (contract.shape, dim) in message


def test_what_the_bundle_cannot_serve_is_refused(monkeypatch, tmp_path):
    install(monkeypatch)
    bundle = make_x3_bundle(tmp_path / "none")
    message = refused(lambda: open_backend(bundle, "horizon"))
    assert "holds no model compiled for the X3" in message and "--fold none" in message
    assert refused(lambda: open_backend(bundle)) == message  # not the board's slow CPU instead
    other = make_x3_bundle(tmp_path / "other", target="xavier")
    assert "was exported for xavier" in refused(lambda: open_backend(other, "horizon"))
    bundle = make_x3_bundle(tmp_path / "b", make_bin())
    assert "is int8, not fp32" in refused(lambda: open_backend(bundle, precision="fp32"))


def test_a_folded_bundle_runs_where_there_is_no_board(monkeypatch, tmp_path, caplog):
    pytest.importorskip("onnxruntime")
    monkeypatch.setitem(sys.modules, "hobot_dnn", None)  # what import does where there is none
    opened = []
    monkeypatch.setattr(
        "runtime.backends.onnxruntime.OnnxRuntimeBackend",
        lambda model, *_, **__: opened.append(model.name),
    )
    with caplog.at_level(logging.WARNING, logger="runtime.backends"):
        open_backend(
            make_x3_bundle(tmp_path / "b", make_bin(), precision="int8", simulated=b"onnx")
        )
    assert opened == ["model.int8.onnx"] and "only simulates" in caplog.text


@pytest.mark.parametrize("kind, worst", [("NV12_SEPARATE", 0.99), ("float32", 0.9999)])
def test_the_board_is_compared_with_the_simulation(
    monkeypatch, tmp_path, caplog, model, kind, worst
):
    install(monkeypatch)
    backend = HorizonBackend(model(tensor_type=kind))
    golden = tmp_path / "golden.npz"
    suffix = "_nv12" if kind.startswith("NV12") else ""
    inputs = (preprocess_nv12 if suffix else preprocess)(crops(4), CONTRACT)
    right = seen(crops(4)) if suffix else network(preprocess(crops(4), CONTRACT))
    np.savez(golden, **{"inputs" + suffix: inputs, "embedding_int8" + suffix: right})
    assert worst < check_golden(backend, golden) <= 1.0001 and not caplog.records
    other = right + 0.4 * np.linalg.norm(right, axis=1, keepdims=True) * unit_noise(right.shape)
    np.savez(golden, **{"inputs" + suffix: inputs, "embedding_int8" + suffix: other})
    assert MIN_COSINE < check_golden(backend, golden) < GOOD_COSINE
    assert "agrees with the simulation to a cosine of 0." in caplog.text
    np.savez(golden, **{"inputs" + suffix: inputs, "embedding_int8" + suffix: right[::-1]})
    with pytest.raises(VerificationError, match="differ from the simulation's: cosine"):
        check_golden(backend, golden)
    np.savez(golden, embedding_int8=np.full_like(right, np.nan), inputs=inputs)
    if suffix:
        assert check_golden(backend, golden) is None  # a bundle of an earlier version
    else:
        with pytest.raises(VerificationError):
            check_golden(backend, golden)


def test_a_bundle_brings_its_golden_embeddings_to_the_board(monkeypatch, tmp_path):
    install(monkeypatch)
    inputs, wrong = (
        preprocess_nv12(crops(2), CONTRACT),
        network(preprocess(crops(2), CONTRACT))[::-1],
    )
    bundle = make_x3_bundle(
        tmp_path / "b", make_bin(), golden={"inputs_nv12": inputs, "embedding_int8_nv12": wrong}
    )
    with pytest.raises(VerificationError, match="compile the exported config"):
        open_backend(bundle)
