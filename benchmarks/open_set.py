"""``python -m benchmarks.open_set``: the lock's thresholds for a network, at stated false-accept rates.

Each person of an evaluation set is learned as the lock learns a target, from up to eight crops of one
camera, in a scene of some other people of that camera. Its remaining crops there are the genuine looks; crops
of people of the same camera who are not in the scene, strangers who come in, are the impostors.
Similarities are the lock's own: without what the people of the scene have in common.

Use people the network was not trained on. A threshold holds for looks like these; that a look is taken
at a higher rate in streets where people dress alike is why the lock asks for several looks, a margin to
everybody known, and a place in reach.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np

from benchmarks.datasets import RetrievalSet, open_retrieval_set
from runtime.backends import open_backend
from runtime.bundle import Bundle
from runtime.embedder import Embedder
from runtime.errors import ReidEdgeError
from runtime.memory import SceneMean, TargetMemory
from runtime.open_set import calibrate_threshold
from runtime.perception import strangers
from runtime.preprocess import read_image

LEARNED = 8  # crops of an enrolment, or half of what there is of a person
RATES = (1e-2, 1e-3, 1e-4)
LEAST = 6  # crops of a person in one camera
OTHERS = (0, 1, 3, 7)  # people of the scene beside the target; each target is measured with all
STRANGERS = 60  # people compared with each target


def tracklets(
    found: RetrievalSet, people: Iterable[int], least: int = LEAST
) -> dict[tuple[int, int], list[Path]]:
    """(person, camera) -> image files in order of their names, of those with enough crops.

    Args:
        found: Queries and gallery.
        people: Whose crops.
        least: Crops of a person in one camera.

    Raises:
        ReidEdgeError: No camera saw two of these people often enough.
    """
    people = set(people)
    shown: dict[tuple[int, int], set[Path]] = defaultdict(set)
    for crop in (*found.query, *found.gallery):  # an image may be in both
        if crop.person_id in people:
            shown[crop.person_id, crop.camera_id].add(crop.path)
    kept = {
        key: sorted(paths, key=lambda path: path.name)
        for key, paths in sorted(shown.items())
        if len(paths) >= least
    }
    if max(Counter(camera for _, camera in kept).values(), default=0) < 2:
        raise ReidEdgeError(
            "Thresholds need two of the %d people looked at with at least %d crops each in one camera, "
            "which %s does not have (its cameras are %s)."
            % (len(people), least, found.name, found.cameras)
        )
    return kept


def halves(people: Iterable[int], seed: int = 5) -> tuple[list[int], list[int]]:
    """Identities in two halves at random: for thresholds, and for what is judged by them.

    Give all identities of a set, or the halves of two uses are not the same.
    """
    order = np.random.default_rng(seed).permutation(sorted(set(people))).tolist()
    return order[: len(order) // 2], order[len(order) // 2 :]


def looks(
    embeddings: dict[tuple[int, int], np.ndarray], prior: np.ndarray, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Similarities as the lock sees them.

    Args:
        embeddings: (person, camera) -> (N, D) crops in order, L2-normalised.
        prior: (K, D) embeddings of people from elsewhere.
        seed: Of who else is in a scene.

    Returns:
        Genuine and impostor similarities, (G,) and (I,).

    Raises:
        ReidEdgeError: No camera has two people with at least two crops of one of them.
    """
    rng = np.random.default_rng(seed)
    genuine: list[np.ndarray] = []
    impostor: list[np.ndarray] = []
    for (person, camera), crops in embeddings.items():
        learned = min(LEARNED, len(crops) // 2)
        if not learned:
            continue
        there = [key for key in embeddings if key[1] == camera and key[0] != person]
        for count in OTHERS:
            if len(there) <= count:
                continue
            drawn = [there[i] for i in rng.permutation(len(there))]
            scene, memory = SceneMean(prior), TargetMemory()
            for crop in crops[:learned]:
                scene.add(0, crop)
                memory.enrol(crop)
            for number, other in enumerate(drawn[:count], 1):
                scene.add(number, embeddings[other][0])
            genuine.append(memory.similarity(crops[learned:], scene))
            new = np.concatenate([embeddings[key] for key in drawn[count : count + STRANGERS]])
            impostor.append(memory.similarity(new, scene))
    if not genuine:
        raise ReidEdgeError(
            "Thresholds need two people in one camera, one of them with at least two crops."
        )
    return np.concatenate(genuine), np.concatenate(impostor)


def embed_all(
    found: dict[tuple[int, int], list[Path]],
    embed: Callable[[Sequence[np.ndarray]], np.ndarray],
    batch: int = 16,
) -> dict[tuple[int, int], np.ndarray]:
    """(person, camera) -> (N, D) embeddings of the images."""
    return {
        key: np.concatenate(
            [
                embed([read_image(path) for path in paths[i : i + batch]])
                for i in range(0, len(paths), batch)
            ]
        )
        for key, paths in found.items()
    }


def parser() -> argparse.ArgumentParser:
    p = argparse.ArgumentParser(
        prog="python -m benchmarks.open_set",
        description="Measure the lock's similarity thresholds for a bundle's network.",
        epilog="exit status: 0 done, 2 the input cannot be used",
    )
    p.add_argument("--data", type=Path, required=True, help="evaluation set in any ReID layout")
    p.add_argument("--bundle", type=Path, required=True, help="bundle of the ReID network")
    p.add_argument("--all", action="store_true", help="all identities; default: a fixed half")
    p.add_argument(
        "--rate",
        type=float,
        action="append",
        help="false-accept rate, may be repeated (default: %s)"
        % ", ".join("%g" % r for r in RATES),
    )
    p.add_argument("--threads", type=int, default=1, help="of the network (default: %(default)s)")
    p.add_argument("--json", action="store_true", help="print one JSON object")
    return p


def main(argv: list[str] | None = None) -> int:
    a = parser().parse_args(argv)
    try:
        rates = a.rate or RATES
        if a.threads < 1 or not all(0 < rate < 1 for rate in rates):
            raise ReidEdgeError(
                "--threads must be at least 1 and each --rate between 0 and 1, got %d and %s."
                % (a.threads, ", ".join("%g" % rate for rate in rates))
            )
        bundle = Bundle.open(a.bundle)
        found = open_retrieval_set(a.data)
        # Who is not queried is no single person, such as Market-1501's 0.
        queried = [crop.person_id for crop in found.query]
        kept = tracklets(found, queried if a.all else halves(queried)[0])
        network = Embedder(bundle, open_backend(bundle, threads=a.threads))
        genuine, impostor = looks(embed_all(kept, network.embed), strangers(bundle))
        thresholds = [calibrate_threshold(genuine, impostor, rate) for rate in rates]
    except ReidEdgeError as error:
        print("benchmarks.open_set: %s" % error, file=sys.stderr)
        return error.exit_code
    people = len({person for person, _ in kept})
    if a.json:
        record = {"data": found.name, "people": people, "bundle": bundle.manifest.name}
        print(json.dumps({**record, "thresholds": [asdict(t) for t in thresholds]}))
        return 0
    print("%d people, %d genuine and %d impostor looks" % (people, len(genuine), len(impostor)))
    for t in thresholds:
        print(
            "similarity above %.3f: false accepts %.2g, false rejects %.3f"
            % (t.similarity, t.false_accept_rate, t.false_reject_rate)
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
