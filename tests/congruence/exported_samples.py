"""Makes `tests/data/exported/*.npz`: small models that PyTorch exported, and PyTorch's own answers.

    make models-reference

Run once when a family is added, never in tests. Each model has the architecture of its family in `transformers` or
`timm`, some ten thousand random weights and no training. The one rule: nothing of Sightline is used here. Weights are
multiples of 1/128, and images are blocks of 4 x 4 pixels, so that the files stay small.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers

OUTPUT = Path(__file__).resolve().parents[1] / "data" / "exported"
IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
HALF = ((0.5,) * 3, (0.5,) * 3)
CLIP = ((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711))
UNIT = ((0.0,) * 3, (1.0,) * 3)
IMAGES = 2
BLOCK = 4
CLASSES = 7


@dataclass
class Sample:
    """A network, what it is called, the outputs of its export and the options that adopt it."""

    name: str
    network: torch.nn.Module
    size: int
    levels: tuple[Sequence[float], Sequence[float]]
    outputs: Sequence[str]
    pick: Callable[[torch.nn.Module, torch.Tensor], tuple[torch.Tensor, ...]]
    answer: Callable[..., dict[str, torch.Tensor]]
    options: Sequence[str]
    dynamo: bool = False


class Picked(torch.nn.Module):
    """A network with plain tensors as outputs."""

    def __init__(self, sample: Sample) -> None:
        super().__init__()
        self.network, self._pick = sample.network, sample.pick

    def forward(self, pixel_values: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return self._pick(self.network, pixel_values)


def unit(vectors: torch.Tensor) -> dict[str, torch.Tensor]:
    return {"EMBEDDINGS": torch.nn.functional.normalize(vectors, dim=1)}


def detections(logits: torch.Tensor, boxes: torch.Tensor) -> dict[str, torch.Tensor]:
    scores, labels = logits.sigmoid().max(dim=2)
    centre, reach = boxes[..., :2], boxes[..., 2:] / 2
    corners = torch.cat([centre - reach, centre + reach], dim=2).clamp(0, 1)
    return {"BOXES": corners, "SCORES": scores, "LABELS": labels.to(torch.int32)}


def towers() -> Iterator[Sample]:
    """Image towers of the families that `docs/guide/models.md` names."""
    import timm
    from timm.models.fastvit import FastVit

    small = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}

    def pooler(net: Any, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return (net(pixel_values=x).pooler_output,)

    def both(net: Any, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        found = net(pixel_values=x)
        return found.last_hidden_state, found.pooler_output

    def siglip() -> Any:
        return transformers.SiglipVisionModel(transformers.SiglipVisionConfig(image_size=32, patch_size=8, **small))

    only = ("--output", "pooler_output")
    yield Sample("siglip2", siglip(), 32, HALF, ["pooler_output"], pooler, unit, only)
    yield Sample("siglip2-dynamo", siglip(), 32, HALF, ["pooler_output"], pooler, unit, only, dynamo=True)
    dino = transformers.Dinov2Config(
        image_size=28, patch_size=7, mlp_ratio=2, hidden_size=16, num_hidden_layers=2, num_attention_heads=2
    )
    tokens = ["last_hidden_state", "pooler_output"]
    for pool, reduce in (("cls", lambda all, _: unit(all[:, 0])), ("mean", lambda all, _: unit(all.mean(dim=1)))):
        options = ("--output", "last_hidden_state", "--pool", pool)
        yield Sample(f"dinov2-{pool}", transformers.Dinov2Model(dino), 28, IMAGENET, tokens, both, reduce, options)
    third = transformers.DINOv3ViTConfig(image_size=32, patch_size=8, num_register_tokens=2, **small)
    yield Sample("dinov3", transformers.DINOv3ViTModel(third), 32, IMAGENET, ["pooler_output"], pooler, unit, only)
    clip = transformers.CLIPVisionConfig(image_size=32, patch_size=8, projection_dim=12, **small)

    def projected(net: Any, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return (net(pixel_values=x).image_embeds,)

    tower = transformers.CLIPVisionModelWithProjection(clip)
    yield Sample("clip", tower, 32, CLIP, ["image_embeds"], projected, unit, ("--output", "image_embeds"))

    def plain(net: Any, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return (net(x),)

    fast = FastVit(
        layers=(1, 1, 1, 1),
        token_mixers=("repmixer", "repmixer", "repmixer", "attention"),
        embed_dims=(8, 8, 8, 32),
        mlp_ratios=(1, 1, 1, 1),
        downsamples=(False, True, True, True),
        num_classes=12,
        cls_ratio=1.0,
    )
    yield Sample("mobileclip2-fastvit", fast, 64, UNIT, ["output"], plain, unit, ())
    vit = timm.create_model(
        "vit_tiny_patch16_224",
        pretrained=False,
        num_classes=0,
        img_size=32,
        patch_size=8,
        embed_dim=16,
        depth=2,
        num_heads=2,
    )
    yield Sample("timm-vit", vit, 32, HALF, ["output"], plain, unit, ())

    def map_of(net: Any, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return (net.forward_features(x),)

    def averaged(found: torch.Tensor) -> dict[str, torch.Tensor]:
        return unit(found.mean(dim=(2, 3)))

    yield Sample("timm-map", fast, 64, IMAGENET, ["features"], map_of, averaged, ("--pool", "mean"))


def detectors() -> Iterator[Sample]:
    """Detectors whose head has a row for each query.

    Every token is a query: with random weights the choice of the best tokens is decided by rounding.
    """
    size = 64
    queries = sum((size // stride) ** 2 for stride in (8, 16, 32))
    shared: dict[str, Any] = {
        "encoder_hidden_dim": 8,
        "encoder_ffn_dim": 8,
        "encoder_layers": 1,
        "encoder_attention_heads": 2,
        "d_model": 8,
        "decoder_in_channels": [8, 8, 8],
        "decoder_ffn_dim": 8,
        "decoder_layers": 2,
        "decoder_attention_heads": 2,
        "num_queries": queries,
        "num_labels": CLASSES,
        "num_feature_levels": 3,
        "anchor_image_size": None,
        "num_denoising": 0,
    }
    resnet = transformers.RTDetrResNetConfig(
        embedding_size=8,
        hidden_sizes=[8, 8, 8, 8],
        depths=[1, 1, 1, 1],
        layer_type="basic",
        out_features=["stage2", "stage3", "stage4"],
    )
    hgnet = transformers.HGNetV2Config(
        stem_channels=[3, 4, 8],
        stage_in_channels=[8, 8, 8, 8],
        stage_mid_channels=[4, 4, 4, 4],
        stage_out_channels=[8, 8, 8, 8],
        stage_num_blocks=[1, 1, 1, 1],
        stage_downsample=[False, True, True, True],
        stage_light_block=[False, False, True, True],
        stage_kernel_size=[3, 3, 3, 3],
        stage_numb_of_layers=[1, 1, 1, 1],
        hidden_sizes=[8, 8, 8, 8],
        embedding_size=8,
        out_features=["stage2", "stage3", "stage4"],
    )
    inner = {"encoder_in_channels": [8, 8, 8]}
    first = transformers.RTDetrConfig(backbone_config=resnet, decoder_n_points=2, **inner, **shared)
    second = transformers.RTDetrV2Config(backbone_config=resnet, decoder_n_points=2, **inner, **shared)
    fine = transformers.DFineConfig(backbone_config=hgnet, decoder_n_points=[2, 2, 2], **inner, **shared)
    options = ("--logits", "logits", "--boxes", "pred_boxes")

    def pick(net: Any, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        found = net(pixel_values=x)
        return found.logits, found.pred_boxes

    for name, network in (
        ("rt-detr", transformers.RTDetrForObjectDetection(first)),
        ("rt-detr-v2", transformers.RTDetrV2ForObjectDetection(second)),
        ("d-fine", transformers.DFineForObjectDetection(fine)),
    ):
        yield Sample(name, network, size, UNIT, ["logits", "pred_boxes"], pick, detections, options)


def define_operators() -> torch.library.Library:
    """Defines two operators that torchvision, which timm imports, asks for while it is imported.

    Its packages for CUDA cannot load them next to PyTorch for CPUs. They last as long as the result.
    """
    library = torch.library.Library("torchvision", "FRAGMENT")
    for operator in ("nms", "qnms"):
        if not hasattr(torch.ops.torchvision, operator):
            library.define(f"{operator}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    return library


def randomize(network: torch.nn.Module, seed: int) -> None:
    """Gives all parameters and statistics random multiples of 1/128."""
    random = np.random.default_rng(seed)

    def step(values: Any) -> torch.Tensor:
        return torch.tensor((np.round(np.asarray(values) * 128) / 128).tolist(), dtype=torch.float32)

    with torch.no_grad():
        for name, tensor in [*network.named_parameters(), *network.named_buffers()]:
            shape = tuple(tensor.shape)
            if not tensor.is_floating_point():
                continue
            if name.endswith("running_var"):
                values = 1 + np.abs(random.normal(0, 0.2, shape))
            elif len(shape) > 1 and name in dict(network.named_parameters()):
                values = random.normal(0, 1 / np.sqrt(np.prod(shape[1:])), shape)
            elif name.endswith(("weight", "lambda1", "gamma", "scale")):
                values = 1 + random.normal(0, 0.1, shape)
            elif name.endswith(("bias", "running_mean", "class_embedding")):
                values = random.normal(0, 0.1, shape)
            else:
                continue
            tensor.copy_(step(values).reshape(shape))


def export(sample: Sample) -> bytes:
    """The exported file."""
    module, file = Picked(sample).eval(), io.BytesIO()
    example = (torch.rand(IMAGES, 3, sample.size, sample.size),)
    names: dict[str, Any] = {"input_names": ["pixel_values"], "output_names": list(sample.outputs)}
    if sample.dynamo:
        program = torch.onnx.export(
            module, example, dynamo=True, dynamic_shapes={"pixel_values": {0: torch.export.Dim("batch")}}, **names
        )
        assert program is not None
        model = program.model_proto
        for part in (model.graph, *model.graph.node, *model.graph.value_info, *model.graph.input, *model.graph.output):
            # They hold paths of this machine.
            del part.metadata_props[:]
        return bytes(model.SerializeToString(deterministic=True))
    axes = {name: {0: "batch"} for name in ("pixel_values", *sample.outputs)}
    torch.onnx.export(module, example, file, dynamo=False, opset_version=17, dynamic_axes=axes, **names)
    return file.getvalue()


def reference(sample: Sample, images: np.ndarray) -> dict[str, Any]:
    """PyTorch's answers for uint8 [B, H, W, 3]."""
    mean, std = (torch.tensor(values).reshape(3, 1, 1) for values in sample.levels)
    pixels = torch.tensor(images.tolist(), dtype=torch.float32).permute(0, 3, 1, 2)
    with torch.no_grad():
        found = sample.answer(*Picked(sample).eval()((pixels / 255 - mean) / std))
    return {
        key: np.array(value.tolist(), dtype=str(value.dtype).removeprefix("torch.")) for key, value in found.items()
    }


def samples() -> Iterator[tuple[Sample, np.ndarray]]:
    """All samples with their random weights, and uint8 images [B, H, W, 3] for each."""
    for seed, sample in enumerate([*towers(), *detectors()]):
        torch.manual_seed(seed)
        randomize(sample.network, seed)
        blocks = np.random.default_rng(seed).integers(0, 256, (IMAGES, *[sample.size // BLOCK] * 2, 3), np.uint8)
        yield sample, blocks.repeat(BLOCK, axis=1).repeat(BLOCK, axis=2)


def main() -> None:
    """Writes a file for each sample."""
    operators = define_operators()
    OUTPUT.mkdir(exist_ok=True)
    for sample, images in samples():
        role = "detector" if "pred_boxes" in sample.outputs else "embedder"
        mean, std = (",".join(map(str, values)) for values in sample.levels)
        options = ["--role", role, "--mean", mean, "--std", std, *sample.options]
        path = OUTPUT / f"{sample.name}.npz"
        model = np.frombuffer(export(sample), np.uint8)
        arrays: dict[str, Any] = {"model": model, "options": np.array(options), "images": images}
        np.savez_compressed(path, **arrays, **reference(sample, images))
        print(f"{path.name}: {path.stat().st_size / 1000:.0f} kB")
    del operators


if __name__ == "__main__":
    main()
