"""The command line of `fer-ray`: options, commands, and their output."""
