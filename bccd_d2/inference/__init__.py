"""Answers of several models or views of one image, made into one."""
