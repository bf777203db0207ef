"""Annotations as other tools write them, one module a format, read into one form."""
