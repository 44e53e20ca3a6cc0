"""Training: the small CLIP of the demo, and sparse autoencoders on any model's activations.

Both trainers share `schedule`, `checkpoint` and `log`. `scopeview.signals.pausable` makes Ctrl-C a pause.
"""
