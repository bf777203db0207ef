"""What a found cell is: a small network looks at each outline; see `predict`."""
