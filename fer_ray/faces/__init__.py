"""Face detection, crops and landmarks."""
