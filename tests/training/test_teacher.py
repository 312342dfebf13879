"""The teacher: embedded once or asked in every step, and embeddings kept in a file."""

from __future__ import annotations

import errno
import os

import cv2
import numpy as np
import pytest
import torch
import torch.nn.functional as F

import training.teacher
from models.checkpoint import load_network
from models.spec import NetworkSpec
from runtime.contract import InputContract
from runtime.errors import ReidEdgeError
from runtime.preprocess import preprocess, read_image
from tests.training.drawn_people import CPU, make_trainer, recipe, write_teacher
from tests.training.small_data import Bar
from training.augment import Pipeline
from training.loader import BatchLoader, CropImages
from training.progress import silent
from training.teacher import LiveTeacher, embed_with_mirror, stored_embeddings

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def teacher(teacher_file):
    return load_network(teacher_file)


@pytest.fixture
def paths(people):
    return sorted(people.rglob("*.jpg"))


def by_hand(teacher, images):
    """Embeddings of BGR images, one at a time."""
    with torch.no_grad():
        pixels = [torch.from_numpy(preprocess([image], teacher.input)) for image in images]
        return torch.cat([F.normalize(teacher.network(x)) for x in pixels])


def test_images_and_their_mirror_images_are_embedded(teacher, paths, monkeypatch):
    monkeypatch.setattr(training.teacher, "BATCH", 5)  # 32 images: six batches and two images more
    bars = []

    def progress(label, total):
        bars.append(Bar(label, total))
        return bars[-1]

    embeddings = embed_with_mirror(teacher, paths, CPU.device, progress)
    assert embeddings.shape == (2, 32, 64) and embeddings.dtype == torch.float32
    assert not embeddings.is_inference() and (bars[0].done, bars[0].total) == (32, 32)
    assert torch.allclose(embeddings.norm(dim=2), torch.ones(2, 32), atol=1e-5)
    images = [cv2.resize(read_image(path), (32, 64)) for path in paths]
    assert torch.allclose(embeddings[0], by_hand(teacher, images), atol=1e-5)
    mirrored = by_hand(teacher, [image[:, ::-1] for image in images])
    assert torch.allclose(embeddings[1], mirrored, atol=1e-5)
    assert not torch.allclose(embeddings[0], embeddings[1], atol=1e-3)


@pytest.mark.parametrize("color", ["RGB", "BGR"])
def test_live_and_fixed_agree_without_augmentation(teacher, paths, color):
    """Mirroring aside, which the fixed teacher has seen too."""
    crops = CropImages.open(paths, InputContract(64, 32, color=color), True, silent)
    loader = BatchLoader(crops, Pipeline.build({"flip": {"probability": 0.5}}), 1, 0)
    fixed = embed_with_mirror(teacher, paths, CPU.device, silent)
    live = LiveTeacher(teacher, color, CPU.device)
    assert live.dim == 64
    mirrored = 0
    for batch in loader.batches(np.arange(32).reshape(4, 8), 0):
        mirrored += int(batch.flipped.sum())
        expected = fixed[batch.flipped.long(), batch.indices]
        assert torch.allclose(live(batch), expected, atol=1e-4)
    assert 0 < mirrored < 32


def test_live_teacher_sees_the_augmented_image_in_its_own_size(paths, tmp_path):
    larger = NetworkSpec("resnet18", width=8, head="linear", dim=10, height_px=96, width_px=48)
    teacher = load_network(write_teacher(tmp_path / "t.pth", larger))
    crops = CropImages.open(paths, InputContract(64, 32), True, silent)
    augment = Pipeline.build({"erasing": {"probability": 1.0}})
    batch = next(iter(BatchLoader(crops, augment, 1, 0).batches(np.arange(4)[None], 0)))
    seen = LiveTeacher(teacher, "RGB", CPU.device)(batch)
    assert seen.shape == (4, 10) and not seen.requires_grad
    assert torch.allclose(seen, by_hand(teacher, batch.images.numpy()[..., ::-1]), atol=1e-5)


def test_training_by_either_gives_the_same_losses(teacher, people, paths, tmp_path):
    settings = {
        "augment": {"flip": {"probability": 0.5}},
        "losses": {
            "classification": {"weight": 0},
            "distill_features": {"weight": 1},
            "distill_similarity": {"weight": 1, "bank": False},
        },
        "schedule.epochs": 1,
    }
    rows = {}
    for mode, given in (
        ("fixed", embed_with_mirror(teacher, paths, CPU.device, silent)),
        ("live", LiveTeacher(teacher, "RGB", CPU.device)),
    ):
        trainer = make_trainer(people, tmp_path / mode, recipe(settings), teacher=given)
        rows[mode] = trainer.run()
    for name in ("distill_features_loss", "distill_similarity_loss"):
        assert rows["live"][name] == pytest.approx(rows["fixed"][name], rel=1e-3), name
        assert rows["live"][name] > 0


class Counted:
    def __init__(self, value=1.0):
        self.calls, self.value = 0, value

    def __call__(self):
        self.calls += 1
        return torch.full((2, 3, 4), self.value)


def test_stored_embeddings_are_reused_until_their_key_changes(tmp_path):
    path, compute = tmp_path / "teacher.npz", Counted()
    first = stored_embeddings(path, "a", compute)
    assert torch.equal(stored_embeddings(path, "a", compute), first) and compute.calls == 1
    compute.value = 2.0
    assert stored_embeddings(path, "b", compute)[0, 0, 0] == 2.0 and compute.calls == 2
    assert stored_embeddings(path, "b", compute)[0, 0, 0] == 2.0 and compute.calls == 2
    assert [p.name for p in tmp_path.iterdir()] == ["teacher.npz"]


@pytest.mark.parametrize("damage", ["empty", "text", "cut", "middle", "other"])
def test_damaged_file_is_computed_again(tmp_path, damage):
    path, compute = tmp_path / "teacher.npz", Counted()
    stored_embeddings(path, "a", compute)
    content = path.read_bytes()
    broken = {
        "empty": b"",
        "text": b"no archive",
        "cut": content[: len(content) // 2],
        "middle": content[:200] + bytes(60) + content[260:],
    }
    path.write_bytes(broken.get(damage, b""))
    if damage == "other":
        with open(path, "wb") as file:
            np.save(file, np.zeros(3))
    assert torch.equal(stored_embeddings(path, "a", compute), torch.ones(2, 3, 4))
    assert compute.calls == 2
    assert torch.equal(stored_embeddings(path, "a", compute), torch.ones(2, 3, 4))
    assert compute.calls == 2, "and stored whole"


def test_full_disk_is_one_sentence_and_keeps_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "teacher.npz"
    stored_embeddings(path, "a", Counted())
    content = path.read_bytes()

    def full(*given):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ReidEdgeError, match=r"disk is full while writing .*teacher\.npz"):
        stored_embeddings(path, "b", Counted())
    assert path.read_bytes() == content and len(list(tmp_path.iterdir())) == 1
