"""Training: losses, samplers, augmentation, schedules, the trainer and ``reid-train``."""
