"""For programs that people have open already: napari. QuPath and Fiji: see integrations/."""
