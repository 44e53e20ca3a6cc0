"""Residuals equal transformers' own hidden states exactly, and a folder that is wrong is refused."""

import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import CLIPImageProcessorPil, CLIPModel, CLIPVisionModelWithProjection

from scopeview.errors import InputError, ModelError
from scopeview.slots import EMBED
from scopeview.vision.clip import Clip, all_finite, check_layers, check_tokens, normalization_table, read_info
from scopeview.vision.preprocess import Preprocessing
from scopeview.vision.text import text_problem
from tests.models import preprocessor_config, save_random_clip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_random_clip(tmp_path_factory.mktemp("clip"))


@pytest.fixture(scope="module")
def clip(folder: Path) -> Clip:
    return Clip.load(str(folder))


@pytest.fixture
def copy(folder: Path, tmp_path: Path) -> Path:
    """The same model in a folder that a test may damage."""
    for path in folder.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    return tmp_path


def images(n: int, size_px: int = 128) -> Tensor:
    return torch.randint(
        0, 256, (n, 3, size_px, size_px), dtype=torch.uint8, generator=torch.Generator().manual_seed(1)
    )


def change_config(folder: Path, change: Callable[[dict[str, Any]], None]) -> None:
    path = folder / "config.json"
    config = json.loads(path.read_text())
    change(config)
    path.write_text(json.dumps(config))


def change_weights(folder: Path, change: Callable[[dict[str, Tensor]], None]) -> None:
    tensors = load_file(folder / "model.safetensors")
    change(tensors)
    save_file(tensors, folder / "model.safetensors")


def refusal(folder: Path) -> str:
    with pytest.raises(ModelError) as caught:
        Clip.load(str(folder))
    return str(caught.value)


@pytest.mark.parametrize("layers", [[0], [3, 1], [0, 1, 2, 3], []])
def test_residuals_are_the_next_hidden_states_of_transformers_exactly(
    clip: Clip, folder: Path, layers: list[int]
) -> None:
    reference = CLIPModel.from_pretrained(folder)
    assert not reference.training
    pixels = images(3)
    with torch.inference_mode():
        expected = reference.vision_model(clip.normalize(pixels), output_hidden_states=True)
        embedding = reference.visual_projection(expected.pooler_output)
    taps = clip.forward(pixels, layers)
    assert list(taps.residuals) == layers
    for layer in layers:
        assert taps.residuals[layer].shape == (3, 257, 64)
        assert torch.equal(taps.residuals[layer], expected.hidden_states[layer + 1])
        assert not torch.equal(taps.residuals[layer], expected.hidden_states[layer])
    assert torch.equal(taps.embedding, embedding)


def test_every_image_of_a_batch_has_its_own_residuals(clip: Clip) -> None:
    pixels = images(2)
    both = clip.forward(pixels, [2])
    assert not torch.allclose(both.residuals[2][0], both.residuals[2][1], atol=0.1)
    for row in range(2):
        alone = clip.forward(pixels[row : row + 1], [2])
        torch.testing.assert_close(alone.residuals[2][0], both.residuals[2][row])
        torch.testing.assert_close(alone.embedding[0], both.embedding[row])


@pytest.mark.parametrize("layer", [0, 2, 3])
def test_a_residual_stream_taken_up_again_leads_to_the_same_embedding(clip: Clip, layer: int) -> None:
    taps = clip.forward(images(2), [layer])
    assert torch.equal(clip.resume(taps.residuals[layer], layer), taps.embedding)
    swapped = clip.resume(taps.residuals[layer].flip(0), layer)
    torch.testing.assert_close(swapped, taps.embedding.flip(0))


def test_a_bfloat16_residual_stream_loses_nothing_on_its_way_through_float32(folder: Path) -> None:
    rounded = Clip.load(str(folder), dtype=torch.bfloat16)
    taps = rounded.forward(images(2), [1])
    assert torch.equal(rounded.resume(taps.residuals[1], 1), taps.embedding)


def test_residuals_alone_are_those_of_the_whole_pass_and_no_later_block_is_run(folder: Path) -> None:
    clip = Clip.load(str(folder))
    expected = clip.forward(images(2), [2, 0]).residuals
    clip.model.vision_model.encoder.layers[3].forward = None
    found = clip.residuals(images(2), [2, 0])
    assert list(found) == [2, 0]
    assert all(torch.equal(found[layer], expected[layer]) for layer in found)


def test_layers_that_return_tuples_are_tapped_the_same(folder: Path) -> None:
    clip = Clip.load(str(folder))
    expected = clip.forward(images(2), [1, 3])
    for block in clip.model.vision_model.encoder.layers:
        block.register_forward_hook(lambda _block, _inputs, output: (output,))
    found = clip.forward(images(2), [1, 3])
    assert torch.equal(found.residuals[3], expected.residuals[3])
    assert torch.equal(found.embedding, expected.embedding)


def test_normalised_pixels_equal_transformers_bit_for_bit(tmp_path: Path) -> None:
    for extra in (
        {},
        {"rescale_factor": 0.00392156862745098, "image_mean": [0.5] * 3, "image_std": [0.5] * 3},
    ):
        config = preprocessor_config() | extra
        levels = np.arange(256, dtype=np.uint8).repeat(64).reshape(128, 128)
        image = Image.fromarray(np.stack([levels, levels[::-1], levels.T], axis=2))
        expected = CLIPImageProcessorPil(**config)(image, return_tensors="pt")["pixel_values"]
        folder = save_random_clip(tmp_path / str(len(extra)), n_layers=1)
        (folder / "preprocessor_config.json").write_text(json.dumps(config))
        clip = Clip.load(str(folder))
        found = clip.normalize(torch.from_numpy(clip.preprocessing.crop(image))[None])
        assert found.dtype == torch.float32
        assert torch.equal(found, expected)


def test_steps_that_a_config_leaves_out_are_left_out() -> None:
    plain = Preprocessing.from_config({"do_rescale": False, "do_normalize": False})
    assert torch.equal(normalization_table(plain), torch.arange(256).float().expand(3, -1))


def test_bfloat16_rounds_the_weights_but_gives_float32(folder: Path, clip: Clip) -> None:
    rounded = Clip.load(str(folder), dtype=torch.bfloat16)
    assert rounded.dtype == torch.bfloat16
    found, expected = rounded.forward(images(2), [3]), clip.forward(images(2), [3])
    assert found.residuals[3].dtype == found.embedding.dtype == torch.float32
    cosine = torch.nn.functional.cosine_similarity(found.residuals[3], expected.residuals[3], dim=-1)
    assert cosine.min() > 0.99


def test_the_config_alone_tells_the_sizes(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_bytes((folder / "config.json").read_bytes())
    info = read_info(tmp_path)
    assert (info.n_layers, info.width, info.projection_dim) == (4, 64, 32)
    assert (info.image_px, info.patch_px, info.grid, info.n_tokens) == (128, 8, 16, 257)
    assert (info.d_in(2), info.d_in(EMBED), info.revision) == (64, 32, None)


def test_what_a_config_leaves_out_has_clips_defaults(tmp_path: Path) -> None:
    vision = {"hidden_size": 1024, "num_hidden_layers": 24, "num_attention_heads": 16, "patch_size": 14}
    config = {"model_type": "clip", "projection_dim": 768, "vision_config": vision}
    (tmp_path / "config.json").write_text(json.dumps(config))
    info = read_info(tmp_path)
    assert (info.n_layers, info.width, info.projection_dim, info.image_px) == (24, 1024, 768, 224)
    assert (info.grid, info.n_tokens) == (16, 257)


def test_the_projection_is_as_wide_as_the_whole_model_says(copy: Path) -> None:
    def drop(config: dict[str, Any]) -> None:
        del config["vision_config"]["projection_dim"]

    change_config(copy, drop)
    assert Clip.load(str(copy)).forward(images(1), []).embedding.shape == (1, 32)


@pytest.mark.parametrize("layer", [-1, 4, 22])
def test_a_layer_that_does_not_exist_is_refused_naming_those_that_do(folder: Path, layer: int) -> None:
    info = read_info(folder)
    check_layers(info, [0, 3, EMBED])
    with pytest.raises(InputError, match=rf"layer {layer} .* blocks 0 to 3, and 'embed'"):
        check_layers(info, [0, layer])


def test_a_token_that_does_not_exist_is_refused_naming_those_that_do(folder: Path) -> None:
    info = read_info(folder)
    check_tokens(info, ["cls", "any", "1", "256"])
    with pytest.raises(InputError, match=r"token 257 .* 'cls', 1 to 256, and 'any'"):
        check_tokens(info, ["cls", "257"])


@pytest.mark.parametrize("device", ["gpu", "cuda:99", ""])
def test_a_device_that_is_not_there_is_refused(folder: Path, device: str) -> None:
    with pytest.raises(InputError, match="'cpu' always can"):
        Clip.load(str(folder), device=device)


def test_loading_prints_and_logs_nothing(
    folder: Path, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        Clip.load(str(folder)).forward(images(1), [0])
    assert capfd.readouterr() == ("", "")
    assert caplog.records == []


def test_a_folder_without_a_config_is_refused(tmp_path: Path) -> None:
    assert "config.json is missing" in refusal(tmp_path)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "config.json"),
        ("[1]", "config.json"),
        ('{"model_type": "siglip"}', "model_type is 'siglip'; expected one of 'clip', "),
        (
            '{"architecture": "vit_base", "pretrained_cfg": {}}',
            "a timm model (vit_base); expected a",
        ),
        ('{"_class_name": "UNet"}', "a diffusers model (UNet)"),
        ('{"model_type": "clip_vision_model", "architectures": ["CLIPVisionModel"]}', "has no projection"),
        ('{"model_type": "clip", "vision_config": {"hidden_size": "wide"}}', "hidden_size"),
        ('{"model_type": "clip", "vision_config": {"num_hidden_layers": 0}}', "num_hidden_layers is 0"),
        ('{"model_type": "clip", "vision_config": {"image_size": [224, 224]}}', "image_size is [224, 224]"),
        ('{"model_type": "clip", "vision_config": {"patch_size": 999}}', "patches of 999 px"),
        ('{"model_type": "clip", "vision_config": {"num_channels": 1}}', "expected 3 colours"),
        ('{"model_type": "clip", "vision_config": {"num_attention_heads": 7}}', "heads"),
        ('{"model_type": "clip", "vision_config": {"hidden_act": "no such"}}', "hidden_act"),
    ],
)
def test_a_wrong_config_is_refused_by_name(copy: Path, text: str, said: str) -> None:
    (copy / "config.json").write_text(text)
    message = refusal(copy)
    assert str(copy / "config.json") in message
    assert said in message


def test_preprocessing_that_does_not_fit_the_model_is_refused(copy: Path) -> None:
    (copy / "preprocessor_config.json").write_text(json.dumps(preprocessor_config(96)))
    assert "(96, 96) pixels (height, width), but config.json expects (128, 128)" in refusal(copy)


def test_missing_weights_are_refused_and_not_filled_with_random_ones(copy: Path) -> None:
    def drop(tensors: dict[str, Tensor]) -> None:
        del tensors["vision_model.encoder.layers.2.mlp.fc1.weight"]

    change_weights(copy, drop)
    message = refusal(copy)
    assert "1 weights are missing, among them vision_model.encoder.layers.2.mlp.fc1.weight" in message


def test_weights_that_do_not_fit_the_config_are_refused(copy: Path) -> None:
    change_config(copy, lambda config: config["vision_config"].update(intermediate_size=96))
    message = refusal(copy)
    assert "has shape (128" in message
    assert "expected (96" in message


def test_more_layers_in_the_file_than_in_the_config_are_refused(copy: Path) -> None:
    change_config(copy, lambda config: config["vision_config"].update(num_hidden_layers=3))
    assert "have no place in the model: vision_model.encoder.layers.3." in refusal(copy)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_refused(copy: Path, value: float) -> None:
    def spoil(tensors: dict[str, Tensor]) -> None:
        tensors["visual_projection.weight"][3, 5] = value

    change_weights(copy, spoil)
    assert "visual_projection.weight holds NaN or infinite values" in refusal(copy)


def test_a_vision_model_with_projection_is_the_vision_half_of_its_clip(
    folder: Path, clip: Clip, tmp_path: Path
) -> None:
    CLIPVisionModelWithProjection.from_pretrained(folder).save_pretrained(tmp_path)
    (tmp_path / "preprocessor_config.json").write_bytes((folder / "preprocessor_config.json").read_bytes())
    found = Clip.load(str(tmp_path))
    assert found.info.projection_dim == clip.info.projection_dim
    ours, whole = (each.forward(images(1), []).embedding for each in (found, clip))
    torch.testing.assert_close(ours, whole)
    assert text_problem(tmp_path) is not None


def test_the_folder_that_a_processor_saves_loads(folder: Path, clip: Clip, copy: Path) -> None:
    settings = json.loads((folder / "preprocessor_config.json").read_text())
    (copy / "preprocessor_config.json").unlink()
    (copy / "processor_config.json").write_text(json.dumps({"image_processor": settings}))
    assert Clip.load(str(copy)).preprocessing == clip.preprocessing


def test_prefixes_double_precision_and_a_byte_order_mark_are_read(copy: Path, clip: Clip) -> None:
    text = (copy / "config.json").read_text()
    (copy / "config.json").write_text(text, encoding="utf-8-sig")
    tensors = load_file(copy / "model.safetensors")
    save_file({f"module.{name}": t.double() for name, t in tensors.items()}, copy / "model.safetensors")
    found = Clip.load(str(copy)).forward(images(1), [1])
    assert torch.equal(found.residuals[1], clip.forward(images(1), [1]).residuals[1])


def test_a_folder_of_open_clip_is_named(tmp_path: Path) -> None:
    (tmp_path / "open_clip_config.json").write_text("{}")
    assert "a model of open_clip" in refusal(tmp_path)


def test_an_older_checkpoint_with_position_ids_loads(copy: Path, clip: Clip) -> None:
    def add(tensors: dict[str, Tensor]) -> None:
        tensors["vision_model.embeddings.position_ids"] = torch.arange(257)[None]

    change_weights(copy, add)
    found = Clip.load(str(copy)).forward(images(1), [3])
    assert torch.equal(found.residuals[3], clip.forward(images(1), [3]).residuals[3])


def test_half_precision_files_load_as_float32(copy: Path) -> None:
    def halve(tensors: dict[str, Tensor]) -> None:
        for name in tensors:
            tensors[name] = tensors[name].half()

    change_weights(copy, halve)
    clip = Clip.load(str(copy))
    assert clip.dtype == torch.float32
    assert clip.forward(images(1), [0]).embedding.isfinite().all()


@pytest.mark.parametrize("layers", [[0], [2, 0], [3], [1, 3], []])
@pytest.mark.parametrize("tokens", [[0], [5, 0, 9], None])
def test_residuals_at_some_tokens_are_those_of_the_whole_pass(
    clip: Clip, layers: list[int], tokens: list[int] | None
) -> None:
    pixels = images(2)
    found, expected = clip.residual_stream(pixels, layers, tokens), clip.forward(pixels, layers)
    assert list(found.residuals) == layers
    for layer in layers:
        whole = expected.residuals[layer]
        kept = whole if tokens is None else whole[:, tokens]
        torch.testing.assert_close(found.residuals[layer], kept, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(found.embedding, expected.embedding, rtol=1e-5, atol=1e-5)
    assert found.finite.tolist() == [True, True]


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_one_number_that_is_not_finite_is_found(value: float, dtype: torch.dtype) -> None:
    numbers = torch.full((3, 5, 7), -2.0, dtype=dtype)
    numbers[1, 4, 2] = value
    assert all_finite(numbers).tolist() == [True, False, True]
