"""How far to trust a prediction: calibrated probabilities, prediction sets and unusual faces.

Predicting needs numpy only. scikit-learn and SciPy are imported by the functions that fit.
"""
