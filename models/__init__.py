"""Torch networks for person re-identification and the checkpoints they come from."""
