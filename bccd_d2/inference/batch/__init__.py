"""Prediction on many files: sources, outputs, resuming."""
