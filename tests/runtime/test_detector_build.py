"""reid-build --detector from the command line, over every TensorRT version of the fake."""

import json
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime import detector_build
from runtime.bundle import file_sha256
from runtime.detector_build import BEST, MIN_COSINE, MIN_OVERLAP, choose_precision, compare
from runtime.detectors import NetworkDetector, open_detector
from runtime.detectors.decoders import Candidates
from runtime.engine_stamp import EngineStamp
from runtime.errors import ReidEdgeError, VerificationError
from tests.runtime.detectors.fake_runner import FakeRunner
from tests.runtime.fake_model import make_detector_model
from tests.runtime.test_build import VERSIONS, Board

SIZE = (128, 192)
PERSON = [[40.0, 20.0, 140.0, 110.0]]


@pytest.fixture
def board(monkeypatch, capsys, tmp_path):
    return Board(monkeypatch, capsys, tmp_path)


def detector_file(folder, head="yolox", name="net.onnx", scores=(0.7,), **options):
    """A file that the fake TensorRT reads; ONNX Runtime does not, so nothing can be compared."""
    path = folder / name
    path.write_bytes(make_detector_model(head, SIZE, PERSON, scores, **options))
    return path


def stamp_of(plan):
    return EngineStamp.from_json(plan.with_suffix(".json").read_text())


def build(board, path, *arguments):
    return board.run("--detector", path, *arguments)


class _Refusal:
    """Runs a command that must leave a folder as it was."""

    def __init__(self, board, folder):
        self.board, self.folder = board, folder

    def __call__(self, *arguments, code=2):
        before = sorted(self.folder.rglob("*"))
        got, out, err = self.board.run(*arguments)
        assert (got, out) == (code, ""), err
        assert sorted(self.folder.rglob("*")) == before
        (sentence,) = [line for line in err.splitlines() if line.startswith("reid-build: ")]
        return sentence


@pytest.fixture
def refused(board, tmp_path):
    return _Refusal(board, tmp_path)


@pytest.mark.parametrize("version", VERSIONS)
def test_builds_and_stamps_beside_the_model(board, tmp_path, version):
    board.use(version)
    path = detector_file(tmp_path)
    code, out, err = build(board, path, "--json")
    assert code == 0, err
    report = json.loads(out)
    precision = "fp32" if version == "11.0" else "fp16"  # 11 has no precision flags
    plan = tmp_path / ("net-%s-gpu.plan" % precision)
    assert report["plan"] == str(plan) and report["size_bytes"] == plan.stat().st_size
    assert report["detector"] == {"kind": "yolox", "input_size": list(SIZE)}
    stamp = stamp_of(plan)
    assert report["stamp"] == stamp.__dict__
    assert (stamp.tensorrt, stamp.precision, stamp.device) == (version, precision, "gpu")
    assert stamp.batch == {"min": 1, "opt": 1, "max": 1}
    assert (stamp.onnx_file, stamp.onnx_sha256) == ("net.onnx", file_sha256(path))
    assert stamp.plan_sha256 == file_sha256(plan) and stamp.outputs == ["out0"]
    flags = board.trt._last_config._flags
    assert flags == (set() if version == "11.0" else {"FP16"})
    names = {p.name for p in tmp_path.iterdir()}
    assert len(names) == 4 and any(name.startswith("timing-") for name in names)
    with open_detector(plan) as detector:
        assert len(detector.detect(np.zeros((*SIZE, 3), np.uint8))) == 1


def test_what_cannot_be_compared_is_said(board, tmp_path):
    code, out, err = build(board, detector_file(tmp_path))
    assert code == 0, err
    assert "self-test       not compared, see the note" in out
    assert "could not be compared with those of the model: ONNX Runtime" in out


def test_without_onnx_runtime_it_says_so(board, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "runtime.backends.onnxruntime", None)
    code, out, _ = build(board, detector_file(tmp_path), "--json")
    report = json.loads(out)
    assert code == 0 and report["self_test"] is None
    (note,) = report["notes"]
    assert "could not be compared" in note and "install onnxruntime" in note


def test_another_folder_and_a_moved_plan(board, tmp_path):
    path, out = detector_file(tmp_path), tmp_path / "plans" / "xavier"
    assert build(board, path, "--out", out, "--precision", "fp32")[0] == 0
    plan = out / "net-fp32-gpu.plan"
    assert stamp_of(plan).onnx_file == "../../net.onnx"
    open_detector(plan).close()
    path.write_bytes(make_detector_model("yolox", SIZE, PERSON, [0.6]))
    with pytest.raises(ReidEdgeError, match=r"not of the present net.onnx: It was built with ONNX"):
        open_detector(plan)
    path.unlink()  # the plan alone is enough
    open_detector(plan).close()


def test_every_known_kind(board, tmp_path):
    board.use("8.5.2", reorder_outputs=True)
    for head in ("yolov5", "yolov8", "yolox_decoded", "nanodet", "nanodet_plus", "fastestdet"):
        path = detector_file(tmp_path, head, head + ".onnx")
        code, out, err = build(board, path, "--json")
        assert code == 0, err
        assert json.loads(out)["detector"]["kind"] == head


def test_a_named_kind_is_checked(board, tmp_path, refused):
    path = detector_file(tmp_path)
    assert "no yolov8: expected one output" in refused(
        "--detector", path, "--detector-kind", "yolov8"
    )
    code, out, _ = build(board, path, "--detector-kind", "yolox_decoded", "--json")
    assert code == 0 and json.loads(out)["detector"]["kind"] == "yolox_decoded"


def test_a_dla_runs_fp16(board, tmp_path):
    code, out, _ = build(board, detector_file(tmp_path), "--device", "dla1")
    assert code == 0 and "3 of 5 layers run on the DLA" in out
    with open_detector(tmp_path / "net-fp16-dla1.plan") as detector:
        assert detector.name == "yolox net-fp16-dla1.plan tensorrt-dla1-fp16"


def test_a_fitting_plan_is_built_again_only_with_force_or_for_another_model(
    board, tmp_path, refused
):
    path = detector_file(tmp_path)
    assert build(board, path)[0] == 0
    assert "pass --force" in refused("--detector", path)
    assert build(board, path, "--force")[0] == 0
    path.write_bytes(make_detector_model("yolox", SIZE, PERSON, [0.6]))
    assert build(board, path)[0] == 0
    assert stamp_of(tmp_path / "net-fp16-gpu.plan").onnx_sha256 == file_sha256(path)


def test_the_printed_report(board, tmp_path):
    code, out, err = build(board, detector_file(tmp_path))
    assert code == 0 and "takes minutes" in err
    for word in ("plan ", "SM 7.2", "detector        yolox, 128 x 192", "reformats       2"):
        assert word in out
    assert "--detector %s" % (tmp_path / "net-fp16-gpu.plan") in out


@pytest.mark.parametrize(
    "arguments, said",
    [
        ([], "takes a bundle or --detector ONNX, got neither"),
        (["bundle", "--detector", "net.onnx"], "got both"),
        (["bundle", "--out", "there"], "--out and --detector-kind are for --detector"),
        (["bundle", "--detector-kind", "yolox"], "--out and --detector-kind are for --detector"),
        (["--detector", "no.onnx"], "no.onnx is not a file"),
        (["--detector", "net.onnx", "--batch", "1,1,1"], "one image at a time"),
        (["--detector", "net.onnx", "--precision", "int8"], "no INT8 scales"),
        (["--detector", "net.onnx", "--workspace", "0"], "at least 1 MiB"),
        (
            ["--detector", "net.onnx", "--device", "dla0", "--precision", "fp32"],
            "fp16 or int8 only",
        ),
    ],
)
def test_impossible_requests(refused, tmp_path, monkeypatch, arguments, said):
    monkeypatch.chdir(tmp_path)
    detector_file(tmp_path)
    assert said in refused(*arguments)


def test_models_that_are_no_detectors(refused, tmp_path):
    path = tmp_path / "net.onnx"
    for shape, said in (
        (
            (4, 3, 128, 192),
            "takes one image (1, 3, height, width), but net.onnx takes (4, 3, 128, 192)",
        ),
        ((1, 1, 128, 192), "but net.onnx takes (1, 1, 128, 192)"),
        ((1, 3, -1, -1), "leaves height and width open; export it with a fixed size"),
    ):
        model = {**json.loads(make_detector_model("yolox", SIZE).decode()), "input": shape}
        path.write_bytes(json.dumps({**model, "head_size": SIZE}).encode())
        assert said in refused("--detector", path)
    path.write_bytes(b"{not json")
    assert "cannot parse" in refused("--detector", path)
    assert "TensorRT cannot be imported" in _without_tensorrt(refused, path)


def _without_tensorrt(refused, path):
    refused.board.monkeypatch.setitem(sys.modules, "tensorrt", None)
    return refused("--detector", path)


def test_a_plan_with_nan_is_deleted(board, refused, tmp_path):
    path = detector_file(tmp_path, scores=[float("nan")])
    assert "failed its self-test" in refused("--detector", path, code=3)


@pytest.mark.parametrize(
    "wanted, device, flags, chosen",
    [
        ("best", "gpu", True, "fp16"),
        ("best", "gpu", False, "fp32"),
        ("best", "dla0", True, "fp16"),
        ("fp32", "gpu", True, "fp32"),
        ("fp16", "gpu", True, "fp16"),
        ("fp32", "gpu", False, "fp32"),
    ],
)
def test_choose_precision(wanted, device, flags, chosen):
    assert choose_precision(wanted, device, flags) == chosen


@pytest.mark.parametrize(
    "wanted, device, flags",
    [
        ("int8", "gpu", True),
        ("fp16", "gpu", False),
        ("fp32", "dla0", True),
        ("best", "dla0", False),
    ],
)
def test_precisions_that_cannot_be(wanted, device, flags):
    with pytest.raises(ReidEdgeError):
        choose_precision(wanted, device, flags)


def candidates(count=50, seed=0):
    random = np.random.RandomState(seed)
    corners = random.uniform(0, 100, (count, 2))
    boxes = np.concatenate([corners, corners + random.uniform(20, 60, (count, 2))], axis=1)
    return Candidates(boxes.astype(np.float32), random.uniform(0, 1, count).astype(np.float32))


def test_equal_executions_agree_fully():
    same = compare(candidates(), candidates())
    assert same == pytest.approx({"cosine": 1, "overlap": 1, "score_change": 0}, abs=1e-6)


@given(st.integers(0, BEST - 1), st.floats(0.05, 0.5))
def test_one_moved_box_among_the_best_shows(place, share):
    theirs = candidates()
    at = np.argsort(-theirs.scores)[place]
    boxes = theirs.boxes.copy()
    width = boxes[at, 2] - boxes[at, 0]
    boxes[at, [0, 2]] += np.float32(share) * width
    got = compare(Candidates(boxes, theirs.scores), theirs)
    assert got["overlap"] == pytest.approx((1 - share) / (1 + share), abs=1e-3)
    assert got["cosine"] == pytest.approx(1)


def test_scores_of_other_cells_show():
    theirs = candidates()
    scores = theirs.scores.copy()
    scores[3] += 0.25
    got = compare(Candidates(theirs.boxes, scores), theirs)
    assert got["score_change"] == pytest.approx(0.25)
    expected = scores @ theirs.scores / np.linalg.norm(scores) / np.linalg.norm(theirs.scores)
    assert got["cosine"] == pytest.approx(expected, abs=1e-6)
    nothing = compare(Candidates(theirs.boxes, scores * 0), theirs)
    assert np.isnan(nothing["cosine"])


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
@pytest.mark.parametrize(
    "moved_px, passes", [(0.0, True), (1.0, True), (30.0, False), (float("nan"), False)]
)
def test_self_test_against_a_reference(monkeypatch, tmp_path, precision, moved_px, passes):
    box = np.array(PERSON)
    good = FakeRunner("yolov8", SIZE, box, [0.7])
    moved = FakeRunner("yolov8", SIZE, box, [0.7])
    detector = NetworkDetector(moved)
    moved.outputs[0][0, 0, 3] += moved_px
    monkeypatch.setattr(detector_build, "OnnxRunner", lambda onnx: good)
    notes = []

    def run():
        return detector_build.self_test(detector, moved, tmp_path / "x", precision, notes.append)

    if passes:
        got = run()
        assert got["pictures"] == 3 and got["min_cosine"] == pytest.approx(1)
        assert got["min_overlap"] == pytest.approx((100 - moved_px) / (100 + moved_px), abs=1e-3)
        assert got["cosine_needed"] == MIN_COSINE[precision]
        assert got["overlap_needed"] == MIN_OVERLAP[precision]
    else:
        with pytest.raises(VerificationError, match="failed its self-test"):
            run()
    assert not notes and good.closed


@pytest.mark.parametrize("name", ["yolox_nano_416x416", "nanodet_m_416", "FastestDet"])
def test_real_networks_pass_and_broken_kernels_do_not(board, shared, tmp_path, name):
    """The fake's engines run the real file by ONNX Runtime and round its outputs to half precision."""
    path = tmp_path / (name + ".onnx")
    path.symlink_to(shared / "detectors" / path.name)
    board.use("8.5.2", reorder_outputs=True)
    code, out, err = build(board, path, "--json")
    assert code == 0, err
    result = json.loads(out)["self_test"]
    assert result["min_cosine"] > 0.9999 and result["min_overlap"] > 0.99
    assert 0 < result["largest_score_change"] < 1e-3
    plan = tmp_path / (name + "-fp16-gpu.plan")
    before = plan.read_bytes()
    board.use("8.5.2", broken=("fp16",))
    code, _, err = build(board, path, "--force")
    assert code == 3 and "failed its self-test" in err and "the plan was deleted" in err
    assert plan.read_bytes() == before
