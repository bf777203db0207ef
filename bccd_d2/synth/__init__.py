"""Seeded synthetic blood smears with exact masks, in the layout of the BCCD dataset with masks."""
