"""From sparse codes to explanations: decomposition, groups, heatmaps, steering."""
