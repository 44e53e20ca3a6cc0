"""Towers of all families beside transformers' own forward pass."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from transformers import AutoModel, ViTModel
from transformers.models.bit.image_processing_pil_bit import BitImageProcessorPil
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil
from transformers.models.deit.image_processing_pil_deit import DeiTImageProcessorPil
from transformers.models.vit.image_processing_pil_vit import ViTImageProcessorPil

from scopeview.errors import ModelError, NoTextError
from scopeview.vision.clip import Clip, read_info
from scopeview.vision.clip_info import FAMILIES
from scopeview.vision.preprocess import DEFAULTS, Preprocessing
from scopeview.vision.text import TextEncoder
from scopeview.vision.towers import TOWERS
from tests.models import IMAGE_PX, OTHER_FAMILIES, save_random_vit

N_TOKENS = {"dinov2": 65, "dinov2_with_registers": 65}
N_REGISTERS = {"deit": 1, "dinov2_with_registers": 4, "dinov3_vit": 4}
PROCESSORS: dict[str, Any] = {
    "vit": ViTImageProcessorPil,
    "deit": DeiTImageProcessorPil,
    "dinov2": BitImageProcessorPil,
}


@pytest.fixture(scope="module", params=OTHER_FAMILIES)
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_random_vit(tmp_path_factory.mktemp("towers") / request.param, request.param)


@pytest.fixture(scope="module")
def clip(folder: Path) -> Clip:
    return Clip.load(str(folder))


@pytest.fixture
def pixels() -> torch.Tensor:
    random = torch.Generator().manual_seed(3)
    return torch.randint(0, 256, (3, 3, IMAGE_PX, IMAGE_PX), dtype=torch.uint8, generator=random)


def test_taps_are_the_hidden_states_of_transformers_without_registers(
    folder: Path, clip: Clip, pixels: torch.Tensor
) -> None:
    n_registers = N_REGISTERS.get(folder.name, 0)
    own = ViTModel if folder.name == "vit_mae" else AutoModel  # ViTMAEModel masks patches at random
    reference = own.from_pretrained(folder).eval()
    with torch.no_grad():
        expected = reference(clip.normalize(pixels), output_hidden_states=True)
    found = clip.forward(pixels, [2, 0, 3])
    assert clip.info.n_registers == n_registers
    assert list(found.residuals) == [2, 0, 3]
    for layer, residual in found.residuals.items():
        rows = expected.hidden_states[layer + 1]
        assert residual.shape == (3, N_TOKENS.get(folder.name, 50), 64)
        assert torch.equal(residual, torch.cat([rows[:, :1], rows[:, 1 + n_registers :]], dim=1))
    assert torch.equal(found.embedding, expected.last_hidden_state[:, 0])


def test_some_tokens_are_those_of_all(clip: Clip, pixels: torch.Tensor) -> None:
    whole = clip.forward(pixels, [1, 3])
    some, every = clip.residual_stream(pixels, [1, 3], [0, 9]), clip.residual_stream(pixels, [1, 3], None)
    for layer, residual in whole.residuals.items():
        torch.testing.assert_close(some.residuals[layer], residual[:, [0, 9]], rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(every.residuals[layer], residual, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(some.embedding, whole.embedding, rtol=1e-4, atol=1e-4)
    assert bool(some.finite.all())


def test_a_run_resumed_at_a_tap_ends_at_the_same_embedding(clip: Clip, pixels: torch.Tensor) -> None:
    found = clip.forward(pixels, [0, 2])
    for layer, residual in found.residuals.items():
        assert torch.equal(clip.resume(residual, layer, found.registers.get(layer)), found.embedding)


@pytest.mark.parametrize("family", PROCESSORS)
def test_crops_are_those_of_transformers(tmp_path: Path, family: str) -> None:
    config = json.loads((save_random_vit(tmp_path, family) / "preprocessor_config.json").read_text())
    random = np.random.default_rng(0)
    image = Image.fromarray(random.integers(0, 256, (150, 230, 3), dtype=np.uint8))
    processor = PROCESSORS[family](**config, do_rescale=False, do_normalize=False)
    expected = np.asarray(processor(image)["pixel_values"][0])
    assert np.array_equal(Preprocessing.from_config(config).crop(image), expected)


@pytest.mark.parametrize(
    ("name", "processor"),
    [("CLIP", CLIPImageProcessorPil), *zip(("ViT", "DeiT", "Bit"), PROCESSORS.values(), strict=True)],
)
def test_what_a_config_leaves_out_is_what_transformers_assumes(name: str, processor: Any) -> None:
    own = processor()
    for key, value in DEFAULTS[name].items():
        found = getattr(own, key)
        if key in ("size", "crop_size"):
            found = found and {side: px for side, px in dict(found).items() if px}
        wanted = tuple(value) if isinstance(value, list) else value
        assert (found or False) == wanted or (key == "crop_size" and not own.do_center_crop)


def test_each_family_whose_config_is_read_has_a_tower() -> None:
    assert set(TOWERS) == set(FAMILIES)
    assert set(OTHER_FAMILIES) == {kind for kind, family in FAMILIES.items() if family != "CLIP"}


def test_a_family_without_text_says_so(tmp_path: Path) -> None:
    with pytest.raises(NoTextError, match="DINOv3 models have no text encoder"):
        TextEncoder.load(save_random_vit(tmp_path, "dinov3_vit"))


def test_the_size_of_the_grid_is_that_of_the_preprocessing(tmp_path: Path) -> None:
    info = read_info(save_random_vit(tmp_path, "dinov2"))
    assert (info.family, info.image_px, info.grid, info.n_tokens) == ("DINOv2", IMAGE_PX, 8, 65)
    config = tmp_path / "preprocessor_config.json"
    config.write_text(json.dumps({"image_processor_type": "BitImageProcessor", "do_center_crop": False}))
    with pytest.raises(ModelError, match="gives images of any pixels"):
        read_info(tmp_path)


class Damage:
    """What a copy or a hand can do to weights; each takes the tensors and gives those to store."""

    @staticmethod
    def missing(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        return {name: tensor for name, tensor in tensors.items() if "norm2" not in name}

    @staticmethod
    def infinite(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        tensors["layernorm.weight"][3] = float("inf")
        return tensors

    @staticmethod
    def reshaped(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        return {**tensors, "layernorm.weight": torch.ones(5)}


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (Damage.missing, "8 weights are missing, among them "),
        (Damage.infinite, "layernorm.weight holds NaN or infinite values"),
        (Damage.reshaped, r"layernorm.weight has shape \(5,\), expected \(64,\) by config.json"),
    ],
)
def test_damaged_weights_are_refused_by_name(tmp_path: Path, damage: Any, message: str) -> None:
    folder = save_random_vit(tmp_path / "model", "dinov2")
    weights = folder / "model.safetensors"
    save_file(damage(load_file(weights)), weights, {"format": "pt"})
    with pytest.raises(ModelError, match=message):
        Clip.load(str(folder))


def test_a_file_cut_short_and_a_pickle_with_code_are_refused(tmp_path: Path) -> None:
    folder = save_random_vit(tmp_path / "model", "dinov2")
    weights = folder / "model.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[:-100])
    with pytest.raises(ModelError, match="its header promises"):
        Clip.load(str(folder))
    weights.unlink()
    torch.save({"model": shutil.rmtree}, folder / "pytorch_model.bin")
    with pytest.raises(ModelError, match="its weights cannot be read"):
        Clip.load(str(folder))
