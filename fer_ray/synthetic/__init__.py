"""The synthetic corpus: faces drawn from FACS action units, in the layout of CK+."""
