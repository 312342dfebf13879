"""Workstation side: a trained network becomes a verified, calibrated, quantized bundle."""
