"""From image files to result files: what to predict on, in which order, and what to write."""
