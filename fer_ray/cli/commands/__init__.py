"""The commands, one module per section of `fer-ray --help`."""
