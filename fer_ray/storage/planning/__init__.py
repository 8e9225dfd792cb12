"""Tables of a sweep while it runs: files sorted by hash, and the SQL on one partition of them."""
