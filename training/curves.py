"""A run's curves as a picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

LOSS_SUFFIX = "_loss"
GREY = "#5f6368"
# Okabe and Ito's colours, which colour-blind people tell apart.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")

History = Sequence[dict[str, float]]


def draw_curves(
    history: History, title: str, path: Path, start: dict[str, float] | None = None
) -> None:
    """Losses, learning rate and, where there is any, accuracy over the epochs.

    Args:
        history: One dictionary per epoch, at least one, with ``epoch``, ``learning_rate``,
            ``*_loss``, and where the epoch was evaluated ``mAP`` and ``rank1`` in percent.
        title: Above the picture.
        path: PNG file.
        start: Accuracy of the network the run started from, drawn at epoch 0.
    """
    # Imported here, since it takes a second that --help and usage errors need not wait for. No
    # pyplot: a picture made this way opens no window and leaves no global state.
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    judged = [{"epoch": 0, **start}] if start else []
    judged += [row for row in history if "mAP" in row]
    panels = 3 if judged else 2
    figure = Figure((4.6 * panels, 4.0), layout=ConstrainedLayoutEngine(wspace=0.06))
    axes = figure.subplots(1, panels)
    _draw_losses(axes[0], history)
    _plot(axes[-1], history, "learning_rate", "learning rate")
    axes[-1].set_title("learning rate", loc="left", fontsize=10.5)
    axes[-1].set_ylim(bottom=0)
    axes[-1].yaxis.set_major_formatter("{x:.3g}")
    if judged:
        _draw_accuracy(axes[1], judged)
    for axis in axes:
        _style(axis, history, 0 if start and axis is axes[1] else 0.5)
    figure.suptitle(title, x=0.008, ha="left", fontweight="bold", fontsize=12)
    figure.savefig(path, dpi=120)


def _draw_losses(axis: Any, history: History) -> None:
    """Every loss, and their weighted sum where there are several."""
    names = [key for key in history[-1] if key.endswith(LOSS_SUFFIX) and key != "total_loss"]
    for name, colour in zip(names, COLOURS):
        _plot(axis, history, name, name[: -len(LOSS_SUFFIX)].replace("_", " "), color=colour)
    if len(names) > 1:
        _plot(axis, history, "total_loss", "weighted sum", color="black", linestyle=(0, (4, 2)))
    values = [row[name] for row in history for name in names]
    if min(values) > 0 and max(values) > 20 * min(values):
        axis.set_yscale("log")
        axis.yaxis.set_major_formatter("{x:g}")
    axis.set_title("loss, mean over the epoch", loc="left", fontsize=10.5)


def _draw_accuracy(axis: Any, judged: History) -> None:
    _plot(axis, judged, "mAP", "mAP", color=COLOURS[0], marker="o")
    _plot(axis, judged, "rank1", "Rank-1", color=COLOURS[1], marker="o")
    axis.set_title("accuracy, percent", loc="left", fontsize=10.5)
    axis.set_ylim(0, 100)


def _plot(axis: Any, rows: History, key: str, label: str, **style: Any) -> None:
    """A line, or a point where a line would not be seen; the legend says where it ends."""
    x, y = [row["epoch"] for row in rows], [row[key] for row in rows]
    marker = "o" if len(x) == 1 else None
    style = {"color": COLOURS[0], "marker": marker, **style}
    label = f"{label} {y[-1]:.3g}"
    axis.plot(x, y, label=label, linewidth=1.6, markersize=3.5, clip_on=False, **style)


def _style(axis: Any, history: History, left: float) -> None:
    axis.set_xlabel("epoch", color=GREY, fontsize=9.5)
    axis.set_xlim(left, history[-1]["epoch"] + 0.5)
    axis.xaxis.get_major_locator().set_params(integer=True, min_n_ticks=1)
    axis.tick_params(which="both", colors=GREY, labelsize=9)
    axis.grid(axis="y", alpha=0.25)
    axis.spines[["top", "right"]].set_visible(False)
    axis.spines[["left", "bottom"]].set_color(GREY)
    # Below the panel, where it hides no curve.
    axis.legend(
        frameon=False, fontsize=9, ncols=2, loc="upper left", bbox_to_anchor=(-0.02, -0.16),
        handlelength=1.6, columnspacing=1.2,
    )  # fmt: skip
