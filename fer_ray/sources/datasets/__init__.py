"""Sources that are listed as one table, for run folders: CK+ layouts, labelled folders, CSV files."""
