"""The published algorithm, slowly: numpy in float64, written from the papers and not from impasto, to compare impasto with.

[1] Gatys, Ecker, Bethge: A Neural Algorithm of Artistic Style. arXiv:1508.06576, 2015.
[2] Gatys, Ecker, Bethge: Image Style Transfer Using Convolutional Neural Networks. CVPR 2016. Equations are numbered as there.
[3] Simonyan, Zisserman: Very Deep Convolutional Networks for Large-Scale Image Recognition. arXiv:1409.1556, 2014.

Pictures are 3xHxW, RGB, 0..1; features CxHxW; everything is float64. Weights are a dict `conv1_1.weight` (out, in, 3, 3),
`conv1_1.bias` (out,), ... and `mean` (3,), as numpy arrays. Names: F and P are the features of the new picture and of the
photograph, G and A the Gram matrices of the new picture and of the painting, N the channels, M the positions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Weights = Mapping[str, NDArray[np.float32]]

# [3], table 1: how many convolutions precede each of the five poolings
DEPTHS = {"vgg16": (2, 2, 3, 3, 3), "vgg19": (2, 2, 4, 4, 4)}


# ------------------------------------------------------------------------------------------------- the network, forwards


def convolve(x: Array, weight: NDArray[np.float32], bias: NDArray[np.float32], padding: str) -> Array:
    """3x3 cross-correlation, as deep learning calls a convolution; the size is kept."""
    height, width = x.shape[1:]
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1)), mode="edge" if padding == "replicate" else "constant")
    out = np.zeros((len(weight), height, width)) + bias.astype(np.float64)[:, None, None]
    for i in range(3):
        for j in range(3):
            out += np.tensordot(weight[:, :, i, j].astype(np.float64), padded[:, i : i + height, j : j + width], axes=1)
    return out


def relu(x: Array) -> Array:
    return np.where(x > 0, x, 0.0)


def quarters(x: Array) -> list[Array]:
    """The four pixels of every 2x2 window; an odd last row or column belongs to none."""
    even = x[:, : x.shape[1] // 2 * 2, : x.shape[2] // 2 * 2]
    return [even[:, i::2, j::2] for i in range(2) for j in range(2)]


def pool(x: Array, pooling: str) -> Array:
    """2x2, stride 2."""
    if pooling == "average":
        return sum(quarters(x), start=np.zeros(())) / 4
    return np.asarray(np.max(quarters(x), axis=0))


def layers(network: str) -> list[str]:
    """conv1_1, relu1_1, conv1_2, relu1_2, pool1, conv2_1, ..., pool5."""
    names = []
    for block, depth in enumerate(DEPTHS[network], start=1):
        for i in range(1, depth + 1):
            names += [f"conv{block}_{i}", f"relu{block}_{i}"]
        names.append(f"pool{block}")
    return names


def vgg(
    network: str, weights: Weights, picture: Array, deepest: str, pooling: str = "average", padding: str = "zero"
) -> dict[str, Array]:
    """Every layer's output up to `deepest`. The network sees bytes less its mean."""
    x = 255 * picture.astype(np.float64) - weights["mean"].astype(np.float64)[:, None, None]
    features = {}
    for name in layers(network):
        if name.startswith("conv"):
            x = convolve(x, weights[f"{name}.weight"], weights[f"{name}.bias"], padding)
        else:
            x = relu(x) if name.startswith("relu") else pool(x, pooling)
        features[name] = x
        if name == deepest:
            break
    return features


def lite(weights: Weights, picture: Array, pooling: str = "max", padding: str = "replicate") -> dict[str, Array]:
    """Every tap of `lite`, from its model card: a trunk of 3x3 convolutions, 1x1 heads on its blocks, the first on pixels."""
    x, features = picture.astype(np.float64), {}
    for block, (depth, at) in enumerate(((2, 0), (3, 2), (4, 1), (4, 1), (1, 1)), start=1):
        if block > 1:
            x = features[f"trunkpool{block - 1}"] = pool(x, pooling)
        else:
            features["conv1_1"] = convolve(x, weights["head1_1.weight"], weights["head1_1.bias"], padding)
            features["relu1_1"] = relu(features["conv1_1"])
        seen = []
        for i in range(1, depth + 1):
            x = relu(convolve(x, weights[f"conv{block}_{i}.weight"], weights[f"conv{block}_{i}.bias"], padding))
            features[f"trunk{block}_{i}"] = x
            seen.append(x)
            if i == at:
                matrix = weights[f"head{block}_1.weight"][:, :, 0, 0].astype(np.float64)
                bias = weights[f"head{block}_1.bias"].astype(np.float64)
                features[f"conv{block}_1"] = np.tensordot(matrix, np.concatenate(seen), axes=1) + bias[:, None, None]
                features[f"relu{block}_1"] = relu(features[f"conv{block}_1"])
    return features


# ------------------------------------------------------------------------------------------------------------- the losses


def rows(F: Array) -> Array:
    """Features as the papers write them: an NxM matrix, a row for each filter."""
    return F.reshape(len(F), -1)


def content_loss(F: Array, P: Array) -> float:
    """Equation 1."""
    return float(0.5 * np.sum((F - P) ** 2))


def content_gradient(F: Array, P: Array) -> Array:
    """Equation 2: dL/dF for rectified F. F < 0 means that the response was cut off: nothing flows there."""
    return np.where(F > 0, F - P, 0.0)


def gram(F: Array) -> Array:
    """Equation 3, G_ij = sum_k F_ik F_jk, entry by entry."""
    matrix = rows(F)
    N, M = matrix.shape
    G = np.zeros((N, N))
    for i in range(N):
        for k in range(M):
            G[i] += matrix[i, k] * matrix[:, k]
    return G


def style_layer_loss(F: Array, A: Array) -> float:
    """Equation 4, E_l."""
    N, M = rows(F).shape
    return float(np.sum((fast_gram(F) - A) ** 2) / (4 * N**2 * M**2))


def style_layer_gradient(F: Array, A: Array) -> Array:
    """Equation 6: dE_l/dF for rectified F."""
    N, M = rows(F).shape
    gradient = (rows(F).T @ (fast_gram(F) - A)).T / (N**2 * M**2)
    return np.where(F > 0, gradient.reshape(F.shape), 0.0)


def fast_gram(F: Array) -> Array:
    """`gram` as one product, for wide layers."""
    return rows(F) @ rows(F).T


def style_loss(layer_losses: Sequence[float]) -> float:
    """Equation 5 with w_l = 1 / (number of layers)."""
    return sum(layer_losses) / len(layer_losses)


def total_loss(content: float, style: float, alpha: float, beta: float) -> float:
    """Equation 7."""
    return alpha * content + beta * style


def total_variation(picture: Array) -> float:
    """Squared differences between neighbours, pixel by pixel, per value. Not in the papers: Mahendran and Vedaldi, 2015."""
    channels, height, width = picture.shape
    total = 0.0
    for c in range(channels):
        for y in range(height):
            for x in range(width):
                if y + 1 < height:
                    total += float(picture[c, y + 1, x] - picture[c, y, x]) ** 2
                if x + 1 < width:
                    total += float(picture[c, y, x + 1] - picture[c, y, x]) ** 2
    return total / picture.size


# ------------------------------------------------------------------------------------- the whole algorithm, and its gradient


class Published:
    """L_total of a picture, as published: one content layer, w_l = 1 / (number of style layers), average pooling."""

    def __init__(
        self,
        weights: Weights,
        photo: Array,
        painting: Array,
        *,
        network: str = "vgg19",
        content_layer: str = "relu4_2",
        style_layers: Sequence[str] = ("relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu5_1"),
        alpha: float = 1.0,
        beta: float = 1e3,
        pooling: str = "average",
        padding: str = "zero",
    ) -> None:
        """photo, painting: 3xHxW, of one size: [2], section 2, always resizes the painting to the photograph."""
        assert photo.shape == painting.shape
        self.weights, self.network, self.pooling, self.padding = weights, network, pooling, padding
        self.content_layer, self.style_layers, self.alpha, self.beta = content_layer, style_layers, alpha, beta
        self.deepest = max([content_layer, *style_layers], key=layers(network).index)
        self.P = self.features(photo)[content_layer]
        seen = self.features(painting)
        self.A = {layer: fast_gram(seen[layer]) for layer in style_layers}

    def features(self, picture: Array) -> dict[str, Array]:
        return vgg(self.network, self.weights, picture, self.deepest, self.pooling, self.padding)

    def terms(self, picture: Array) -> dict[str, float]:
        """{"content": alpha * L_content, "style": beta * L_style}."""
        seen = self.features(picture)
        style = style_loss([style_layer_loss(seen[layer], A) for layer, A in self.A.items()])
        return {"content": self.alpha * content_loss(seen[self.content_layer], self.P), "style": self.beta * style}

    def total(self, picture: Array) -> float:
        return sum(self.terms(picture).values())

    def gradient(self, picture: Array) -> Array:
        """dL_total / dpicture by backpropagation, layer by layer ([2], figure 2)."""
        seen = self.features(picture)
        inner = {layer: np.zeros_like(F) for layer, F in seen.items()}  # what the loss says at each layer directly
        inner[self.content_layer] += self.alpha * content_gradient(seen[self.content_layer], self.P)
        for layer, A in self.A.items():
            inner[layer] += self.beta / len(self.A) * style_layer_gradient(seen[layer], A)
        names = list(seen)
        g = np.zeros_like(seen[names[-1]])
        for name, before in zip(reversed(names), [*reversed(names[:-1]), None], strict=True):
            g = g + inner[name]
            if name.startswith("conv"):
                g = convolve_back(g, self.weights[f"{name}.weight"], self.padding)
            elif name.startswith("relu"):
                g = np.where(seen[name] > 0, g, 0.0)
            else:
                assert before is not None
                g = pool_back(g, seen[before], self.pooling)
        return 255 * g


def convolve_back(g: Array, weight: NDArray[np.float32], padding: str) -> Array:
    """The transpose of `convolve`: what every output says is handed back to the inputs it was made of."""
    height, width = g.shape[1:]
    padded = np.zeros((weight.shape[1], height + 2, width + 2))
    for i in range(3):
        for j in range(3):
            padded[:, i : i + height, j : j + width] += np.tensordot(weight[:, :, i, j].T.astype(np.float64), g, axes=1)
    if padding == "replicate":  # the border pixels were seen in the padding too
        padded[:, 1] += padded[:, 0]
        padded[:, -2] += padded[:, -1]
        padded[:, :, 1] += padded[:, :, 0]
        padded[:, :, -2] += padded[:, :, -1]
    return padded[:, 1:-1, 1:-1]


def pool_back(g: Array, before: Array, pooling: str) -> Array:
    """Spread what a 2x2 window says over its pixels, or give it to the largest."""
    out = np.zeros_like(before)
    largest = np.argmax(quarters(before), axis=0)
    for number, quarter in enumerate(quarters(out)):  # views into out
        quarter += g / 4 if pooling == "average" else np.where(largest == number, g, 0.0)
    return out


# ---------------------------------------------------------------------------------------------------------- made-up weights


def random_vgg(network: str, deepest: str, channels: Sequence[int], seed: int = 0) -> dict[str, NDArray[np.float32]]:
    """He-scaled weights up to the convolution `deepest`, with biases that matter. The first layer brings bytes to about 1."""
    stream = np.random.default_rng(seed)
    weights = {"mean": np.array([123.68, 116.779, 103.939], dtype=np.float32)}
    inputs = 3
    for name in layers(network):
        if not name.startswith("conv"):
            continue
        outputs = channels[int(name[4]) - 1]
        deviation = np.sqrt(2 / (9 * inputs)) / (60 if name == "conv1_1" else 1)
        weights[f"{name}.weight"] = stream.standard_normal((outputs, inputs, 3, 3), dtype=np.float32) * np.float32(deviation)
        weights[f"{name}.bias"] = stream.standard_normal(outputs, dtype=np.float32) * np.float32(0.3)
        inputs = outputs
        if name == deepest:
            break
    return weights
