"""The config: keys, loading, and what turns it into options."""
