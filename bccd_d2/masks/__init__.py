"""Cells as run-length masks and label maps: the currency that every other room trades in."""
