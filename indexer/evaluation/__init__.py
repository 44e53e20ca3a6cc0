"""What features stand for, measured against the truth of the procedural world."""
