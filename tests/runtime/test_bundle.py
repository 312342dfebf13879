"""Bundles appear whole or not at all, and a changed file does not go unnoticed."""

import errno
import hashlib
import os
import shutil

import pytest

from runtime.bundle import MANIFEST_NAME, Bundle, BundleWriter, file_sha256
from runtime.errors import ReidEdgeError, VerificationError
from tests.runtime.fake_bundle import make_bundle
from tests.runtime.test_manifest import make_manifest


def listing(folder):
    """Every path under ``folder`` with its bytes, hidden ones too."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() if path.is_file() else None
        for path in folder.rglob("*")
    }


def write(destination, content=b"network", force=False, name="model.fp32.onnx"):
    with BundleWriter(destination, force=force) as writer:
        writer.file(name, "model.fp32").write_bytes(content)
        return writer.finish(make_manifest(files=writer.entries()))


def test_written_bundle_opens_and_finds_files_by_role(tmp_path):
    path = write(tmp_path / "new" / "deep" / "bundle", b"abc", name="sub/net.onnx")
    bundle = Bundle.open(str(path))
    assert bundle.roles() == ["model.fp32"] and bundle.has("model.fp32")
    assert bundle.find("model.fp32") == path / "sub" / "net.onnx"
    assert bundle.find("model.fp32").read_bytes() == b"abc"
    assert bundle.manifest.files["sub/net.onnx"] == {
        "role": "model.fp32",
        "sha256": hashlib.sha256(b"abc").hexdigest(),
        "size_bytes": 3,
    }
    assert sorted(os.listdir(str(path.parent))) == ["bundle"]  # no scratch beside it
    assert oct(path.stat().st_mode & 0o777) == "0o755"


def test_missing_role_names_what_there_is(tmp_path):
    bundle = Bundle.open(write(tmp_path / "bundle"))
    assert not bundle.has("golden")
    with pytest.raises(ReidEdgeError, match=r"has no golden; it holds model.fp32"):
        bundle.find("golden")


def test_file_sha256_reads_more_than_one_piece(tmp_path):
    content = os.urandom((1 << 20) + 17)
    (tmp_path / "file").write_bytes(content)
    assert file_sha256(tmp_path / "file") == hashlib.sha256(content).hexdigest()


@pytest.mark.parametrize(
    "change",
    [
        lambda data: bytes([data[0] ^ 1]) + data[1:],  # one bit, same size
        lambda data: data[:-1],
        lambda data: data + b"\0",
        lambda data: b"",
    ],
    ids=["tampered", "truncated", "longer", "empty"],
)
@pytest.mark.parametrize("role", ["model.int8", "golden", "calibration.cache"])
def test_changed_file_is_refused_by_name(tmp_path, change, role):
    path = make_bundle(tmp_path / "bundle")
    file = Bundle.open(path).find(role)
    file.write_bytes(change(file.read_bytes()))
    with pytest.raises(VerificationError, match=file.name + r" in bundle .*\(SHA-256 differs\)"):
        Bundle.open(path)
    assert Bundle.open(path, verify=False).find(role) == file


def test_files_of_edited_roles_are_not_compared(tmp_path):
    path = make_bundle(tmp_path / "bundle")
    bundle = Bundle.open(path)
    bundle.find("golden").write_bytes(b"edited")
    bundle.find("calibration.cache").unlink()
    assert Bundle.open(path, edited=("golden", "calibration.cache")).has("golden")
    with pytest.raises(VerificationError, match=r"golden\.npz"):
        Bundle.open(path, edited=("calibration.cache",))


def test_missing_file_is_refused_by_name(tmp_path):
    path = make_bundle(tmp_path / "bundle")
    (path / "golden.npz").unlink()
    with pytest.raises(
        VerificationError, match=r"lacks golden.npz; copy the whole directory again"
    ):
        Bundle.open(path)
    (path / "golden.npz").mkdir()
    with pytest.raises(VerificationError, match=r"lacks golden.npz"):
        Bundle.open(path)


def test_calibration_data_may_stay_on_the_workstation_but_not_a_part_of_them(tmp_path):
    with BundleWriter(tmp_path / "bundle") as writer:
        for i in range(3):
            writer.file("x3/calibration_data/%d" % i, "x3.calibration").write_bytes(b"crop")
        writer.finish(make_manifest(target="x3", files=writer.entries()))
    folder = tmp_path / "bundle" / "x3" / "calibration_data"
    (folder / "1").unlink()
    with pytest.raises(VerificationError, match="lacks x3/calibration_data/1"):
        Bundle.open(tmp_path / "bundle")
    shutil.rmtree(str(folder))
    assert Bundle.open(tmp_path / "bundle").has("x3.calibration")


def test_unreadable_file_is_one_sentence(tmp_path, monkeypatch):
    path = make_bundle(tmp_path / "bundle")

    def denied(file):
        raise PermissionError(errno.EACCES, "Permission denied", str(file))

    monkeypatch.setattr("runtime.bundle.file_sha256", denied)
    with pytest.raises(ReidEdgeError, match=r"Cannot read .*: Permission denied"):
        Bundle.open(path)


@pytest.mark.parametrize("make", ["nothing", "folder", "file", "binary manifest"])
def test_what_is_no_bundle_is_refused(tmp_path, make):
    path = tmp_path / "thing"
    if make == "file":
        path.write_bytes(b"x")
    elif make != "nothing":
        path.mkdir()
    if make == "binary manifest":
        (path / MANIFEST_NAME).write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ReidEdgeError, match="is not a bundle: expected a directory"):
        Bundle.open(path)


@pytest.mark.parametrize("error", [RuntimeError("bug"), KeyboardInterrupt(), ReidEdgeError("No.")])
@pytest.mark.parametrize("existing", [False, True])
def test_interrupted_writer_leaves_everything_as_it_was(tmp_path, error, existing):
    destination = tmp_path / "new" / "bundle"
    if existing:
        write(destination, b"old")
    before = listing(tmp_path)
    with pytest.raises(type(error)), BundleWriter(destination, force=existing) as writer:
        writer.file("model.fp32.onnx", "model.fp32").write_bytes(b"half")
        raise error
    assert listing(tmp_path) == before


def test_leaving_without_finish_leaves_nothing(tmp_path):
    with BundleWriter(tmp_path / "bundle") as writer:
        writer.file("a/b.onnx", "model.fp32").write_bytes(b"x")
    assert listing(tmp_path) == {}


def test_invalid_manifest_leaves_nothing(tmp_path):
    with pytest.raises(ReidEdgeError, match="target"), BundleWriter(tmp_path / "b") as writer:
        writer.finish(make_manifest(target="orin", files=writer.entries()))
    assert listing(tmp_path) == {}


def full_disk(*arguments, **options):
    raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize("where", ["pathlib.Path.write_text", "os.replace", "pathlib.Path.mkdir"])
@pytest.mark.parametrize("existing", [False, True])
def test_disk_full_is_one_sentence_and_leaves_nothing_new(tmp_path, monkeypatch, where, existing):
    destination = tmp_path / "bundle"
    if existing:
        write(destination, b"old")
    before = listing(tmp_path)
    with monkeypatch.context() as patch:
        with pytest.raises(ReidEdgeError, match="No space left on device") as caught:
            with BundleWriter(destination, force=True) as writer:
                writer.file("model.fp32.onnx", "model.fp32").write_bytes(b"new")
                patch.setattr(where, full_disk)
                writer.file("sub/golden.npz", "golden")  # makes a folder
                writer.finish(make_manifest(files={}))
    assert "nothing was left behind" in str(caught.value)
    assert listing(tmp_path) == before


def test_disk_full_before_the_first_file(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.mkdtemp", full_disk)
    with pytest.raises(ReidEdgeError, match=r"Cannot write to .*: No space left"):
        write(tmp_path / "bundle")
    assert listing(tmp_path) == {}


@pytest.mark.parametrize("error", [KeyboardInterrupt, lambda: OSError(errno.EIO, "I/O error")])
@pytest.mark.parametrize("failing_move", [1, 2])
def test_failed_replacement_keeps_the_older_bundle(tmp_path, monkeypatch, error, failing_move):
    write(tmp_path / "bundle", b"old")
    before = listing(tmp_path)
    moves = []
    replace = os.replace

    def move(source, target):
        moves.append(source)
        if len(moves) == failing_move:
            raise error()
        replace(source, target)

    monkeypatch.setattr(os, "replace", move)
    with pytest.raises((KeyboardInterrupt, ReidEdgeError)):
        write(tmp_path / "bundle", b"new", force=True)
    assert listing(tmp_path) == before


def test_existing_bundle_is_replaced_only_by_force(tmp_path):
    path = write(tmp_path / "bundle", b"old")
    (path / "engines").mkdir()
    (path / "engines" / "int8-gpu.plan").write_bytes(b"plan of the old network")
    before = listing(tmp_path)
    with pytest.raises(ReidEdgeError, match="already exists; pass --force"):
        write(path, b"new")
    assert listing(tmp_path) == before
    write(path, b"new", force=True)
    assert Bundle.open(path).find("model.fp32").read_bytes() == b"new"
    assert not (path / "engines").exists()  # plans of another network must not survive
    assert os.listdir(str(tmp_path)) == ["bundle"]


def test_force_replaces_no_other_folder_and_no_file(tmp_path):
    photos = tmp_path / "photos"
    photos.mkdir()
    (photos / "a.jpg").write_bytes(b"x")
    (tmp_path / "notes.txt").write_bytes(b"y")
    before = listing(tmp_path)
    for destination in (photos, tmp_path / "notes.txt"):
        with pytest.raises(ReidEdgeError, match="so --force will not replace it"):
            write(destination, force=True)
    assert listing(tmp_path) == before


def test_force_takes_an_empty_folder(tmp_path):
    (tmp_path / "bundle").mkdir()
    with pytest.raises(ReidEdgeError, match="already exists"):
        write(tmp_path / "bundle")
    assert Bundle.open(write(tmp_path / "bundle", force=True)).roles() == ["model.fp32"]


def test_parent_that_is_a_file_is_one_sentence(tmp_path):
    (tmp_path / "file").write_bytes(b"x")
    with pytest.raises(ReidEdgeError, match=r"Cannot write to .*file"):
        write(tmp_path / "file" / "bundle")
