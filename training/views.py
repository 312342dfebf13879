"""From which side a person is seen, for data sets that do not say: a CSV file beside the images."""

from __future__ import annotations

import csv
import os
from pathlib import Path
from typing import NamedTuple

from calibration.layouts import VIEWS
from runtime.errors import ReidEdgeError

_HEADER = ["path", "view"]


class ViewLabel(NamedTuple):
    """One line of the file.

    Attributes:
        view: One of ``VIEWS``.
        line: Its number, from 1.
    """

    view: str
    line: int


def same_file_key(path: str | Path) -> str:
    """What two spellings of one path have in common; links are not followed."""
    return os.path.abspath(path)


def read_views(csv_path: str | Path, root: str | Path) -> dict[str, ViewLabel]:
    """Read a CSV file whose header is ``path,view``.

    Args:
        csv_path: The file, UTF-8.
        root: Folder the paths are relative to, the data set's root.

    Returns:
        Label of each image, by ``same_file_key`` of its path.

    Raises:
        ReidEdgeError: The file cannot be read, or a line has another form, an unknown view, a path
            without a file, or a path that an earlier line has; the line is named.
    """
    labels: dict[str, ViewLabel] = {}
    try:
        with open(csv_path, encoding="utf-8-sig", newline="") as stream:  # Excel writes the mark
            reader = csv.reader(stream)
            header = next(reader, [])
            if [field.strip() for field in header] != _HEADER:
                raise ReidEdgeError(
                    f"Line 1 of {csv_path} must be the header path,view, got "
                    f"{','.join(header)[:80]!r}."
                )
            for fields in reader:
                if any(field.strip() for field in fields):
                    where = f"Line {reader.line_num} of {csv_path}"
                    key, view = _checked(fields, Path(root), where)
                    if key in labels:
                        raise ReidEdgeError(
                            f"{where} labels {fields[0].strip()} again, after line "
                            f"{labels[key].line}; remove one of them."
                        )
                    labels[key] = ViewLabel(view, reader.line_num)
    except OSError as error:
        raise ReidEdgeError(f"Cannot read views {csv_path}: {error.strerror or error}.") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise ReidEdgeError(
            f"{csv_path} is not a CSV file in UTF-8 ({error}); correct it."
        ) from None
    return labels


def _checked(fields: list[str], root: Path, where: str) -> tuple[str, str]:
    """Key and view of one line."""
    if len(fields) != len(_HEADER):
        raise ReidEdgeError(f"{where} must be path,view, got {','.join(fields)[:80]!r}.")
    path, view = (field.strip() for field in fields)
    if view not in VIEWS:
        raise ReidEdgeError(f"{where} must give the view {', '.join(VIEWS)}, got {view!r}.")
    if not (root / path).is_file():
        raise ReidEdgeError(
            f"{where} names {path!r}, but there is no such file in {root}; paths are relative to "
            "the data set's folder."
        )
    return same_file_key(root / path), view
