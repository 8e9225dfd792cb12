"""Execution on Ray: session, chains, tasks and tuning; and the child process that guards images."""
