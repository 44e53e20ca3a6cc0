"""The built-in demo: scenes of the procedural world, the small model that ships, and their index."""
