"""Released networks, as plain functions of weights by their released names; knows nothing of au-dist.

Written from the published descriptions (Swin: Liu et al., ICCV 2021; ViT: Dosovitskiy et al., ICLR 2021; MAE: He et
al., CVPR 2022; ME-GraphAU: Luo et al., IJCAI 2022; AUNCE; FMAE: Ning et al., 2024).
"""

import torch
import torch.nn.functional as F

Weights = dict[str, torch.Tensor]

#: Depths, channels of the first stage, heads of the first stage.
SIZES = {"swin_t": ((2, 2, 6, 2), 96, 3), "swin_b": ((2, 2, 18, 2), 128, 4)}
WINDOW = 7


def random_weights(size: str, num_aus: int, shared: int, linears: str = "head.class_linears", seed: int = 0) -> Weights:
    """Weights of a trained network are neither ones nor zeros anywhere: nor are these."""
    generator = torch.Generator().manual_seed(seed)

    def drawn(*shape: int, scale: float | None = None, middle: float = 0.0) -> torch.Tensor:
        scale = shape[-1] ** -0.5 if scale is None else scale
        return middle + scale * torch.randn(*shape, generator=generator)

    def pair(name: str, *shape: int) -> Weights:
        return {f"{name}.weight": drawn(*shape), f"{name}.bias": drawn(shape[0], scale=0.2)}

    def norm(name: str, width: int) -> Weights:
        return {f"{name}.weight": drawn(width, scale=0.2, middle=1), f"{name}.bias": drawn(width, scale=0.2)}

    def batch_norm(name: str, width: int) -> Weights:
        seen = {
            f"{name}.running_mean": drawn(width, scale=0.2),
            f"{name}.running_var": drawn(width, scale=0.2).abs() + 0.5,
            f"{name}.num_batches_tracked": torch.tensor(7),
        }
        # A normalisation may turn a channel over.
        signs = torch.where(torch.rand(width, generator=generator) < 0.3, -1.0, 1.0)
        return {**norm(name, width), f"{name}.weight": signs * drawn(width, scale=0.2, middle=1), **seen}

    depths, width, heads = SIZES[size]
    weights = {**pair("backbone.patch_embed.proj", width, 48), **norm("backbone.patch_embed.norm", width)}
    weights["backbone.patch_embed.proj.weight"] = weights["backbone.patch_embed.proj.weight"].reshape(-1, 3, 4, 4)
    for stage, depth in enumerate(depths):
        wide, place = width << stage, f"backbone.layers.{stage}"
        for block in range(depth):
            name = f"{place}.blocks.{block}"
            weights |= norm(f"{name}.norm1", wide) | norm(f"{name}.norm2", wide)
            weights |= pair(f"{name}.attn.qkv", 3 * wide, wide) | pair(f"{name}.attn.proj", wide, wide)
            weights |= pair(f"{name}.mlp.fc1", 4 * wide, wide) | pair(f"{name}.mlp.fc2", wide, 4 * wide)
            table = f"{name}.attn.relative_position_bias_table"
            weights[table] = drawn((2 * WINDOW - 1) ** 2, heads << stage, scale=0.5)
            weights[f"{name}.attn.relative_position_index"] = between()
            if block % 2 and stage < 3:
                weights[f"{name}.attn_mask"] = torch.zeros(1)
        if stage < 3:
            weights |= norm(f"{place}.downsample.norm", 4 * wide)
            weights[f"{place}.downsample.reduction.weight"] = drawn(2 * wide, 4 * wide)
    weights |= norm("backbone.norm", width << 3)
    blocks = {"global_linear": (shared, width << 3), **{f"{linears}.{au}": (shared, shared) for au in range(num_aus)}}
    for name, shape in blocks.items():
        weights |= pair(f"{name}.fc", *shape) | batch_norm(f"{name}.bn", shape[0])
    weights |= pair("head.gnn.U", shared, shared) | pair("head.gnn.V", shared, shared)
    return weights | batch_norm("head.gnn.bnv", num_aus)


def between() -> torch.Tensor:
    """The place in the table of what lies between two places of a window."""
    rows, columns = torch.meshgrid(torch.arange(WINDOW), torch.arange(WINDOW), indexing="ij")
    places = torch.stack([rows.flatten(), columns.flatten()])
    away = places[:, :, None] - places[:, None] + WINDOW - 1
    return away[0] * (2 * WINDOW - 1) + away[1]


def embeddings(weights: Weights, x: torch.Tensor, size: str, linears: str = "head.class_linears") -> torch.Tensor:
    """Nodes after the graph [B, A, D], of length one."""
    shared = linear_block(weights, "global_linear", swin(weights, x, size))
    count = len({name.split(".")[2] for name in weights if name.startswith(f"{linears}.")})
    node = torch.stack([linear_block(weights, f"{linears}.{au}", shared).mean(1) for au in range(count)], 1)
    alike = node @ node.transpose(1, 2)
    adjacency = (alike >= alike.sort(descending=True).values[:, :, 3:4]).float()
    degree = adjacency.sum(2) ** -0.5
    adjacency = torch.diag_embed(degree) @ adjacency @ torch.diag_embed(degree)
    heard = adjacency @ affine(weights, "head.gnn.V", node) + affine(weights, "head.gnn.U", node)
    return F.normalize(F.relu(node + batch_normed(weights, "head.gnn.bnv", heard, 1)), dim=2)


def swin(weights: Weights, x: torch.Tensor, size: str) -> torch.Tensor:
    """Tokens [B, S, C] of a Swin transformer."""
    depths, _, heads = SIZES[size]
    place = "backbone.patch_embed"
    x = F.conv2d(x, weights[f"{place}.proj.weight"], weights[f"{place}.proj.bias"], stride=4).permute(0, 2, 3, 1)
    x = layer_normed(weights, f"{place}.norm", x)
    for stage, depth in enumerate(depths):
        for block in range(depth):
            name = f"backbone.layers.{stage}.blocks.{block}"
            shift = WINDOW // 2 if block % 2 and x.shape[1] > WINDOW else 0
            x = x + attention(weights, name, layer_normed(weights, f"{name}.norm1", x), heads << stage, shift)
            inner = F.gelu(affine(weights, f"{name}.mlp.fc1", layer_normed(weights, f"{name}.norm2", x)))
            x = x + affine(weights, f"{name}.mlp.fc2", inner)
        if stage < 3:
            name = f"backbone.layers.{stage}.downsample"
            four = torch.cat([x[:, row::2, column::2] for column in (0, 1) for row in (0, 1)], 3)
            x = layer_normed(weights, f"{name}.norm", four) @ weights[f"{name}.reduction.weight"].T
    return layer_normed(weights, "backbone.norm", x).flatten(1, 2)


def attention(weights: Weights, name: str, x: torch.Tensor, heads: int, shift: int) -> torch.Tensor:
    """Self-attention within windows, which lie `shift` further down and to the right."""
    batch, side, _, channels = x.shape
    x = windows(x.roll((-shift, -shift), (1, 2)))
    query, key, value = affine(weights, f"{name}.attn.qkv", x).unflatten(-1, (3, heads, channels // heads)).unbind(-3)
    score = torch.einsum("bwqhc,bwkhc->bwhqk", query, key) * (channels // heads) ** -0.5
    table = weights[f"{name}.attn.relative_position_bias_table"]
    score = score + table[between().flatten()].reshape(WINDOW**2, WINDOW**2, heads).permute(2, 0, 1)
    if shift:  # what the roll brought together from opposite sides does not see each other
        part = torch.zeros(1, side, side, 1)
        part[:, -WINDOW:-shift] += 1
        part[:, -shift:] += 2
        part[:, :, -WINDOW:-shift] += 3
        part[:, :, -shift:] += 6
        part = windows(part)[:, :, :, 0]
        score = score.masked_fill((part[:, :, :, None] != part[:, :, None])[:, :, None], -100.0)
    x = torch.einsum("bwhqk,bwkhc->bwqhc", score.softmax(-1), value).flatten(-2)
    x = affine(weights, f"{name}.attn.proj", x)
    count = side // WINDOW
    x = x.reshape(batch, count, count, WINDOW, WINDOW, channels).transpose(2, 3).reshape(batch, side, side, channels)
    return x.roll((shift, shift), (1, 2))


def windows(x: torch.Tensor) -> torch.Tensor:
    """[B, S, S, C] as windows [B, W, 49, C]."""
    batch, side, _, channels = x.shape
    count = side // WINDOW
    x = x.reshape(batch, count, WINDOW, count, WINDOW, channels).transpose(2, 3)
    return x.reshape(batch, count * count, WINDOW * WINDOW, channels)


def random_vit(channels: int, depth: int, classes: int | None, seed: int = 0) -> Weights:
    """A vision transformer as MAE names its weights: fine-tuned to some classes, or with its decoder."""
    generator = torch.Generator().manual_seed(seed)

    def drawn(*shape: int, scale: float, middle: float = 0.0) -> torch.Tensor:
        return middle + scale * torch.randn(*shape, generator=generator)

    def pair(name: str, after: int, before: int) -> Weights:
        return {f"{name}.weight": drawn(after, before, scale=before**-0.5), f"{name}.bias": drawn(after, scale=0.2)}

    def norm(name: str) -> Weights:
        weight, bias = drawn(channels, scale=0.2, middle=1), drawn(channels, scale=0.2)
        return {f"{name}.weight": weight, f"{name}.bias": bias}

    weights = {"cls_token": drawn(1, 1, channels, scale=0.5), "pos_embed": drawn(1, 197, channels, scale=0.5)}
    weights |= pair("patch_embed.proj", channels, 768)
    weights["patch_embed.proj.weight"] = weights["patch_embed.proj.weight"].reshape(channels, 3, 16, 16)
    for block in range(depth):
        name = f"blocks.{block}"
        weights |= norm(f"{name}.norm1") | norm(f"{name}.norm2")
        weights |= pair(f"{name}.attn.qkv", 3 * channels, channels) | pair(f"{name}.attn.proj", channels, channels)
        weights |= pair(f"{name}.mlp.fc1", 4 * channels, channels) | pair(f"{name}.mlp.fc2", channels, 4 * channels)
    if classes is None:
        return weights | norm("norm") | pair("decoder_embed", 512, channels) | {"mask_token": torch.zeros(1, 1, 512)}
    return weights | norm("fc_norm") | pair("head", classes, channels)


def vit_logits(weights: Weights, x: torch.Tensor, heads: int) -> torch.Tensor:
    """Logits [B, A] of a vision transformer whose classifier reads the normalised mean over places."""
    patches = F.unfold(x, 16, stride=16).transpose(1, 2)
    projection = weights["patch_embed.proj.weight"].flatten(1)
    token = patches @ projection.T + weights["patch_embed.proj.bias"]
    token = torch.cat([weights["cls_token"].expand(len(x), -1, -1), token], 1) + weights["pos_embed"]
    blocks = 1 + max(int(name.split(".")[1]) for name in weights if name.startswith("blocks."))
    for block in range(blocks):
        name = f"blocks.{block}"
        seen = affine(weights, f"{name}.attn.qkv", layer_normed(weights, f"{name}.norm1", token, 1e-6))
        query, key, value = seen.unflatten(-1, (3, heads, -1)).unbind(2)
        score = torch.einsum("bqhc,bkhc->bhqk", query, key) * query.shape[-1] ** -0.5
        heard = torch.einsum("bhqk,bkhc->bqhc", score.softmax(-1), value).flatten(-2)
        token = token + affine(weights, f"{name}.attn.proj", heard)
        inner = F.gelu(affine(weights, f"{name}.mlp.fc1", layer_normed(weights, f"{name}.norm2", token, 1e-6)))
        token = token + affine(weights, f"{name}.mlp.fc2", inner)
    return affine(weights, "head", layer_normed(weights, "fc_norm", token[:, 1:].mean(1), 1e-6))


def affine(weights: Weights, name: str, x: torch.Tensor) -> torch.Tensor:
    return x @ weights[f"{name}.weight"].T + weights[f"{name}.bias"]


def layer_normed(weights: Weights, name: str, x: torch.Tensor, least: float = 1e-5) -> torch.Tensor:
    spread = x.var(-1, unbiased=False, keepdim=True) + least
    return (x - x.mean(-1, keepdim=True)) / spread.sqrt() * weights[f"{name}.weight"] + weights[f"{name}.bias"]


def batch_normed(weights: Weights, name: str, x: torch.Tensor, dim: int) -> torch.Tensor:
    x = x.transpose(dim, -1)
    spread = (weights[f"{name}.running_var"] + 1e-5).sqrt()
    x = (x - weights[f"{name}.running_mean"]) / spread * weights[f"{name}.weight"] + weights[f"{name}.bias"]
    return x.transpose(dim, -1)


def linear_block(weights: Weights, name: str, x: torch.Tensor) -> torch.Tensor:
    return F.relu(batch_normed(weights, f"{name}.bn", affine(weights, f"{name}.fc", x), -1))
