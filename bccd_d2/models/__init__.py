"""Models as files: finding, loading, exporting, and what ships with the package."""
