"""`bccd preview`: pictures of what a model will see."""
