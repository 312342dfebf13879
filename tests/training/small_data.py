"""Tiny data sets in the layouts of the real ones, with real image files and MATLAB files."""

import cv2
import h5py
import numpy as np
import scipy.io

COLUMNS = 10  # images per person in CUHK03, five of each camera


class Bar:
    """Stands in for a tqdm bar and remembers what it was told."""

    def __init__(self, label, total):
        self.label, self.total, self.done, self.closed = label, total, 0, False

    def update(self, n):
        self.done += n

    def close(self):
        self.closed = True


def pixels(name, height=9, width=5):
    """(height, width, 3) uint8 RGB image that depends on the name only."""
    seed = int.from_bytes(name.encode(), "little") % 2**32
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def write_images(root, *names):
    """Write real image files, each with its own pixels."""
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        assert cv2.imwrite(str(path), pixels(path.stem)[:, :, ::-1])
    return root


def stem(pair, person, column):
    """Usual name of a CUHK03 image without suffix; all numbers from 1."""
    return f"{pair}_{person:03d}_{1 if column <= 5 else 2}_{column:02d}"


def fill_raw(file, occupied, testsets):
    """Fill an open HDF5 file as MATLAB 7.3 writes ``cuhk-03.mat``.

    Args:
        file: The open ``h5py.File``.
        occupied: Per kind, per camera pair, (people, 10) bool: which images exist.
        testsets: Per split, a list of (pair, person), from 1.
    """
    refs = file.create_group("#refs#")

    def store(array):
        return refs.create_dataset(str(len(refs)), data=array).ref

    def store_cell(rows):
        cell = np.empty(np.shape(rows), h5py.ref_dtype)
        for index in np.ndindex(cell.shape):
            cell[index] = rows[index[0]][index[1]]
        return cell.T  # HDF5 has MATLAB's axes in reverse

    def image(kind, pair, person, column, exists):
        if exists:
            return store(pixels(kind + stem(pair, person, column)).transpose(2, 1, 0))
        ref = store(np.zeros(2, np.uint64))
        file[ref].attrs["MATLAB_empty"] = np.uint8(1)
        return ref

    for kind, pairs in occupied.items():
        cells = [
            store_cell(
                [
                    [image(kind, pair, i + 1, j + 1, mask[i, j]) for j in range(COLUMNS)]
                    for i in range(len(mask))
                ]
            )
            for pair, mask in enumerate(pairs, 1)
        ]
        outer = [[refs.create_dataset(str(len(refs)), data=cell).ref] for cell in cells]
        file.create_dataset(kind, data=store_cell(outer))
    sets = [[store(np.array(people, float).reshape(-1, 2).T)] for people in testsets]
    file.create_dataset("testsets", data=store_cell(sets))


def write_raw(path, occupied, testsets):
    with h5py.File(path, "w") as file:
        fill_raw(file, occupied, testsets)
    return path


def write_protocol(path, rows, **changes):
    """Write a new-protocol file.

    Args:
        path: The file.
        rows: (stem, person, camera, part) per image; the part is train, query or gallery.
        changes: Variables to replace; None leaves one out.
    """
    stems, persons, cameras, parts = zip(*rows)
    names = np.empty((len(rows), 1), object)  # a cell array of strings
    names[:, 0] = [name + ".png" for name in stems]
    variables = {
        "filelist": names,
        "labels": np.array(persons, np.uint16)[:, None],
        "camId": np.array(cameras, np.uint8)[:, None],
    }
    for part in ("train", "query", "gallery"):
        index = [number for number, where in enumerate(parts, 1) if where == part]
        variables[part + "_idx"] = np.array(index, float)[:, None]
    variables.update(changes)
    kept = {name: value for name, value in variables.items() if value is not None}
    scipy.io.savemat(path, kept)
    return path


# Three people of pair 1 and two of pair 2; person 2 of pair 1 lacks some images.
FULL = np.ones((3, COLUMNS), bool)
GAPS = np.array([[c not in (2, 6) or p != 1 for c in range(COLUMNS)] for p in range(3)])
OCCUPIED = {"labeled": [FULL, np.ones((2, COLUMNS), bool)], "detected": [GAPS, GAPS[:2]]}
TESTSETS = [[(1, 2), (2, 1)], [(1, 1), (1, 3)]]


def protocol_rows(occupied):
    """New-protocol rows: people 1, 2 and 4 train, 3 and 5 test with one query per camera."""
    rows = []
    person = 0
    for pair, mask in enumerate(occupied, 1):
        for i in range(len(mask)):
            person += 1
            for j in np.flatnonzero(mask[i]):
                camera = 1 if j < 5 else 2
                part = "train" if person in (1, 2, 4) else "query" if j in (0, 5) else "gallery"
                rows.append((stem(pair, i + 1, j + 1), person, camera, part))
    return rows
