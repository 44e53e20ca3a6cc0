"""The images that other sites show of a link: which images may be in one, and how it is drawn."""
