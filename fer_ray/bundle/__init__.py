"""Models as folders that anyone may open: no pickle, every file known by its hash."""
