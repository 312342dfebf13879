"""The sweep's YAML file: read, checked by name, and turned into a run."""

from pathlib import Path

import pytest

from benchmarks.options import RunOptions
from benchmarks.sweep import read_sweep
from runtime.errors import ReidEdgeError

pytest.importorskip("yaml")
pytest.importorskip("pydantic")

BASE = RunOptions(bundles=(Path("x"),), data=(Path("y"),), cache=Path("cache"), command="typed")


@pytest.fixture
def sweep(tmp_path):
    def write(text):
        (tmp_path / "sweep.yaml").write_text(text)
        return tmp_path / "sweep.yaml"

    for name in ("b1", "b2", "other"):
        (tmp_path / "bundles" / name).mkdir(parents=True)
        if name != "other":
            (tmp_path / "bundles" / name / "manifest.json").write_text("{}")
    return write


def test_a_sweep_becomes_a_run(sweep, tmp_path):
    read = read_sweep(
        sweep(
            """
bundles: ["bundles/*", elsewhere]
data:
  - {path: market, dataset: market1501}
  - {path: /cuhk, dataset: cuhk03}
options:
  batch: [1, 8]
  threads: [2]
  repeats: 7
  precision: [int8, fp32]
  backend: [onnxruntime]
  accuracy: false
  predict: [x3]
  calib: crops
  jobs: 3
out: results
"""
        )
    )
    options = read.apply(BASE)
    # Patterns find bundles only, in order; paths are relative to the file.
    assert options.bundles == tuple(
        tmp_path / name for name in ("bundles/b1", "bundles/b2", "elsewhere")
    )
    assert options.data == (tmp_path / "market", Path("/cuhk"))
    assert options.datasets == ("market1501", "cuhk03")
    assert options.timing.batches == (1, 8) and options.timing.threads == (2,)
    assert options.timing.repeats == 7 and options.timing.warmup == BASE.timing.warmup
    assert options.precisions == ("int8", "fp32") and options.backends == ("onnxruntime",)
    assert (options.accuracy, options.latency, options.jobs) == (False, True, 3)
    assert options.calib == tmp_path / "crops" and options.predict == ("x3",)
    assert options.keep_going and not options.together
    assert (options.cache, options.command) == (Path("cache"), "typed")
    assert read.out == tmp_path / "results"


def test_what_is_not_said_keeps_its_default(sweep, tmp_path):
    read = read_sweep(sweep("bundles: [b]\ndata: [market]\n"))
    options = read.apply(BASE)
    assert (read.options, read.out, options.datasets) == ({}, None, ())
    assert options.timing == BASE.timing and options.data == (tmp_path / "market",)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("bundles: []", "bundles: List should have at least 1 item"),
        ("data: [x]", "bundles: Field required"),
        ("bundles: b", "bundles: Input should be a valid list"),
        ("bundles: [b]\nbundels: [c]", "bundels: Extra inputs are not permitted"),
        ("bundles: [b]\noptions: {bach: [1]}", r"options\.bach: Extra inputs"),
        ("bundles: [b]\noptions: {batch: [0]}", r"options\.batch\.0: .*greater than 0"),
        ("bundles: [b]\noptions: {batch: 8}", r"options\.batch: .*valid list"),
        ("bundles: [b]\noptions: {jobs: '2'}", r"options\.jobs: .*valid integer"),
        (
            "bundles: [b]\noptions: {precision: [int4]}",
            r"options\.precision\.0: Input should be 'fp32'",
        ),
        ("bundles: [b]\ndata: [{pat: x}]", r"data\.0\.path: Field required"),
        ("bundles: [b]\ndata: [{path: x, dataset: folder}, y]", "give a dataset for all entries"),
        ("bundles: ['none/*']", r"none/\* matches no bundle"),
        ("- b", "must be a mapping"),
        ("bundles: [", "is not YAML"),
        ("bundles: !!python/object/apply:os.getcwd []", "is not YAML"),
    ],
)
def test_mistakes_are_named(sweep, text, said):
    with pytest.raises(ReidEdgeError, match=said) as caught:
        read_sweep(sweep(text))
    assert str(caught.value).count("\n") == 0 and "sweep.yaml" in str(caught.value)


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(ReidEdgeError, match=r"Cannot read the sweep .*none\.yaml: No such file"):
        read_sweep(tmp_path / "none.yaml")


def test_options_that_contradict_the_rest_are_refused(sweep):
    read = read_sweep(sweep("bundles: [b]\noptions: {accuracy: true}"))
    with pytest.raises(ReidEdgeError, match="Accuracy needs an evaluation set"):
        read.apply(BASE)
