"""From an image to numbers: face crop, landmarks, feature vectors. No Ray in here."""
