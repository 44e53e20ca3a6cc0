"""Social cards: which images they show, and how they are drawn."""
