"""What features represent, measured against the known content of the procedural world."""
