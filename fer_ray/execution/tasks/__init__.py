"""Work items and blocks as tasks, in this process or on Ray."""
