"""Initial weights computed from a few images. Random weights would take hundreds of steps to reach the same losses."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from training.student import Student, he_initialize, subsampled
from training.teachers import Response

RIDGE = 0.01  # relative to the mean energy of the inputs
WEAK_RIDGE = 1e-4  # the same where the targets are nearly a function of the inputs
SHIFT = 3.0  # standard deviations added to principal components, so that a ReLU clips one value in a thousand
IDLE = 0.02  # channels with less than this `importance` are reset
RARE = 2e-3  # and so are channels active at a smaller fraction of positions
NULL = 1e-6  # components with less energy, relative to the first, are noise
POSITIONS = 40_000  # samples of a regression, at most
LEAST = 0.05  # smallest divisor in `equalize`, relative to the mean over channels
WHITEN = 1e-2  # regularizes whitening, relative to the mean energy of 3x3 patches
TINY = 1e-12  # avoids division by zero

Responses = Mapping[str, Response]


@torch.no_grad()
def normalize(student: Student, image: Tensor, teacher: Sequence[Tensor], layers: Collection[str]) -> None:
    """Scale convolutions to responses of mean 0 and deviation 1 per channel, and fit heads by ridge regression to the teacher's taps.

    image: Bx3xHxW, 0..1. teacher: the five taps. layers: names of the layers to change.
    No channel is then inactive everywhere, where it would get no gradient (Mishkin and Matas 2016). The filters of conv1_1 are
    whitened, which gives edges and colors equal weight.
    """
    targets = {f"head{block}_1": T.float() for block, T in enumerate(teacher, start=1)}

    def adjust(name: str, layer: nn.Conv2d, inputs: tuple[Tensor], y: Tensor) -> Tensor:
        if name in targets:
            _fit(layer, _rows(inputs[0]), _rows(targets[name]))
        else:
            _standardize(layer, y)
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


def _standardize(layer: nn.Conv2d, y: Tensor) -> None:
    """Scale a layer with responses y, BxCxHxW, to mean 0 and deviation 1 per channel."""
    factor = 1 / y.std((0, 2, 3)).clamp_min(1e-6)
    layer.weight.mul_(factor[:, None, None, None])
    if layer.bias is not None:
        layer.bias.sub_(y.mean((0, 2, 3))).mul_(factor)


def _whiten(layer: nn.Conv2d, image: Tensor) -> None:
    """Transform random 3x3 filters to whitened patches of these images."""
    patches = functional.unfold(image, 3).transpose(1, 2).flatten(0, 1).double()  # Mx27
    values, vectors = torch.linalg.eigh(torch.cov(patches.T))
    white = vectors / (values + WHITEN * values.mean()).sqrt()  # 27 patterns of equal response
    layer.weight.copy_((layer.weight.flatten(1).double() @ white.T).reshape(layer.weight.shape))


def _rows(x: Tensor) -> Tensor:
    """BxCxhxw features as MxC rows in float64."""
    return x.permute(0, 2, 3, 1).flatten(0, 2).double()


def _ridge(rows: Tensor, wanted: Tensor, strength: float) -> Tensor:
    """Ridge regression of MxK targets on MxC rows, both of mean 0. Returns CxK. strength: relative to the mean column energy."""
    products = rows.T @ rows
    ridge = strength * products.diagonal().mean() * torch.eye(len(products), dtype=products.dtype, device=products.device)
    found: Tensor = torch.linalg.solve(products + ridge, rows.T @ wanted)
    return found


@torch.no_grad()
def initialize(
    student: Student,
    other: Student | None,
    image: Tensor,
    teacher: Sequence[Tensor],
    responses: Responses,
    layers: Collection[str],
) -> None:
    """Initialize layers, from the first to the last, by regression on what they read. Their readers are initialized again too.

    other: the network that the student started from. image: Bx3xHxW, 0..1. teacher: the five taps. responses: the teacher's responses
    by name. layers: those that are new, or that read other layers than in `other`.

    - A convolution is fitted to the teacher's filters at its place. If it is the only input of its block's head and has fewer
      channels than the teacher, it is fitted to the principal components of the tap instead.
    - Convolutions of `other` up to the block's head keep their responses.
    - Layers without a counterpart in the teacher, and all layers of residual networks, start from normalized random weights.
    """
    left, old = {*layers}, {*other.shape.convolutions()} if other else set[str]()
    known = {} if student.shape.residual else responses
    for name in student.shape.convolutions():
        if name not in left:
            continue
        left.remove(name)
        head = f"head{name[len('conv')]}_1"
        read, wanted = [*student.shape.sources(head)], known.get(student.shape.teacher_layer(name))
        if wanted and read == [name]:
            _fit_teacher_and_head(student, name, head, image, wanted, responses[head].values)
            left.discard(head)
        elif wanted and not (name in old and name in read):
            _fit_teacher(student.get_submodule(name), _inputs_and_outputs(student, name, image)[0], wanted)
        elif other and name in old:
            _fit_previous(student, other, image, name)
            continue
        else:
            normalize(student, image, teacher, [name])
        left |= {*student.shape.followers(name)}
    if left:
        normalize(student, image, teacher, left)


def _fit_teacher_and_head(student: Student, name: str, head: str, image: Tensor, wanted: Response, tap: Tensor) -> None:
    """Fit a convolution, and the head that reads only it, to the teacher. tap: before its ReLU, BxKxhxw."""
    layer = student.get_submodule(name)
    if len(wanted.norms) > layer.get_parameter("bias").numel():
        _fit_components(student, name, image, tap)
    else:
        _fit_teacher(layer, _inputs_and_outputs(student, name, image)[0], wanted)
    features, responses = _samples(functional.relu(_inputs_and_outputs(student, name, image)[1]), tap, 1)
    _fit(student.get_submodule(head), features, responses)


def _fit_teacher(layer: nn.Module, x: Tensor, wanted: Response) -> None:
    """Fit a convolution to the most informative of the teacher's filters by ridge regression.

    x: its padded input, BxCx(h+2)x(w+2). Filters beyond the teacher's number are unchanged.
    """
    patches, responses = _samples(x, wanted.values, 3)
    chosen = most_informative(torch.cov((responses.clamp_min(0) * wanted.norms).T), layer.get_parameter("bias").numel())
    _fit(layer, patches, responses[:, chosen])


def most_informative(covariance: Tensor, count: int) -> list[int]:
    """Select variables that leave the least variance in the others: the pivots of a Cholesky decomposition. covariance: KxK."""
    left, chosen = covariance.clone(), list[int]()
    for _ in range(min(count, len(left))):
        spread = left.diagonal().clone()
        spread[chosen] = -1
        at = int(spread.argmax())
        left -= torch.outer(left[:, at], left[at]) / left[at, at].clamp_min(TINY)
        chosen.append(at)
    return chosen


def _fit_components(student: Student, name: str, image: Tensor, wanted: Tensor) -> None:
    """Fit a convolution to the principal components of a tap before its ReLU, BxKxhxw, shifted so that a ReLU clips little."""
    layer, x = student.get_submodule(name), _inputs_and_outputs(student, name, image)[0]
    fresh = nn.Conv2d(x.shape[1], layer.get_parameter("bias").numel(), 3).to(x.device)
    _fit_reduced_rank(fresh, x, wanted)
    _standardize(fresh, fresh(x))
    fresh.get_parameter("bias").add_(SHIFT)
    layer.load_state_dict(fresh.state_dict())


def _fit(layer: nn.Module, rows: Tensor, wanted: Tensor) -> None:
    """Set a layer's first K filters to the ridge regression of MxK targets on MxC inputs."""
    weight, bias = layer.get_parameter("weight"), layer.get_parameter("bias")
    centre, mean, count = rows.mean(0), wanted.mean(0), wanted.shape[1]
    found = _ridge(rows - centre, wanted - mean, WEAK_RIDGE).T
    weight[:count] = found.reshape(count, *weight.shape[1:]).to(weight.dtype)
    bias[:count] = (mean - found @ centre).to(bias.dtype)


def _fit_previous(student: Student, other: Student, image: Tensor, name: str) -> None:
    """Fit a convolution to its responses in another network by ridge regression on what it reads now."""
    x, wanted = _inputs_and_outputs(student, name, image)[0], _inputs_and_outputs(other, name, image)[1]
    layer = student.get_submodule(name)
    patches, responses = _samples(x, wanted[:, : layer.get_parameter("bias").numel()], 3)
    _fit(layer, patches, responses)


@torch.no_grad()
def reset_idle(
    student: Student, image: Tensor, teacher: Sequence[Tensor], seed: int = 0, layers: Collection[str] | None = None
) -> dict[str, int]:
    """Initialize channels again that are rarely active or have little effect. Returns their number by layer.

    image: Bx3xHxW, 0..1. teacher: the five taps. layers: those to check, None for all. If the block's head reads such a channel, it is
    fitted to the head's error, otherwise it gets random weights. The layers that read it are fitted too: a head to its error, a
    convolution to its previous responses. Residual students are not changed.
    Without this, channels stay inactive: 523 of 1,344 in lite 1, trained at rate 2e-3, and a fifth of conv3_3 in lite 5.
    """
    generator, found = torch.Generator().manual_seed(seed), dict[str, int]()
    for name in () if student.shape.residual else student.shape.convolutions():
        if layers is not None and name not in layers:
            continue
        x, y = _inputs_and_outputs(student, name, image)
        idle = ((importance(student, name, y) < IDLE) | ((y > 0).float().mean((0, 2, 3)) < RARE)).nonzero()[:, 0]
        if len(idle):
            he_initialize(fresh := nn.Conv2d(x.shape[1], len(idle), 3), generator)
            fresh.to(x.device)
            _replace_channels(student, name, idle, fresh, x, image, teacher)
            found[name] = len(idle)
    return found


def _replace_channels(
    student: Student, name: str, idle: Tensor, fresh: nn.Conv2d, x: Tensor, image: Tensor, teacher: Sequence[Tensor]
) -> None:
    """Replace idle channels by fresh filters, fitted to the error of the block's head if it reads them, and fit their readers.

    x: the padded input of the convolution.
    """
    readers, block = dict(student.shape.readers(name)), int(name[len("conv")])
    head_inputs = readers.pop(f"head{block}_1", None)
    before = {reader: _inputs_and_outputs(student, reader, image)[1] for reader in readers}
    for reader, inputs in student.shape.readers(name):
        student.get_submodule(reader).get_parameter("weight")[:, inputs][:, idle] = 0
    error = _head_error(student, block, image, teacher[block - 1].float()) if head_inputs else None
    if error is not None:
        _fit_reduced_rank(fresh, x, error)
    _standardize(fresh, fresh(x))
    for part, values in fresh.named_parameters():
        student.get_submodule(name).get_parameter(part)[idle] = values
    if head_inputs and error is not None:
        _connect(student.get_submodule(f"head{block}_1"), head_inputs, idle, functional.relu(fresh(x)), error)
    for reader, inputs in readers.items():
        seen, now = _inputs_and_outputs(student, reader, image)
        _connect(student.get_submodule(reader), inputs, idle, seen[:, inputs][:, idle], before[reader] - now)


def importance(student: Student, name: str, y: Tensor) -> Tensor:
    """The effect of each channel of a convolution on the layers that read it, relative to the median channel.

    y: its responses, BxCxHxW. The effect is the RMS of the rectified response times the norm of the weights that read it.
    """
    readers = [
        student.get_submodule(reader).get_parameter("weight")[:, inputs] for reader, inputs in student.shape.readers(name)
    ]
    norms = torch.stack([weight.square().sum((0, 2, 3)) for weight in readers]).sum(0)
    effect = functional.relu(y).square().mean((0, 2, 3)) * norms
    shares: Tensor = (effect / effect.median().clamp_min(1e-24)).sqrt()
    return shares


@torch.no_grad()
def sort_channels(student: Student, image: Tensor) -> None:
    """Sort the channels of every convolution by importance, because a narrower network copies the first ones.

    image: Bx3xHxW, 0..1. The taps do not change. Residual students are not sorted.
    """
    if student.shape.residual:
        return
    for name in student.shape.convolutions():
        order = importance(student, name, _inputs_and_outputs(student, name, image)[1]).argsort(descending=True)
        for part in student.get_submodule(name).parameters():
            part.copy_(part[order])
        for reader, inputs in student.shape.readers(name):
            weight = student.get_submodule(reader).get_parameter("weight")[:, inputs]
            weight.copy_(weight[:, order])


def _head_error(student: Student, block: int, image: Tensor, T: Tensor) -> Tensor:
    """The correction to a head's responses, BxKxhxw, that would make its tap equal the teacher's T."""
    features = student.trunk(image)[block - 1]
    response: Tensor = student.get_submodule(f"head{block}_1")(torch.cat(features, 1))
    return torch.where(T > 0, T, response.clamp_max(0)) - response


def _fit_reduced_rank(layer: nn.Conv2d, x: Tensor, error: Tensor) -> None:
    """Fit filters to the targets `error`, BxKxhxw, by reduced-rank regression on 3x3 patches (Izenman 1975).

    x: the padded input, BxCx(h+2)x(w+2). Filters beyond the rank of the regression are unchanged.
    """
    patches, wanted = _samples(x, error, 3)
    patches -= patches.mean(0)
    weight = _ridge(patches, wanted - wanted.mean(0), RIDGE)  # 9CxK
    energy, directions = torch.linalg.eigh((patches @ weight).T @ (patches @ weight))  # ascending
    count = min(int((energy > NULL * energy[-1]).sum()), len(layer.weight))
    main = directions.flip(1)[:, :count]
    layer.weight[:count] = (weight @ main).T.reshape(count, *layer.weight.shape[1:]).to(layer.weight.dtype)


def _connect(layer: nn.Module, inputs: slice, channels: Tensor, features: Tensor, error: Tensor) -> None:
    """Fit a layer's weights for these input channels, 0 so far, to the error of its responses."""
    weight, bias = layer.get_parameter("weight"), layer.get_parameter("bias")
    rows, wanted = _samples(features, error, weight.shape[-1])
    centre, mean = rows.mean(0), wanted.mean(0)
    found = _ridge(rows - centre, wanted - mean, RIDGE).T
    weight[:, inputs][:, channels] = found.reshape(len(weight), len(channels), *weight.shape[2:]).to(weight.dtype)
    bias.add_(mean - found @ centre)


def _samples(x: Tensor, y: Tensor, side: int) -> tuple[Tensor, Tensor]:
    """Sample positions: side x side patches of x, Mx(C side^2), and the values of y, BxKxhxw, as MxK."""
    stride = math.ceil(math.sqrt(y[:, 0].numel() / POSITIONS))
    rows = functional.unfold(x, side, stride=stride).transpose(1, 2).flatten(0, 1).double()
    return rows, subsampled(y, stride, (0, 0)).permute(0, 2, 3, 1).flatten(0, 2).double()


@torch.no_grad()
def equalize(student: Student, image: Tensor) -> None:
    """Scale every channel's features to RMS 1 and the weights that read them by the inverse. The taps do not change.

    image: Bx3xHxW, 0..1. AdamW moves all weights by the same amount; with large inputs and small responses, one step would move a
    response by more than its range and make channels inactive. Residual students are not changed.
    """
    if student.shape.residual:
        return
    for name in student.shape.convolutions():
        layer, (_, y) = student.get_submodule(name), _inputs_and_outputs(student, name, image)
        size = functional.relu(y).square().mean((0, 2, 3)).sqrt()
        size = size.clamp_min(LEAST * size.mean())
        for part in ("weight", "bias"):
            tensor = layer.get_parameter(part)
            tensor.div_(size.reshape(-1, *[1] * (tensor.dim() - 1)))
        for reader, inputs in student.shape.readers(name):
            student.get_submodule(reader).get_parameter("weight")[:, inputs].mul_(size[:, None, None])


def _inputs_and_outputs(student: Student, name: str, image: Tensor) -> tuple[Tensor, Tensor]:
    """The padded input of a convolution for these images, and its response."""
    seen: list[tuple[Tensor, Tensor]] = []
    hook = student.get_submodule(name).register_forward_hook(lambda layer, x, y: seen.append((x[0], y)))
    student.trunk(image)
    hook.remove()
    return seen[0]
