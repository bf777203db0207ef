"""`bccd tune`: search what training, decoding or counting leaves to choose."""
