"""A world without hardware: people who walk, a car behind a real serial line, a camera that sees them.

Nothing of the truth reaches the chain under test: it gets pictures, boxes with a detector's faults and
bytes from a pseudo-terminal. What is measured here says how the chain behaves, not how well it knows
real people.
"""
