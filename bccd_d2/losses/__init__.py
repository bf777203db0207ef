"""Losses for dense maps, torch only: pure functions, their sums by name, weights of tasks."""
