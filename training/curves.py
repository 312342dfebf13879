"""A run's curves as a picture."""

from __future__ import annotations

from pathlib import Path

LOSS_SUFFIX = "_loss"


def draw_curves(history: list[dict[str, float]], title: str, path: Path) -> None:
    """Losses, accuracy and learning rate over the epochs.

    Args:
        history: One dictionary per epoch with ``epoch``, ``learning_rate``, ``*_loss``, and where
            the epoch was evaluated ``mAP`` and ``rank1`` in percent.
        title: Above the picture.
        path: PNG file.
    """
    # Imported here: drawing must not delay or break a training that needs no picture.
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, (losses, accuracy, rate) = pyplot.subplots(
        1, 3, figsize=(13, 3.8), layout="constrained"
    )
    epochs = [row["epoch"] for row in history]
    names = [key for key in history[-1] if key.endswith(LOSS_SUFFIX)] if history else []
    for name in names:
        label = name[: -len(LOSS_SUFFIX)].replace("_", " ")
        losses.plot(epochs, [row[name] for row in history], label=label)
    losses.set_title("loss per epoch")
    if names:
        losses.set_yscale("log")
        losses.legend(frameon=False)
    judged = [row for row in history if "mAP" in row]
    for key, label in (("mAP", "mAP"), ("rank1", "Rank-1")):
        if judged:
            x, y = [row["epoch"] for row in judged], [row[key] for row in judged]
            accuracy.plot(x, y, marker="o", markersize=3, label=f"{label} {y[-1]:.1f}")
    accuracy.set_title("accuracy in percent" if judged else "accuracy: not evaluated")
    if judged:
        accuracy.set_ylim(0, 100)
        accuracy.legend(frameon=False, loc="lower right")
    rate.plot(epochs, [row["learning_rate"] for row in history])
    rate.set_title("learning rate")
    for axis in (losses, accuracy, rate):
        axis.set_xlabel("epoch")
        axis.grid(alpha=0.3)
        axis.spines[["top", "right"]].set_visible(False)
    figure.suptitle(title)
    figure.savefig(path, dpi=110)
    pyplot.close(figure)
