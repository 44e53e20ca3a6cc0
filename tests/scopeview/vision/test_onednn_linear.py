"""Packed layers say what bfloat16 says, and are counted like others."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from scopeview.vision import clip as clip_module
from scopeview.vision.clip import Clip
from scopeview.vision.encoder import Encoder
from scopeview.vision.onednn_linear import PackedLinear, is_worth_packing
from tests.models import save_random_clip

CPU = torch.device("cpu")
packs = pytest.mark.skipif(
    not is_worth_packing(CPU, torch.bfloat16), reason="this processor does not multiply bfloat16 natively"
)


@pytest.fixture(scope="module", params=["gelu", "quick_gelu"])
def folder(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Path:
    """The one activation is oneDNN's to apply, the other is not."""
    path = save_random_clip(tmp_path_factory.mktemp("clip")) / "config.json"
    config = json.loads(path.read_text())
    config["vision_config"]["hidden_act"] = request.param
    path.write_text(json.dumps(config))
    return path.parent


@pytest.fixture
def plain(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Clip:
    """In bfloat16, as it runs where nothing is packed."""
    monkeypatch.setattr(clip_module, "is_worth_packing", lambda *_: False)
    return Clip.load(str(folder), dtype=torch.bfloat16)


def linear(d_in: int = 64, d_out: int = 96) -> nn.Linear:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return nn.Linear(d_in, d_out).bfloat16().requires_grad_(False)


def rows(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(1)).bfloat16()


@packs
@pytest.mark.parametrize("shape", [(1, 64), (5, 64), (2, 257, 64), (0, 64)])
def test_a_packed_layer_is_the_layer(shape: tuple[int, ...]) -> None:
    layer, x = linear(), rows(*shape)
    packed = PackedLinear(layer.weight, layer.bias)(x)
    assert packed.shape == layer(x).shape
    torch.testing.assert_close(packed, layer(x), rtol=0.01, atol=0.01)


@packs
@pytest.mark.parametrize(
    ("formula", "gelu"),
    [("none", functional.gelu), ("tanh", lambda x: functional.gelu(x, approximate="tanh"))],
)
def test_gelu_is_taken_before_the_rounding(formula: str, gelu: Callable[[Tensor], Tensor]) -> None:
    layer, x = linear(), rows(500, 64)
    exact = gelu(functional.linear(x.float(), layer.weight.float(), layer.bias.float()))
    fused = PackedLinear(layer.weight, layer.bias, formula)(x)  # type: ignore[arg-type]
    rounded = gelu(layer(x))
    assert (fused - exact).abs().mean() < (rounded - exact).abs().mean()


@packs
def test_a_tower_of_packed_layers_has_the_residuals_it_had(folder: Path, plain: Clip) -> None:
    exact = Clip.load(str(folder))
    pixels = torch.randint(0, 256, (2, 3, 128, 128), dtype=torch.uint8)

    def off(clip: Clip) -> list[float]:
        found, expected = (
            clip.residual_stream(pixels, [1, 3], None),
            exact.residual_stream(pixels, [1, 3], None),
        )
        return [float((found.residuals[at] - expected.residuals[at]).square().mean()) for at in (1, 3)]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(clip_module, "is_worth_packing", is_worth_packing)
        packed = Clip.load(str(folder), dtype=torch.bfloat16)
    n_packed = sum(isinstance(module, PackedLinear) for module in packed.model.modules())
    assert n_packed == 6 * packed.info.n_layers
    for with_packing, without in zip(off(packed), off(plain), strict=True):
        assert 0 < with_packing < 1.2 * without


@packs
def test_what_is_packed_is_counted(folder: Path, plain: Clip) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(clip_module, "is_worth_packing", is_worth_packing)
        packed = Clip.load(str(folder), dtype=torch.bfloat16)
    sizes = [Encoder(clip, {}, ["cls"]).facts()["n_bytes"] for clip in (packed, plain)]
    assert sizes[0] == sizes[1] > 0


def test_float32_is_never_packed(folder: Path) -> None:
    assert not is_worth_packing(CPU, torch.float32)
    assert not any(isinstance(module, PackedLinear) for module in Clip.load(str(folder)).model.modules())


def test_without_a_unit_for_bfloat16_nothing_is_packed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("scopeview.vision.onednn_linear.bfloat16_unit", lambda: None)
    assert not is_worth_packing(CPU, torch.bfloat16)
