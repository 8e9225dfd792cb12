"""Settings: frozen, strict models that import neither pixels, tables nor Ray."""
