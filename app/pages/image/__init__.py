"""One image analyzed, as pages: features, groups, layers, steering, what is similar, two side by side."""
