"""Random augmentations of a training crop, one idea a file."""
