"""What one crop is good for: to decide, or even to learn from."""

import numpy as np

from runtime.lock_types import LockSettings, Person


def shows(person: Person, settings: LockSettings) -> bool:
    """Whether the crop is good enough to decide anything."""
    return person.quality >= settings.quality and not hidden(person, settings)


def hidden(person: Person, settings: LockSettings) -> bool:
    """Whether other people cover most of this one."""
    little = person.overlap >= settings.hidden or person.quality < settings.quality
    return person.behind and little


def clear(person: Person, settings: LockSettings) -> bool:
    """Whether the crop is good enough to be learned: whole, and not of two people."""
    covered = person.behind and person.overlap >= settings.contest
    return person.quality >= settings.learn_quality and not covered


def look_of(person: Person) -> np.ndarray:
    """The embedding of a person who was embedded."""
    assert person.embedding is not None
    return person.embedding
