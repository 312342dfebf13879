"""Which images make up each batch of an epoch.

A sampler is a plan, not a stream: ``epoch(n)`` gives all batches of epoch ``n`` from its arguments
alone, so an interrupted run continues with the same batches, on any number of workers.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from runtime.errors import ReidEdgeError

# Keep the samplers' random numbers apart from those other parts draw for the same seed.
_EPOCH_STREAM, _ROUND_STREAM, _UNIFORM_STREAM = 2, 3, 4
# Weights become whole numbers up to this, so that shares are exact and the same on every machine.
_WEIGHT_UNIT = 1 << 24


class PKSampler:
    """Batches of P persons with K images each (Hermans et al., "In Defense of the Triplet Loss").

    The rules of one epoch:

    - It has floor(images of the set / images of a global batch) batches, at least one, so it draws
      about as many images as there are. A global batch is P * K images of every rank.
    - A person is at most once in a global batch, and in every epoch at least once. Only if there
      are more persons than places (fewer than K images per person on average) do persons take
      turns: places are dealt in rounds over all persons, and a round takes
      ceil(persons / places) epochs.
    - Beyond that, how often a person's turn comes is proportional to the number of its images.
    - Image j of a person is drawn floor(s_j) or ceil(s_j) times, s_j = draws of the person in this
      epoch * weight_j / sum of the person's weights, and its draws are spread evenly over the
      person's turns. So a person with at least K images of equal weight never has an image twice
      in one batch, one with fewer than K repeats them evenly, and a heavy image is repeated within
      a batch if its weight asks for more than one K-th of all draws.

    Args:
        person_ids: Identity of each image of the training set, from 0 on; gaps are allowed.
        persons: P, persons per batch and rank; at least 2.
        images: K, images of each person in a batch.
        seed: Seed of every choice; not negative.
        weights: How often each image is drawn compared with others of the same person; positive,
            and relative to the set's largest at least 1e-4. None is all the same.
        rank: Number of this process, from 0.
        world_size: Number of processes. Rank r gets columns r * P * K to (r + 1) * P * K of the
            batches one process would draw with persons = P * world_size.

    Attributes:
        steps: Batches per epoch.
        batch: Images per batch of this rank, P * K.

    Raises:
        ReidEdgeError: No images, unknown identities, a single identity, fewer identities than a
            global batch needs, or an argument out of range.
    """

    def __init__(
        self,
        person_ids: Sequence[int],
        *,
        persons: int,
        images: int,
        seed: int,
        weights: Sequence[float] | None = None,
        rank: int = 0,
        world_size: int = 1,
    ):
        ids = np.asarray(person_ids)
        _check_place(seed, rank, world_size)
        if persons < 2 or images < 1:
            raise ReidEdgeError(
                "A batch needs at least 2 persons and 1 image of each, "
                f"got persons {persons} and images {images}."
            )
        _check_identities(ids, persons, world_size)
        person = np.unique(ids, return_inverse=True)[1]
        counts = np.bincount(person)
        # Indices of each person's images, and their weights as whole numbers.
        by_person = np.argsort(person, kind="stable")
        cuts = np.cumsum(counts)[:-1]
        self._images = np.split(by_person.astype(np.int64), cuts)
        self._weights = np.split(_whole_weights(weights, len(ids))[by_person], cuts)
        self._counts = counts
        self._persons, self._per_person, self._seed = persons * world_size, images, seed
        self._columns = slice(rank * persons * images, (rank + 1) * persons * images)
        self.batch = persons * images
        self.steps = max(len(ids) // (self._persons * images), 1)

    def epoch(self, n: int) -> np.ndarray:
        """The batches of epoch ``n`` (from 0).

        Returns:
            (steps, P * K) int64 indices into the training set, the images of a person side by side.
        """
        rng = _generator(self._seed, _EPOCH_STREAM, n)
        turns = self._turns(n, rng)
        who = _deal(turns, self.steps, rng)
        batches = np.empty((self.steps, self._persons, self._per_person), np.int64)
        # Places of each person in order of its turns: positions in `who`, grouped by person.
        places = np.split(np.argsort(who, axis=None, kind="stable"), np.cumsum(turns)[:-1])
        flat = batches.reshape(-1, self._per_person)
        for person in np.flatnonzero(turns):
            draws = _shares(self._weights[person], int(turns[person]) * self._per_person, rng)
            flat[places[person]] = self._images[person][_deal(draws, int(turns[person]), rng)]
        return np.ascontiguousarray(batches.reshape(self.steps, -1)[:, self._columns])

    def _turns(self, n: int, rng: np.random.Generator) -> np.ndarray:
        """How many batches each person is in: (persons,) int64 with sum steps * P."""
        counts, places = self._counts, self.steps * self._persons
        if places < len(counts):
            return self._round(n, places)
        # Person i comes for the j-th time (j = 0, 1, ...) at time (j + offset_i) / images_i, the
        # first time always and at most once per batch; `clock` is when all places are taken.
        offsets = rng.random(len(counts))

        def turns_until(clock: float) -> np.ndarray:
            return np.clip(np.floor(counts * clock - offsets) + 1, 1, self.steps).astype(np.int64)

        early, late = 0.0, (self.steps + 1.0) / counts.min()
        while early < (clock := (early + late) / 2) < late:
            early, late = (clock, late) if turns_until(clock).sum() <= places else (early, clock)
        turns = turns_until(early)
        # Those who come at the very same time as the last place is taken: the first of them.
        tied = np.flatnonzero(turns_until(late) > turns)
        turns[tied[: places - turns.sum()]] += 1
        return turns

    def _round(self, n: int, places: int) -> np.ndarray:
        """As ``_turns``, for fewer places than persons: 0 or 1 each, everyone once in a round."""
        persons = len(self._counts)
        epochs = math.ceil(persons / places)
        order = _generator(self._seed, _ROUND_STREAM, n // epochs).permutation(persons)
        chosen = order[(n % epochs * places + np.arange(places)) % persons]
        return np.bincount(chosen, minlength=persons)


class UniformSampler:
    """Batches of images in random order, each image at most once per epoch.

    The order is drawn anew in every epoch and the images left over at its end, fewer than a global
    batch, are left out of it.

    Args:
        count: Images of the training set.
        batch: Images per batch and rank.
        seed: Seed of the order; not negative.
        rank: Number of this process, from 0.
        world_size: Number of processes. Rank r gets columns r * batch to (r + 1) * batch of the
            batches one process would draw with batch * world_size images.

    Attributes:
        steps: Batches per epoch.
        batch: Images per batch of this rank.

    Raises:
        ReidEdgeError: Fewer images than a global batch, or an argument out of range.
    """

    def __init__(self, count: int, batch: int, seed: int, rank: int = 0, world_size: int = 1):
        _check_place(seed, rank, world_size)
        if batch < 1:
            raise ReidEdgeError(f"A batch needs at least 1 image, got batch {batch}.")
        if count < batch * world_size:
            raise ReidEdgeError(
                f"A batch of {batch} images on {world_size} process(es) needs at least "
                f"{batch * world_size} training images, got {count}; use a smaller batch or more "
                "images."
            )
        self._count, self._global_batch, self._seed = count, batch * world_size, seed
        self._columns = slice(rank * batch, (rank + 1) * batch)
        self.batch = batch
        self.steps = count // self._global_batch

    def epoch(self, n: int) -> np.ndarray:
        """The batches of epoch ``n`` (from 0): (steps, batch) int64 indices."""
        order = _generator(self._seed, _UNIFORM_STREAM, n).permutation(self._count)
        batches = order[: self.steps * self._global_batch].reshape(self.steps, -1)
        return np.ascontiguousarray(batches[:, self._columns], np.int64)


def _generator(seed: int, stream: int, number: int) -> np.random.Generator:
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(stream, number)))


def _shares(weights: np.ndarray, total: int, rng: np.random.Generator) -> np.ndarray:
    """Split ``total`` draws by weight: each gets its exact share, rounded up or down at random.

    Systematic sampling: the weights lie end to end in random order on a line, and ``total`` marks
    at equal distances, from a random start, are counted on each. The mean over ``rng`` is exact.

    Args:
        weights: (M,) int64, not negative, not all zero.
        total: Draws to split.
        rng: Source of randomness.

    Returns:
        (M,) int64 with sum ``total``.
    """
    order = rng.permutation(len(weights))
    ends = np.cumsum(weights[order])
    marks = (ends * total + rng.integers(ends[-1])) // ends[-1]
    shares = np.empty(len(weights), np.int64)
    shares[order] = np.diff(marks, prepend=0)
    return shares


def _deal(turns: np.ndarray, rows: int, rng: np.random.Generator) -> np.ndarray:
    """Deal items into rows of equal length, each item spread over the rows as evenly as possible.

    Row by row, an item with t turns left and r rows to come gets floor(t / r) or ceil(t / r) of
    them. So one with at most ``rows`` turns is never twice in a row.

    Args:
        turns: (M,) int64, how often each item is dealt; the sum is a multiple of ``rows``.
        rows: Number of rows.
        rng: Source of randomness.

    Returns:
        (rows, sum / rows) int64 item numbers, in random order within a row.
    """
    left = turns.copy()
    dealt = np.empty((rows, int(turns.sum()) // rows), np.int64)
    for row in dealt:
        # Each row takes the shares of what is left: a row is one r-th of it, exactly.
        taken = _shares(left, len(row), rng)
        left -= taken
        row[:] = rng.permutation(np.repeat(np.arange(len(left)), taken))
    return dealt


def _whole_weights(weights: Sequence[float] | None, count: int) -> np.ndarray:
    """(count,) int64 in proportion to the weights."""
    if weights is None:
        return np.ones(count, np.int64)
    values = np.asarray(weights, np.float64)
    if values.shape != (count,):
        raise ReidEdgeError(
            f"Sampling weights must be one number per image, {count}, got shape {values.shape}."
        )
    if not (np.isfinite(values).all() and values.min() >= values.max() * 1e-4 > 0):
        raise ReidEdgeError(
            "Sampling weights must be positive and finite, the smallest at least 1/10000 of "
            f"the largest, got {values.min():g} to {values.max():g}; leave out images that should "
            "not be drawn."
        )
    whole = np.rint(values / values.max() * _WEIGHT_UNIT).astype(np.int64)
    return whole // np.gcd.reduce(whole)  # all the same becomes 1, as without weights


def _check_place(seed: int, rank: int, world_size: int) -> None:
    if seed < 0:
        raise ReidEdgeError(f"The seed must not be negative, got {seed}.")
    if world_size < 1 or not 0 <= rank < world_size:
        raise ReidEdgeError(
            f"The rank must be from 0 to world_size - 1, got rank {rank} of {world_size}."
        )


def _check_identities(ids: np.ndarray, persons: int, world_size: int) -> None:
    """Refuse a set that cannot fill a batch with different persons."""
    if ids.size == 0:
        raise ReidEdgeError("The training set has no images; give a set with labelled persons.")
    if ids.ndim != 1 or ids.dtype.kind not in "iu" or ids.min() < 0:
        raise ReidEdgeError(
            "The identities of the training images must be whole numbers from 0 on, got "
            f"shape {ids.shape}, type {ids.dtype}, smallest {ids.min()}; leave out images of "
            "unknown persons (-1)."
        )
    found = len(np.unique(ids))
    if found == 1:
        raise ReidEdgeError(
            f"All {ids.size} training images show one person; give images of at least two, since "
            "a network learns to tell persons apart."
        )
    if found < persons * world_size:
        raise ReidEdgeError(
            f"A batch of {persons} persons on {world_size} process(es) needs "
            f"{persons * world_size} identities, but the training set has {found}; use at most "
            f"{found // world_size} persons per batch or more identities."
        )
