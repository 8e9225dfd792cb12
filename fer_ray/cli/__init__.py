"""The command line of `fer-ray`: options and commands, and what they print."""
