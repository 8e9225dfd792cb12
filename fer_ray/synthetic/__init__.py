"""The synthetic corpus: faces rendered from FACS action units, in the CK+ layout."""
