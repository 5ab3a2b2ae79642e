"""The first weights, from a few pictures: what chance alone gives takes hundreds of steps to get to where this begins."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from training.student import Student

RIDGE = 0.1  # of the mean energy of what a head reads
SLIGHT = 0.01  # the same where many more positions than inputs are seen
LEAST = 0.05  # of the mean size of a layer's channels: rarer ones are not made larger than this allows
WHITE = 1e-2  # of the mean energy of 3x3 patches: fainter frequencies are not raised further


@torch.no_grad()
def settle(student: Student, image: Tensor, teacher: Sequence[Tensor], layers: Collection[str]) -> None:
    """Scale every convolution's responses to these pictures to mean 0 and deviation 1 by channel, and solve for the heads.

    image: Bx3xHxW, 0..1; teacher: its five taps; layers: "conv1_1", ..., those to change.
    No channel is then silent everywhere, which it could never leave (Mishkin and Matas 2016). The first convolution starts on whitened
    patches, where an edge counts as much as a colour. Heads start as the ridge regression of the teacher's taps on what they read.
    """
    targets = {f"head{block}_1": T.float() for block, T in enumerate(teacher, start=1)}

    def adjust(name: str, layer: nn.Conv2d, inputs: tuple[Tensor], y: Tensor) -> Tensor:
        if name in targets:
            _solve(layer, inputs[0], targets[name])
        else:
            _scale(layer, y)
        return functional.conv2d(inputs[0], layer.weight, layer.bias)

    hooks = []
    for name, layer in student.named_children():
        if name not in layers or not isinstance(layer, nn.Conv2d):
            continue
        if name == "conv1_1":
            _whiten(layer, image)
        hooks.append(layer.register_forward_hook(lambda layer, x, y, name=name: adjust(name, layer, x, y)))
    student(image)
    for hook in hooks:
        hook.remove()


def _scale(layer: nn.Conv2d, y: Tensor) -> None:
    """Give responses y, BxCxHxW, mean 0 and deviation 1 by channel."""
    factor = 1 / y.std((0, 2, 3)).clamp_min(1e-6)
    layer.weight.mul_(factor[:, None, None, None])
    if layer.bias is not None:
        layer.bias.sub_(y.mean((0, 2, 3))).mul_(factor)


def _whiten(layer: nn.Conv2d, image: Tensor) -> None:
    """Turn random 3x3 filters into as many random directions of whitened patches of these pictures."""
    patches = functional.unfold(image, 3).transpose(1, 2).flatten(0, 1).double()  # Mx27
    values, vectors = torch.linalg.eigh(torch.cov(patches.T))
    white = vectors / (values + WHITE * values.mean()).sqrt()  # 27 patterns of equal response
    layer.weight.copy_((layer.weight.flatten(1).double() @ white.T).reshape(layer.weight.shape))


def _solve(layer: nn.Conv2d, x: Tensor, T: Tensor, strength: float = RIDGE) -> None:
    """Set a layer to the ridge regression of T, BxKxhxw, on x, BxCxhxw: what each of its responses is made of."""
    rows, wanted = (a.permute(0, 2, 3, 1).flatten(0, 2).double() for a in (x, T))
    centre, mean = rows.mean(0), wanted.mean(0)
    products = (rows - centre).T @ (rows - centre)
    ridge = strength * products.diagonal().mean() * torch.eye(len(products), dtype=products.dtype, device=products.device)
    weight = torch.linalg.solve(products + ridge, (rows - centre).T @ (wanted - mean)).T
    layer.weight.copy_(weight.reshape(layer.weight.shape))
    if layer.bias is not None:
        layer.bias.copy_(mean - weight @ centre)


@torch.no_grad()
def refit(student: Student, other: Student, image: Tensor, layers: Sequence[str]) -> None:
    """Solve for convolutions that read another one than in the network started from, so that they respond as they do there.

    image: Bx3xHxW, 0..1; layers: "conv5_1", ..., in order. With a convolution left out, the next is the ridge regression of its old
    responses on the patches that it sees now.
    """
    for name in layers:
        layer, (x, _), (_, wanted) = student.get_submodule(name), _around(student, name, image), _around(other, name, image)
        if isinstance(layer, nn.Conv2d):
            patches = functional.unfold(x, 3).reshape(len(x), -1, *wanted.shape[2:])  # Bx9Cxhxw
            known = nn.Conv2d(patches.shape[1], min(wanted.shape[1], layer.out_channels), 1).to(x.device)
            _solve(known, patches, wanted[:, : known.out_channels], SLIGHT)
            for part, values in known.named_parameters():
                target = layer.get_parameter(part)[: known.out_channels]
                target.copy_(values.reshape(target.shape))


@torch.no_grad()
def revive(student: Student, image: Tensor, seed: int = 0) -> int:
    """Begin channels anew that are silent everywhere in these pictures, which no gradient reaches. Returns how many there were.

    image: Bx3xHxW, 0..1. They get He et al.'s weights at mean 0 and deviation 1, and count for nothing yet where they are read, so the
    network says the same. Of the first lite, trained at a rate of 2e-3, 523 of 1,344 channels had gone silent.
    """
    generator, found = torch.Generator().manual_seed(seed), 0
    for name in student.shape.convolutions():
        layer = student.get_submodule(name)
        x, y = _around(student, name, image)
        silent = (y.amax((0, 2, 3)) <= 0).nonzero()[:, 0]
        if len(silent):
            fresh = _fresh(x.shape[1], len(silent), generator).to(x.device)
            _scale(fresh, fresh(x))
            for part, values in fresh.named_parameters():
                layer.get_parameter(part)[silent] = values
            for reader, inputs in student.shape.readers(name):
                student.get_submodule(reader).get_parameter("weight")[:, inputs][:, silent] = 0
        found += len(silent)
    return found


@torch.no_grad()
def balance(student: Student, image: Tensor) -> None:
    """Give every channel's features the root mean square 1 in these pictures, and what reads them the inverse: it says the same.

    image: Bx3xHxW, 0..1. AdamW moves every weight by as much. Where inputs are large and responses small a step moves a
    response by more than its range, and channels fall silent.
    A student with residuals is left alone: what is added there must be of one scale.
    """
    if student.shape.residual:
        return
    for name in student.shape.convolutions():
        layer, (_, y) = student.get_submodule(name), _around(student, name, image)
        size = functional.relu(y).square().mean((0, 2, 3)).sqrt()
        size = size.clamp_min(LEAST * size.mean())
        for part in ("weight", "bias"):
            tensor = layer.get_parameter(part)
            tensor.div_(size.reshape(-1, *[1] * (tensor.dim() - 1)))
        for reader, inputs in student.shape.readers(name):
            student.get_submodule(reader).get_parameter("weight")[:, inputs].mul_(size[:, None, None])


def _fresh(inputs: int, outputs: int, generator: torch.Generator) -> nn.Conv2d:
    layer = nn.Conv2d(inputs, outputs, 3)
    nn.init.kaiming_normal_(layer.weight, nonlinearity="relu", generator=generator)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer


def _around(student: Student, name: str, image: Tensor) -> tuple[Tensor, Tensor]:
    """What a convolution is given of these pictures, padded, and what it makes of that."""
    seen: list[tuple[Tensor, Tensor]] = []
    hook = student.get_submodule(name).register_forward_hook(lambda layer, x, y: seen.append((x[0], y)))
    student.trunk(image)
    hook.remove()
    return seen[0]
