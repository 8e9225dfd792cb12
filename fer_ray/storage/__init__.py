"""Files, Parquet tables, run folders and the Delta store."""
