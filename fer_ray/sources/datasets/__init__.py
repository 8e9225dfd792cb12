"""Sources that are listed at once, for run folders: CK+ layouts, labelled folders, CSV files."""
