"""The queries that lost most, as strips of pictures: the query, fp32's ranking, the variant's."""

from __future__ import annotations

import base64
from html import escape
from pathlib import Path
from typing import Dict, List, Optional, Sequence, Tuple

from benchmarks.accuracy_record import Accuracy, Ranked, WorstQuery
from benchmarks.report.accuracy_section import measured
from benchmarks.report.entries import Entry, datasets
from benchmarks.report.figures import number
from benchmarks.report.page import paragraph, warning
from benchmarks.report.table import breakable
from benchmarks.results import Results
from runtime.errors import ReidEdgeError

QUERIES = 3
DEPTH = 10
_HEIGHT_PX = 128
_QUALITY = 75

LICENCE = (
    "The pictures below show people, from a data set that may forbid passing them on (Market-1501, "
    "CUHK03 and MSMT17 are for research only). Do not publish this page; for publishing, write the "
    "report again without pictures."
)


class Pictures:
    """Small JPEGs of a data set's crops, each encoded once.

    Args:
        folders: Folders of data sets.
    """

    def __init__(self, folders: Sequence[Path]):
        self._folders = [Path(folder).resolve() for folder in folders]
        self._made: Dict[Tuple[str, str], Optional[str]] = {}

    def __bool__(self) -> bool:
        return bool(self._folders)

    def data_url(self, folder: str, path: str) -> Optional[str]:
        """A crop as a data URL; None where it is not at hand.

        Args:
            folder: Name of the data set's folder.
            path: Relative to it; what leads out of it is not read.
        """
        key = (folder, path)
        if key not in self._made:
            self._made[key] = self._encode(folder, path)
        return self._made[key]

    def _encode(self, folder: str, path: str) -> Optional[str]:
        import cv2  # not needed for a report without pictures

        from runtime.preprocess import read_image

        named = [root for root in self._folders if root.name == folder]
        for root in named or (self._folders if len(self._folders) == 1 else []):
            file = (root / path).resolve()
            if root not in file.parents or not file.is_file():
                continue
            try:
                image = read_image(file)
            except ReidEdgeError:
                continue  # the accuracy section names what cannot be read
            scale = min(_HEIGHT_PX / image.shape[0], 1.0)
            size = (max(round(image.shape[1] * scale), 1), max(round(image.shape[0] * scale), 1))
            small = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
            done, jpeg = cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])
            if done:
                return "data:image/jpeg;base64," + base64.b64encode(jpeg.tobytes()).decode("ascii")
        return None


def strips_html(results: Results, pictures: Pictures) -> str:
    """The worst queries of every variant; without pictures only the marks."""
    parts = []
    for key, any_of in datasets(results).items():
        several = len(datasets(results)) > 1
        for network, pairs in measured(results, key).items():
            for entry, accuracy in pairs:
                if accuracy.worst:
                    on = " on %s" % any_of.dataset.name if several else ""
                    parts.append(_variant(network, entry, accuracy, on, pictures))
    if not parts:
        return ""
    shown = "data:image/jpeg" in "".join(parts)
    lead = warning(LICENCE) if shown else paragraph(
        "Pictures are left out%s; the marks show whether each found image is the person (✓) or "
        "somebody else (✗)."
        % (": none of the data sets' crops could be read where they were looked for" if pictures else "")
    )  # fmt: skip
    explained = paragraph(
        "The queries that lost most average precision (AP) against fp32, with the gallery images each "
        "network ranks first. ✓ in a solid frame: the same person; ✗ in a dashed frame: somebody else; the "
        "number is the cosine.",
        "quiet",
    )
    return lead + explained + "".join(parts)


def _variant(network: str, entry: Entry, accuracy: Accuracy, on: str, pictures: Pictures) -> str:
    cases = "".join(
        _case(query, accuracy.dataset.folder, entry.label, pictures)
        for query in accuracy.worst[:QUERIES]
    )
    return "<details open><summary>%s, %s%s</summary>%s</details>" % (
        breakable(network),
        escape(entry.label),
        escape(on),
        cases,
    )


def _case(query: WorstQuery, folder: str, name: str, pictures: Pictures) -> str:
    asked = _picture(pictures.data_url(folder, query.path) if pictures else None, "The query", "?")
    strips = ""
    for who, ap, ranking in (
        ("fp32", query.ap_fp32, query.ranking_fp32),
        (name, query.ap, query.ranking),
    ):
        found = "".join(
            _found(rank, ranked, folder, pictures) for rank, ranked in enumerate(ranking[:DEPTH], 1)
        )
        strips += (
            '<div class="strip" role="group" tabindex="0" aria-label="%s">'
            '<div class="who">%s<br>AP %s</div><div class="asked">%s<span>query</span></div>%s</div>'
            % (
                escape("First images of %s" % who, quote=True),
                breakable(who),
                number(ap, 1),
                asked,
                found,
            )
        )
    return '<div class="case"><p><code>%s</code>: AP falls from %s to %s %%</p>%s</div>' % (
        breakable(query.path),
        number(query.ap_fp32, 1),
        number(query.ap, 1),
        strips,
    )


def _found(rank: int, ranked: Ranked, folder: str, pictures: Pictures) -> str:
    kind, mark, said = (
        ("right", "✓", "same person") if ranked.right else ("wrong", "✗", "somebody else")
    )
    alt = "Rank %d, %s, cosine %s" % (rank, said, number(ranked.similarity))
    url = pictures.data_url(folder, ranked.path) if pictures else None
    return '<div class="%s" title="%s">%s<span>%s %s</span></div>' % (
        kind,
        escape(ranked.path, quote=True),
        _picture(url, alt, mark),
        "" if url is None else mark,
        number(ranked.similarity),
    )


def _picture(url: Optional[str], alt: str, mark: str) -> str:
    if url is None:
        return '<div class="none" role="img" aria-label="%s">%s</div>' % (
            escape(alt, quote=True),
            mark,
        )
    return '<img src="%s" alt="%s">' % (url, escape(alt, quote=True))


def worst_lines(results: Results, shown: int = 3) -> List[str]:
    """The worst queries of each variant in sentences, for Markdown."""
    lines = []
    for key in datasets(results):
        for network, pairs in measured(results, key).items():
            for entry, accuracy in pairs:
                for query in accuracy.worst[:shown]:
                    lines.append(
                        "%s, %s: %s, AP from %s to %s %%"
                        % (
                            network,
                            entry.label,
                            query.path,
                            number(query.ap_fp32, 1),
                            number(query.ap, 1),
                        )
                    )
    return lines
