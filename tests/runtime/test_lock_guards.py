"""What a crop is good for."""

import numpy as np
import pytest

from runtime.lock_guards import clear, hidden, look_of, shows
from runtime.lock_types import LockSettings, Person

S = LockSettings(quality=0.4, learn_quality=0.6, contest=0.15, hidden=0.6)


@pytest.mark.parametrize(
    ("quality", "overlap", "behind", "says"),  # says: shows, hidden, clear
    [
        (1.0, 0.0, False, (True, False, True)),
        (0.4, 0.0, False, (True, False, False)),
        (0.39, 0.0, False, (False, False, False)),
        (0.6, 0.9, False, (True, False, True)),  # in front of others
        (0.6, 0.14, True, (True, False, True)),
        (0.6, 0.15, True, (True, False, False)),
        (0.6, 0.59, True, (True, False, False)),
        (0.6, 0.6, True, (False, True, False)),
        (0.39, 0.1, True, (False, True, False)),
    ],
)
def test_guards(quality, overlap, behind, says):
    person = Person(1, (0, 0, 40, 100), None, quality, overlap, (2,), behind)
    assert (shows(person, S), hidden(person, S), clear(person, S)) == says


def test_the_look_of_a_person():
    embedding = np.ones(3, np.float32)
    assert look_of(Person(1, (0, 0, 1, 1), embedding)) is embedding
    with pytest.raises(AssertionError):
        look_of(Person(1, (0, 0, 1, 1)))
