"""The table of TensorRT names, and each function of tensorrt_api over every version of the table."""

import ast
import importlib
from pathlib import Path

import pytest

from runtime import tensorrt_api
from runtime.errors import ReidEdgeError
from tests.runtime.fake_cuda import FakeDevice
from tests.runtime.fake_model import make_model
from tests.runtime.fake_tensorrt import make_tensorrt
from tests.runtime.tensorrt_names import NAMES, VERSIONS, column, exists, version_dependent

ROOT = Path(__file__).resolve().parent.parent.parent
API = ROOT / "runtime" / "tensorrt_api.py"
# Everything else that touches TensorRT objects.
CALLERS = [
    ROOT / "runtime" / name
    for name in (
        "build.py", "detector_build.py", "plan_store.py", "plan_builder.py", "loaded_plan.py",
        "backends/tensorrt.py", "detectors/tensorrt.py",
    )
]  # fmt: skip

FAKES = ["8.0.1", "8.2.1", "8.5.2", "8.6.0", "10.0", "10.13", "11.0"]
# In these files a variable of this name is always an object of this TensorRT class.
RECEIVERS = {
    "trt": "module",
    "builder": "Builder",
    "network": "INetworkDefinition",
    "parser": "OnnxParser",
    "error": "ParserError",
    "config": "IBuilderConfig",
    "profile": "IOptimizationProfile",
    "flags": "NetworkDefinitionCreationFlag",
    "inspector": "EngineInspector",
    "engine": "ICudaEngine",
    "context": "IExecutionContext",
    "_engine": "ICudaEngine",
    "_context": "IExecutionContext",
    "_runtime": "Runtime",
}


def chain(node):
    """["trt", "Logger", "ERROR"] for the expression ``trt.Logger.ERROR`` (self. is dropped)."""
    names = []
    while isinstance(node, ast.Attribute):
        names.insert(0, node.attr)
        node = node.value
    if not isinstance(node, ast.Name):
        return None
    return names if node.id == "self" else [node.id] + names


def uses(path):
    """(class, name) of every TensorRT name a file uses, also those asked for by hasattr/getattr."""
    found = set()
    # There a parser is argparse's and an error an exception; only the module itself occurs.
    only_module = path.name in ("build.py", "plan_store.py")
    receivers = {"trt": "module"} if only_module else RECEIVERS
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names = chain(node) if isinstance(node, ast.Attribute) else None
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") in ("hasattr", "getattr"):
            owner, name = node.args[:2]
            if isinstance(name, ast.Constant) and isinstance(owner, (ast.Name, ast.Attribute)):
                names = (chain(owner) or []) + [name.value]
        if names and names[0] in receivers and len(names) > 1:
            kind = receivers[names[0]]
            found.add((kind, names[1]))
            if kind == "module" and len(names) > 2 and names[2] != "__init__":
                found.add((names[1], names[2]))
    return found


def test_every_name_used_is_in_the_table():
    used = {use for path in [API] + CALLERS for use in uses(path)}
    unknown = sorted(use for use in used if use[1] not in NAMES.get(use[0], ()))
    assert not unknown, "not in tests/runtime/tensorrt_names.py: %s" % unknown
    assert len(used) > 40  # the search itself works


def test_every_attribute_of_the_api_file_has_a_known_receiver():
    """A TensorRT object in a variable of another name would escape the table."""
    python = {"self", "logger", "calibrator", "tensor", "json", "logging", "importlib", "re"}
    python |= {"cache", "_log", "_CACHE_HEADER", "layer", "version", "dtype", "message", "layers"}
    python |= {"tensors", "errors", "name"}
    tree = ast.parse(API.read_text(encoding="utf-8"))
    chains = [chain(node) for node in ast.walk(tree) if isinstance(node, ast.Attribute)]
    unknown = {c[0] for c in chains if c and len(c) > 1} - set(RECEIVERS) - python
    assert not unknown


@pytest.mark.parametrize("path", CALLERS, ids=lambda path: path.name)
def test_version_dependent_names_stay_in_the_api_file(path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    attributes = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    assert not attributes & version_dependent()


@pytest.mark.parametrize("path", [API] + CALLERS, ids=lambda path: path.name)
def test_no_nptype(path):
    assert "nptype" not in {
        node.attr
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Attribute)
    }


def test_the_table_agrees_with_an_installed_tensorrt():
    trt = pytest.importorskip("tensorrt", reason="TensorRT is not installed here")
    for kind, names in NAMES.items():
        owner = trt if kind == "module" else getattr(trt, kind, None)
        for name in names:
            assert hasattr(owner, name) == exists(kind, name, trt.__version__), (kind, name)


@pytest.mark.parametrize(
    "version, expected",
    [("8.0.1", "8.0"), ("8.5.2.2", "8.5"), ("8.6.1", "8.6"), ("10.3.0", "10.0"), ("11.4", "11.0")],
)
def test_column(version, expected):
    assert column(version) == expected


def test_the_table_spells_out_the_facts():
    """The rows of the facts' table that runtime code depends on, written the other way round."""
    for version in VERSIONS:
        old = version in ("8.0", "8.2", "8.4", "8.5", "8.6", "9")
        assert exists("ICudaEngine", "num_bindings", version) == old
        assert exists("BuilderFlag", "INT8", version) == (version != "11.0")
        assert exists("IExecutionContext", "execute_v2", version)
    assert not exists("ICudaEngine", "num_io_tensors", "8.4")
    assert exists("ICudaEngine", "num_io_tensors", "8.5.2.2")


@pytest.fixture(params=FAKES)
def trt(request):
    return make_tensorrt(request.param, FakeDevice())


def test_the_fake_rejects_what_a_version_lacks(trt):
    logger = tensorrt_api.make_logger(trt)
    config = trt.Builder(logger).create_builder_config()
    for name in ("set_memory_pool_limit", "set_calibration_profile"):
        assert hasattr(config, name) == exists("IBuilderConfig", name, trt._version)
    if not exists("IBuilderConfig", "max_workspace_size", trt._version):
        with pytest.raises(AttributeError):
            config.max_workspace_size = 1
    with pytest.raises(AttributeError):
        trt.nptype()


def test_workspace_is_set_by_whichever_name_exists(trt):
    config = trt.Builder(tensorrt_api.make_logger(trt)).create_builder_config()
    tensorrt_api.set_workspace(trt, config, 5 << 20)
    if exists("IBuilderConfig", "set_memory_pool_limit", trt._version):
        assert config._pools == {"WORKSPACE": 5 << 20}
    else:
        assert config.max_workspace_size == 5 << 20


def test_precision_flags(trt):
    has_flags = tensorrt_api.has_precision_flags(trt)
    assert has_flags == (trt._version != "11.0")
    for precision, flags in (("fp32", set()), ("fp16", {"FP16"}), ("int8", {"INT8", "FP16"})):
        config = trt.Builder(tensorrt_api.make_logger(trt)).create_builder_config()
        tensorrt_api.set_precision(trt, config, precision)
        assert config._flags == (flags if has_flags else set())


def test_networks_are_strongly_typed_only_where_flags_are_gone(trt):
    network = tensorrt_api.create_network(trt, trt.Builder(tensorrt_api.make_logger(trt)))
    assert network._strongly_typed == (trt._version == "11.0")


def test_logger_keeps_errors_only(trt):
    logger = tensorrt_api.make_logger(trt)
    assert tensorrt_api.last_error(logger) == "TensorRT gave no reason"
    logger.log(trt.Logger.WARNING, "not important")
    logger.log(trt.Logger.ERROR, " first. ")
    logger.log(trt.Logger.INTERNAL_ERROR, "second.")
    assert logger.errors == ["first.", "second."]
    assert tensorrt_api.last_error(logger) == "second"


def test_load_names_the_reason(monkeypatch):
    monkeypatch.setattr(importlib, "import_module", _no_module)
    with pytest.raises(ReidEdgeError, match=r"No module named 'tensorrt'.*--system-site-packages"):
        tensorrt_api.load_tensorrt()


def _no_module(name):
    raise ImportError("No module named %r" % name)


@pytest.mark.parametrize(
    "version, number",
    [("8.0.1.6", b"8001"), ("8.2.1", b"8201"), ("8.5.2.2", b"8502"), ("10.3", b"100300")],
)
def test_cache_for_version_changes_the_header_alone(version, number):
    body = b"images: 3f810204\nTRT-8502-EntropyCalibration2\n"
    cache = tensorrt_api.cache_for_version(b"TRT-8502-EntropyCalibration2\n" + body, version)
    assert cache == b"TRT-" + number + b"-EntropyCalibration2\n" + body


@pytest.mark.parametrize("cache", [b"", b"TRT-8502-MinMaxCalibration\nx: 00000000\n", b"junk"])
def test_other_caches_are_refused(cache):
    with pytest.raises(ReidEdgeError, match="EntropyCalibration2"):
        tensorrt_api.cache_for_version(cache, "8.5.2")


def test_timing_cache_of_elsewhere_is_refused(trt):
    config = trt.Builder(tensorrt_api.make_logger(trt)).create_builder_config()
    assert tensorrt_api.load_timing_cache(config, b"")
    own = tensorrt_api.dump_timing_cache(config)
    assert tensorrt_api.load_timing_cache(config, own)
    assert not tensorrt_api.load_timing_cache(config, b"timings 7.0 Nano\n")


def _engine(trt):
    logger = tensorrt_api.make_logger(trt)
    builder = trt.Builder(logger)
    network = tensorrt_api.create_network(trt, builder)
    assert trt.OnnxParser(network, logger).parse(make_model())
    config, profile = builder.create_builder_config(), builder.create_optimization_profile()
    profile.set_shape("images", (2, 3, 16, 8), (4, 3, 16, 8), (6, 3, 16, 8))
    config.add_optimization_profile(profile)
    plan = builder.build_serialized_network(network, config)
    return trt.Runtime(logger).deserialize_cuda_engine(plan)


def test_io_tensors_and_batch_range(trt):
    engine = _engine(trt)
    image, embedding = tensorrt_api.io_tensors(trt, engine)
    assert image == (0, "images", True, "FLOAT", (-1, 3, 16, 8))
    assert embedding == (1, "embedding", False, "FLOAT", (-1, 12))
    assert tensorrt_api.batch_range(engine, image) == (2, 6)
    fixed = image._replace(shape=(3, 3, 16, 8))
    assert tensorrt_api.batch_range(engine, fixed) == (3, 3)


def test_count_reformats(trt):
    expected = None if trt._version == "8.0.1" else 2
    assert tensorrt_api.count_reformats(trt, _engine(trt)) == expected


@pytest.mark.parametrize(
    "text, count",
    [
        ('{"Layers": ["Reformatting CopyNode for Input 0", "conv1", "layer Reformat 3"]}', 1),
        ('{"Layers": []}', 0),
        ("{'Layers': broken", None),
        ("{}", None),
    ],
)
def test_count_reformats_of_other_answers(text, count):
    trt = make_tensorrt("8.5.2", FakeDevice(), inspector_text=text)
    assert tensorrt_api.count_reformats(trt, _engine(trt)) == count


def test_layer_details_are_kept_where_the_inspector_can_use_them(trt):
    config = trt.Builder(tensorrt_api.make_logger(trt)).create_builder_config()
    tensorrt_api.keep_layer_details(trt, config)
    assert (config.profiling_verbosity is not None) == (trt._version != "8.0.1")
