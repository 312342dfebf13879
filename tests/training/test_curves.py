"""The picture of a run: drawn for any history, and it shows what is in it."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from training.curves import draw_curves


def history(epochs, judged=(), losses=("classification", "triplet"), scale=1.0):
    rows = []
    for epoch in range(1, epochs + 1):
        row = {"epoch": epoch, "learning_rate": 1e-3 / epoch, "total_loss": 9.0 / epoch}
        row.update({f"{name}_loss": scale * (i + 1) / epoch for i, name in enumerate(losses)})
        if epoch in judged:
            row.update(mAP=50.0 + epoch, rank1=70.0 + epoch)
        rows.append({**row, "elapsed_s": 1.0})
    return rows


def drawn(tmp_path, rows, title="tiny: resnet18", start=None):
    path = tmp_path / "curves.png"
    draw_curves(rows, title, path, start)
    image = cv2.imread(str(path))
    assert image is not None and image.shape[0] == 480 and image.std() > 5
    return image


@pytest.mark.parametrize(
    "rows",
    [
        history(1),
        history(3, losses=("classification",)),
        history(30, judged=(10, 20, 30)),
        history(5, judged=(5,)),
        history(4, losses=("triplet",), scale=0.0),
        history(4, losses=[f"loss{i}" for i in range(6)]),
    ],
    ids=["one epoch", "one loss", "judged", "judged once", "a loss of zero", "every loss"],
)
def test_any_history_can_be_drawn(tmp_path, rows, recwarn):
    drawn(tmp_path, rows)
    assert not [str(w.message) for w in recwarn]


def test_accuracy_has_a_panel_only_where_it_was_measured(tmp_path):
    with_it, without = (drawn(tmp_path, history(6, judged)).shape[1] for judged in ((3, 6), ()))
    assert with_it * 2 == without * 3


def test_a_change_of_any_curve_is_seen(tmp_path):
    before = drawn(tmp_path, history(6, judged=(3, 6)))
    for key, value in (
        ("mAP", 10.0),
        ("rank1", 20.0),
        ("learning_rate", 1.0),
        ("triplet_loss", 1.5),
    ):
        rows = history(6, judged=(3, 6))
        rows[2][key] = value
        assert not np.array_equal(before, drawn(tmp_path, rows)), key
    assert np.array_equal(before, drawn(tmp_path, history(6, judged=(3, 6))))


def test_the_start_is_drawn_at_epoch_0(tmp_path, recwarn):
    rows = history(6, judged=(3, 6))
    plain, low, high = (
        drawn(tmp_path, rows, start=start)
        for start in (None, {"mAP": 20.0, "rank1": 40.0}, {"mAP": 60.0, "rank1": 40.0})
    )
    assert plain.shape == low.shape and not np.array_equal(low, high)
    assert not np.array_equal(plain, low) and not [str(w.message) for w in recwarn]
    third = low.shape[1] // 3
    assert np.array_equal(plain[:, :third], low[:, :third]), "only accuracy has a start"


def test_drawing_leaves_pyplot_alone(tmp_path):
    from matplotlib import pyplot

    drawn(tmp_path, history(2))
    assert pyplot.get_fignums() == []
