"""Config, trainer, hooks and launching: how a model comes to be."""
