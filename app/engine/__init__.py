"""What the inference worker is made of: encoders and their loading, what it remembers, what it answers."""
