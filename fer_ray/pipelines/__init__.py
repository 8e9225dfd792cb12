"""The jobs behind the commands: one module a command."""
