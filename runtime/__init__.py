"""Device side of reid-edge: opens a bundle, prepares pixels, runs the network (Python >= 3.8)."""
