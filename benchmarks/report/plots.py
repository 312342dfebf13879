"""Pictures as SVG inside the page: text stays text, colours follow the page's, in light and in dark.

matplotlib draws with stand-in colours that no picture needs; in the finished SVG they become CSS
variables of the page (benchmarks.report.style). A board need not have matplotlib.
"""

from __future__ import annotations

import io
import re
from html import escape
from typing import Any, Callable, Optional, Tuple

# Widest on a phone, where it is shown at nearly its own size; two fit beside each other on a desk.
WIDTH_IN = 3.6

INK, QUIET, EDGE, PAPER = "#010101", "#010102", "#010103", "#010104"
SERIES = tuple("#0102%02x" % i for i in range(6))
_VARIABLES = {INK: "ink", QUIET: "quiet", EDGE: "edge", PAPER: "panel"}
_VARIABLES.update({colour: "s%d" % i for i, colour in enumerate(SERIES)})

MARKERS = (
    ("o", "●"),
    ("s", "■"),
    ("^", "▲"),
    ("D", "◆"),
    ("v", "▼"),
    ("P", "✚"),
    ("*", "★"),
    ("X", "✖"),
)
"""matplotlib's markers, and the same as a character for keys outside the picture."""

DASHES: Tuple[Any, ...] = ("-", (0, (5, 2)), (0, (1.5, 1.5)), (0, (6, 2, 1.5, 2)))

_SETTINGS = {
    "svg.fonttype": "none",
    "svg.hashsalt": "reid-edge",  # the same results give the same page
    "text.parse_math": False,  # a dollar in a name is a dollar
    "font.family": "sans-serif",
    "font.size": 9.5,
    "axes.labelsize": 9.5,
    "axes.titlesize": 9.5,
    "axes.titlelocation": "left",
    "axes.edgecolor": QUIET,
    "axes.labelcolor": QUIET,
    "axes.facecolor": "none",
    "axes.titlecolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.unicode_minus": True,
    "figure.facecolor": "none",
    "grid.color": EDGE,
    "grid.linewidth": 0.6,
    "hatch.color": PAPER,
    "hatch.linewidth": 0.7,
    "lines.linewidth": 1.6,
    "patch.linewidth": 0.8,
    "text.color": INK,
    "xtick.color": QUIET,
    "ytick.color": QUIET,
    "xtick.labelsize": 9,
    "ytick.labelsize": 9,
}


class Plotter:
    """Draws on matplotlib axes and gives SVG.

    Raises:
        ImportError: matplotlib is not installed.
    """

    def __init__(self) -> None:
        import matplotlib  # takes a second, and a board may not have it
        from matplotlib.figure import Figure

        self._settings: Any = matplotlib.rc_context
        self._figure: Any = Figure
        self._drawn = 0

    def draw(self, paint: Callable[[Any], None], description: str, height_in: float = 3.0) -> str:
        """An SVG element.

        Args:
            paint: Draws on the axes it is given.
            description: What is seen, for who does not see it.
            height_in: Height at a width of ``WIDTH_IN`` inches.
        """
        self._drawn += 1
        with self._settings(_SETTINGS):
            figure = self._figure((WIDTH_IN, height_in), layout="constrained")
            paint(figure.subplots())
            text = io.StringIO()
            figure.savefig(text, format="svg", metadata={"Date": None, "Creator": None})
        return inline(text.getvalue(), description, "p%d" % self._drawn)


def open_plotter() -> Optional[Plotter]:
    """A plotter; None where matplotlib is not installed."""
    try:
        return Plotter()
    except ImportError:
        return None


def inline(svg: str, description: str, prefix: str) -> str:
    """matplotlib's SVG file as an element of a page.

    Args:
        svg: The file.
        description: Alternative text.
        prefix: Put before every id, since all pictures of a page share one name space.
    """
    body = svg[svg.index("<svg") :]
    body = re.sub(r"<metadata>.*?</metadata>", "", body, flags=re.S)
    box = re.search(r'viewBox="([^"]*)"', body)
    body = re.sub(r"<svg[^>]*>", "", body, count=1)
    body = re.sub(r'\bid="([^"]*)"', r'id="%s-\1"' % prefix, body)
    body = re.sub(r"url\(#", "url(#%s-" % prefix, body)
    body = re.sub(r'xlink:href="#', 'href="#%s-' % prefix, body)
    # matplotlib measured another font; the page's is narrower.
    body = re.sub(r"font: ((?:\w+ )*[\d.]+px) [^;\"]*", r"font: \1 var(--sans)", body)
    for colour, variable in _VARIABLES.items():
        body = body.replace(colour, "var(--%s)" % variable)
    return '<svg viewBox="%s" role="img" aria-label="%s">%s' % (
        box.group(1) if box else "0 0 288 216",
        escape(description, quote=True),
        body.strip(),
    )
