"""Sources that are listed as a table, for run folders: CK+ layouts, labelled folders, CSV files."""
