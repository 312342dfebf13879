"""The network and the data that work without any download.

``default_network`` loads the trained default described by ``default.json`` in this folder; until
one is there it builds a small untrained RGA network. ``demo_crops`` draws people to try it on.
"""

from models.zoo.card import ProvenanceCard
from models.zoo.default import default_calibration_table, default_network
from models.zoo.demo import demo_crops

__all__ = ["ProvenanceCard", "default_calibration_table", "default_network", "demo_crops"]
