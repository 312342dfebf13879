"""Choosing calibration crops, collecting activation ranges, and the calibration table."""
