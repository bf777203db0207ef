"""Models of maps: decoders, heads, losses, and from maps to cells."""
