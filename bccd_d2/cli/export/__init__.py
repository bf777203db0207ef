"""`bccd export`: a finished model as a file of its own."""
