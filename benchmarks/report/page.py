"""A page: its frame, its pictures with captions and keys; everything that is text gets escaped."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from typing import List, Optional, Sequence, Tuple

from benchmarks.report.plots import DASHES, MARKERS, SERIES
from benchmarks.report.style import STYLE

NO_PLOTS = (
    "Plots are left out: they need matplotlib, which the Python that wrote this page does not have. "
    "All their figures are in the tables; on a workstation the same results.json gives them."
)


@dataclass(frozen=True)
class Section:
    """A part of the page: its anchor, title, and HTML."""

    anchor: str
    title: str
    html: str


def page(title: str, lead: List[str], sections: Sequence[Section], footer: str) -> str:
    """The whole document.

    Args:
        title: Of page and window.
        lead: Sentences under it.
        sections: Those without HTML are left out.
        footer: A sentence.
    """
    shown = [section for section in sections if section.html]
    links = "".join('<a href="#%s">%s</a>' % (s.anchor, escape(s.title)) for s in shown)
    body = "".join(
        '<section id="%s"><h2>%s</h2>%s</section>\n' % (s.anchor, escape(s.title), s.html)
        for s in shown
    )
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        '<meta name="color-scheme" content="light dark">'
        '<meta name="referrer" content="no-referrer">'
        # Nothing may be fetched or run, whatever a name in the results may hold.
        '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; '
        "style-src 'unsafe-inline'; img-src data:\">"
        "<title>%s</title><style>%s</style></head>\n<body><header><h1>%s</h1>%s"
        '<nav aria-label="Sections">%s</nav></header>\n<main>\n%s</main><footer><p>%s</p></footer>'
        "</body></html>\n"
        % (
            escape(title),
            STYLE,
            escape(title),
            "".join('<p class="quiet">%s</p>' % escape(line) for line in lead),
            links,
            body,
            escape(footer),
        )
    )


def paragraph(text: str, kind: str = "") -> str:
    """A paragraph of text."""
    return "<p%s>%s</p>" % (' class="%s"' % kind if kind else "", _text(text))


def warning(text: str) -> str:
    """A sentence that must not be missed; said by more than its colour."""
    return '<p class="warn" role="note"><b>Note.</b> %s</p>' % escape(text)


def figure(title: str, svg: str, caption: str, key: str = "") -> str:
    """A picture with its title, key and caption."""
    return "<figure><b>%s</b>%s%s<figcaption>%s</figcaption></figure>" % (
        escape(title),
        svg,
        key,
        _text(caption),
    )


def _text(text: str) -> str:
    """Escaped, with figures and their percent signs kept on one line."""
    return escape(text).replace(" %", "\u00a0%")


def plots(figures: Sequence[str]) -> str:
    """Pictures beside each other where there is room."""
    return '<div class="plots">%s</div>' % "".join(figures) if figures else ""


def line_key(names: Sequence[str], marked: bool = False) -> str:
    """Key of lines that differ in colour and dashes, and in a mark where they are ``marked``."""
    items = []
    for i, name in enumerate(names):
        dashes = DASHES[i % len(DASHES)]
        pattern = "" if isinstance(dashes, str) else " ".join("%g" % (2 * d) for d in dashes[1])
        items.append(
            '<svg viewBox="0 0 34 16" aria-hidden="true"><path d="M0 8H34" fill="none" '
            'stroke="var(--s%d)" stroke-width="3"%s/>%s</svg>%s'
            % (
                i % len(SERIES),
                ' stroke-dasharray="%s"' % pattern if pattern else "",
                '<text x="17" y="14" text-anchor="middle" font-size="17" fill="var(--s%d)">%s</text>'
                % (i % len(SERIES), MARKERS[i % len(MARKERS)][1])
                if marked
                else "",
                escape(name),
            )
        )
    return _key(items)


def bar_key(names: Sequence[str]) -> str:
    """Key of stacked bars, first to last as in each bar."""
    return _key(
        [
            '<span class="mark" style="color:var(--s%d)" aria-hidden="true">■</span>%d. %s'
            % (i % len(SERIES), i + 1, escape(name))
            for i, name in enumerate(names)
        ]
    )


def marker_key(entries: Sequence[Tuple[Optional[int], Optional[int], str]]) -> str:
    """Key of markers: (colour or None, shape or None, name)."""
    return _key(
        [
            '<span class="mark" style="color:var(--%s)" aria-hidden="true">%s</span>%s'
            % (
                "quiet" if colour is None else "s%d" % (colour % len(SERIES)),
                "▬" if shape is None else MARKERS[shape % len(MARKERS)][1],
                escape(name),
            )
            for colour, shape, name in entries
        ]
    )


def _key(items: Sequence[str]) -> str:
    return '<ul class="key">%s</ul>' % "".join("<li>%s</li>" % item for item in items)
