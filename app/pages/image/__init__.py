"""One picture taken apart, as pages: features, groups, layers, knobs, what is similar, two side by side."""
