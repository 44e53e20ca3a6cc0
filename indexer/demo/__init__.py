"""The embedded default: scenes of the procedural world, the small model that ships, and an index of both."""
