"""Storage: atomic files, Parquet tables, run folders and the Delta store."""
