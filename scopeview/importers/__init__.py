"""SAE checkpoints of every supported format, read into one `scopeview.sae.autoencoder.Sae`.

`read_suite` finds and checks the SAEs in a folder or a Hugging Face repository without loading any weights;
`load_sae` loads one of them. Anything wrong with a file is a `CheckpointError` that names it, raised before
any model or device is touched. Nothing in a checkpoint is ever executed.
"""

from scopeview.importers.source import NOTHING_STATED, SaeSource, Stated
from scopeview.importers.suite import Suite, check_fits, load_sae, read_suite

__all__ = ["NOTHING_STATED", "SaeSource", "Stated", "Suite", "check_fits", "load_sae", "read_suite"]
