"""What the tests of ``reid-track`` run it on: a walk in front of a camera, and stand-ins."""

import cv2
import numpy as np

from runtime.errors import ReidEdgeError
from runtime.mot_format import mot_line
from runtime.sources import Frame, Source
from tests.runtime import drawn
from tests.runtime.drawn import ColourNetwork, draw, person, street
from tests.runtime.fake_bundle import make_bundle

FRAMES = 25
RED = "86,80,134,200"  # left, top, right, bottom of red on the first frame


def walk(number):
    """Red walks to the left, green stands."""
    left, top, right, bottom = person(110)
    return {"red": (left - number, top, right - number, bottom), "green": person(220, 190, 110)}


def write_material(folder):
    """Frames ``img1/``, detections ``det.txt``, a bundle and photos of green."""
    (folder / "img1").mkdir()
    lines = []
    for number in range(FRAMES):
        people = walk(number)
        cv2.imwrite(str(folder / "img1" / ("%d.png" % (number + 1))), draw(street(), people))
        lines += [mot_line(number + 1, -1, box, 0.9) for box in people.values()]
    (folder / "det.txt").write_text("".join(lines))
    looks = drawn.strangers()
    golden = {"inputs": np.zeros((2, 3, 16, 8)), "embedding_fp32": looks, "embedding_int8": looks}
    make_bundle(folder / "bundle", golden=golden, dim=drawn.DIM)
    (folder / "photos").mkdir()
    for seed in range(3):
        photo = draw(street(seed), {"green": (0, 0, 60, 150)})[:150, :60]
        cv2.imwrite(str(folder / "photos" / ("%d.png" % seed)), photo)
    return folder


def names(folder):
    return {path.name for path in folder.iterdir()}


class FakeEmbedder:
    """The colour network in place of the bundle's."""

    network = ColourNetwork()

    def __init__(self, bundle, backend):
        self.embed = self.network


class Camera(Source):
    """A camera that gives the frames of these numbers and then is lost."""

    name, live, fps, dropped = "camera 0", True, 20.0, 5

    def __init__(self, numbers):
        self.numbers = list(numbers)

    @property
    def ended(self):
        return not self.numbers

    def read(self, timeout_s=None):
        if not self.numbers:
            raise ReidEdgeError("Camera 0 gave no frame for 60 s; check its cable.")
        number = self.numbers.pop(0)
        return Frame(draw(street(), walk(number)), number, number / 20)

    def close(self):
        pass
