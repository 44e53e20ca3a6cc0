"""The place in a network that an SAE reads, by the names that libraries give it. Knows no files.

Read are the residual stream after a block, and `embed`, the final projected image embedding.
"""

import re
from collections.abc import Sequence
from pathlib import Path

from scopeview.errors import CheckpointError
from scopeview.slots import Layer

# The residual stream after a block, as TransformerLens, transformers, timm and open_clip name it.
_RESIDUAL = re.compile(
    r"(?:blocks\.(?P<after>\d+)\.hook_resid_post|blocks\.(?P<before>\d+)\.hook_resid_pre"
    r"|(?:model\.|vision_model\.)*(?:encoder\.)?layers?\.(?P<layers>\d+)"
    r"|(?:visual\.)?transformer\.resblocks\.(?P<resblocks>\d+)"
    r"|(?:resid_post_)?layer_(?P<layer>\d+)|blocks\.(?P<blocks>\d+))"
)


_MODULE = re.compile(r"\w\.\w|mlp|attn|attention|hook_")


CLIP_SCOPE_FOLDER = re.compile(r"(0|[1-9][0-9]*)_resid")
"""A folder of this name says the format of its files, too."""


def residual_block(path: Path, field: str, site: str) -> int:
    """The block whose output this is; what enters a block is the output of the one before it.

    Raises `CheckpointError` for any other site: attention, MLP, the input of the first block.
    """
    hook = _RESIDUAL.fullmatch(site)
    if hook is None:
        raise CheckpointError(
            f"{path}: {field} is {site!r}; supported is the residual stream after a block, "
            "such as 'blocks.11.hook_resid_post'"
        )
    block = int(hook[hook.lastgroup or 0])
    if hook.lastgroup != "before":
        return block
    if block == 0:
        raise CheckpointError(f"{path}: {site} is before the first block; supported is after a block")
    return block - 1


def named_layer(path: Path, field: str, site: str, layers: Sequence[Layer] | None) -> Layer:
    """The layer that a site's name says, else the only one requested.

    A name with a dot, or of an attention or MLP, is a module's: it must be that of a block.
    """
    if _RESIDUAL.fullmatch(site) or _MODULE.search(site):
        return residual_block(path, field, site)
    return requested_layer(path, layers)


def requested_layer(path: Path, layers: Sequence[Layer] | None, *, folder: str | None = None) -> Layer:
    """The only layer on the command line, for a file that does not say its own.

    `folder` is the name of a folder that would say it.
    """
    if layers is None or len(layers) != 1:
        alternative = f", or the file in a folder such as {folder}" if folder else ""
        raise CheckpointError(
            f"cannot tell which layer {path} is for; expected --layers with its one layer, such as --layers "
            f"22{alternative}"
        )
    return layers[0]
