"""Pathology ViTs, the simple feature pyramid, and the detectors on top of them."""
