"""A sequence in MOTChallenge's layout with drawn people: 1 is red, 2 is green, 3 is blue."""

import cv2

from runtime.mot_format import mot_line
from tests.runtime.drawn import RATE_HZ, draw, person, street

FRAMES = 50
IDS = {"red": 1, "green": 2, "blue": 3}


def scene(number):
    """Red stands left, green right; blue comes late and walks across in front of red."""
    people = {"green": person(260, 190, 110), "red": person(110)}
    if number >= 15:
        people["blue"] = person(-40 + 10 * (number - 15), 215, 130)
    return {name: box for name, box in people.items() if box[2] > 8 and box[0] < 312}


def write_sequence(folder):
    """Frames, ground truth, ``det/good.txt`` without whom blue hides, and seqinfo.ini."""
    for name in ("gt", "det", "img1"):
        (folder / name).mkdir(parents=True)
    (folder / "seqinfo.ini").write_text(
        "[Sequence]\nname=Drawn\nimDir=img1\nframeRate=%d\nseqLength=%d\nimWidth=320\n"
        "imHeight=240\nimExt=.png\n" % (RATE_HZ, FRAMES)
    )
    truth, found = [], []
    for number in range(FRAMES):
        people = scene(number)
        cv2.imwrite(str(folder / "img1" / ("%06d.png" % (number + 1))), draw(street(), people))
        cover = people.get("blue")
        for name, box in people.items():
            truth.append(mot_line(number + 1, IDS[name], box, 1))
            hidden = 0
            if cover is not None and name != "blue":
                hidden = max(min(box[2], cover[2]) - max(box[0], cover[0]), 0) / (box[2] - box[0])
            if hidden < 0.7:
                found.append(mot_line(number + 1, -1, box, 0.9))
    (folder / "gt" / "gt.txt").write_text("".join(truth))
    (folder / "det" / "good.txt").write_text("".join(found))
    return folder
