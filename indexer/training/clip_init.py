"""The initial vision tower of a small CLIP: each head first looks at one neighbor of its patch.

Random positions do not tell patches where their neighbors are, and a small transformer needs very many images
to find out; until then it sees colours and no shapes. So a few dimensions of the residual stream hold a
patch's place as sines and cosines of both coordinates. There, a step in any direction is a rotation, and each
head's queries and keys start as the rotation of one step. The first forward pass thus resembles that of a
convolutional network; nothing is fixed, and training may change all of it (the idea of starting attention as
a convolution: d'Ascoli et al., 2021, "ConViT"; here it is done by weights alone).
"""

import math
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from transformers import CLIPModel

_LOWEST, _HIGHEST = math.pi / 16, 0.75 * math.pi  # radians a patch
_SHARPNESS = 1.0
_QUIET = 0.1  # how much of their size random weights keep where places are
_CROSS = ((0, 1), (0, -1), (1, 0), (-1, 0))
_DIAGONAL = ((1, 1), (-1, -1), (1, -1), (-1, 1))
_FAR = ((2, 0), (-2, 0), (0, 2), (0, -2))


def init_neighbor_attention(model: CLIPModel) -> None:
    """Sets positions, attention and the scale of patch weights of a new model, in place."""
    tower: Any = model.vision_model
    width, head_width = tower.config.hidden_size, tower.config.hidden_size // tower.config.num_attention_heads
    n_frequencies = min(head_width, width // 4) // 4
    frequencies = torch.linspace(_LOWEST, _HIGHEST, n_frequencies)
    with torch.no_grad():
        _init_positions(tower.embeddings, frequencies)
        for number, block in enumerate(tower.encoder.layers):
            _attend(block.self_attn, number, head_width, frequencies)
            _init_values(block, 4 * n_frequencies if 2 * number < tower.config.num_hidden_layers else 0)


def _init_positions(embeddings: Any, frequencies: Float[Tensor, " frequency"]) -> None:
    n_places = 4 * len(frequencies)
    side = math.isqrt(embeddings.num_patches)
    down, right = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
    patches, positions = embeddings.patch_embedding.weight, embeddings.position_embedding.weight
    patches.normal_(0, patches[0].numel() ** -0.5)
    patches[:n_places] = 0
    positions.mul_(_QUIET)
    positions[0, :n_places] = 0
    positions[1:, :n_places] = torch.cat([_waves(at, frequencies) for at in (right, down)], dim=1)


def _waves(at: Tensor, frequencies: Float[Tensor, " frequency"]) -> Float[Tensor, "patch twice_frequency"]:
    angles = at.flatten()[:, None] * frequencies
    return torch.cat([angles.cos(), angles.sin()], dim=1)


def _attend(attention: Any, number: int, head_width: int, frequencies: Float[Tensor, " frequency"]) -> None:
    """Rotates each head's query to the place one step away; keys hold the places unchanged."""
    n_places = 4 * len(frequencies)
    steps = _steps(number)
    for head in range(attention.num_heads):
        rows = slice(head * head_width, head * head_width + n_places)
        across, down = (_rotation(by, frequencies) for by in steps[head % len(steps)])
        turn = torch.zeros(n_places, n_places)
        turn[: len(across), : len(across)], turn[len(across) :, len(across) :] = across, down
        attention.q_proj.weight[rows, :n_places] += _SHARPNESS * turn
        attention.k_proj.weight[rows, :n_places] += _SHARPNESS * torch.eye(n_places)


def _steps(block: int) -> list[tuple[int, int]]:
    """Steps (right, down), one per head: the cross and two corners, or all corners, (0, 0) and a leap."""
    if block % 2 == 0:
        return [*_CROSS, *(_DIAGONAL[:2] if block % 4 == 0 else _DIAGONAL[2:])]
    return [*_DIAGONAL, (0, 0), _FAR[block // 2 % len(_FAR)]]


def _rotation(by: int, frequencies: Float[Tensor, " frequency"]) -> Float[Tensor, "wave wave"]:
    """The matrix that maps the waves of a coordinate to those of the coordinate plus `by`."""
    cos, sin = (torch.diag(part) for part in ((by * frequencies).cos(), (by * frequencies).sin()))
    return torch.cat([torch.cat([cos, -sin], dim=1), torch.cat([sin, cos], dim=1)])


def _init_values(block: Any, n_places: int) -> None:
    """Keeps a block from writing much into the first `n_places` dimensions."""
    attention, width = block.self_attn, block.self_attn.embed_dim
    attention.v_proj.weight.normal_(0, width**-0.5)
    attention.out_proj.weight.normal_(0, width**-0.5 / 2)
    attention.v_proj.weight[:, :n_places] *= _QUIET
    attention.out_proj.weight[:n_places] *= _QUIET
    block.mlp.fc2.weight[:n_places] *= _QUIET
