"""Losses for dense maps; torch only, each a pure function of logits and targets."""
