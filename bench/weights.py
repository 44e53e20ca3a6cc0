"""Random weights of full size and exactly the published format: all that a benchmark needs of real ones.

ViT-L/14 is as `laion/CLIP-ViT-L-14-laion2B-s32B-b82K` configures it; the CLIP-Scope checkpoints have 65,536
features.
"""

import json
from collections.abc import Sequence
from pathlib import Path

import torch
from transformers import CLIPConfig, CLIPModel, CLIPTextConfig, CLIPVisionConfig

D_IN, N_FEATURES, K = 1024, 65_536, 32
TOKENS_SEEN = 1_200_013_184  # the name of a checkpoint says how many tokens it was trained on

_PREPROCESSING = {
    "image_processor_type": "CLIPImageProcessor",
    "do_resize": True,
    "size": {"shortest_edge": 224},
    "resample": 3,
    "do_center_crop": True,
    "crop_size": {"height": 224, "width": 224},
    "do_rescale": True,
    "rescale_factor": 1 / 255,
    "do_normalize": True,
    "image_mean": [0.5, 0.5, 0.5],
    "image_std": [0.5, 0.5, 0.5],
    "do_convert_rgb": True,
}


def write_vit_l_14(folder: Path, seed: int = 0) -> Path:
    """Writes a `CLIPModel` folder of 24 blocks, width 1024, 224 px, patch 14, with a small text encoder."""
    vision = CLIPVisionConfig(
        hidden_size=D_IN,
        intermediate_size=4 * D_IN,
        num_hidden_layers=24,
        num_attention_heads=16,
        image_size=224,
        patch_size=14,
        hidden_act="gelu",
        projection_dim=768,
    )
    text = CLIPTextConfig(
        hidden_size=64, intermediate_size=64, num_hidden_layers=1, num_attention_heads=2, projection_dim=768
    )
    torch.manual_seed(seed)
    model = CLIPModel(
        CLIPConfig(vision_config=vision.to_dict(), text_config=text.to_dict(), projection_dim=768)
    )
    model.save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text(json.dumps(_PREPROCESSING))
    return folder


def write_clip_scope(folder: Path, layers: Sequence[int], seed: int = 0) -> Path:
    """Writes `{layer}_resid/1200013184.pt` for each layer, 537 MB each, initialised as by the authors."""
    for layer in layers:
        random = torch.Generator().manual_seed(seed + layer)
        enc = torch.randn(D_IN, N_FEATURES, generator=random) / (2 * D_IN) ** 0.5
        weights = {"pre_b": 0.01 * torch.randn(D_IN, generator=random), "enc": enc, "dec": enc.mT.clone()}
        path = folder / f"{layer}_resid" / f"{TOKENS_SEEN}.pt"
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.save({"k": K, "n_features": N_FEATURES, "d_in": D_IN, "model_state_dict": weights}, path)
    return folder
