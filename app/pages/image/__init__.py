"""Pages about one image: activations, groups, layers, steering, similar images, comparison."""
