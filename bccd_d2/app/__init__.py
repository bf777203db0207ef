"""A page on this computer that finds the cells of one image: outlines, counts, measurements, files.

`server.serve` starts it for any model with ``predict``, ``name`` and ``score_threshold``. Only
`page` and `server` know Gradio. No file is kept: an upload is deleted once it is read; its pixels,
for another look at another cell size, and the results live in the memory of the session until the
next image comes, its tab closes or an hour passes.
"""
