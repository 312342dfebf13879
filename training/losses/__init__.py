"""Losses of person re-identification: over classes, over pairs of a batch, and towards a teacher."""
