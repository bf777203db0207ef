"""Training of what gives types to a model's found cells: examples, networks, calibration."""
