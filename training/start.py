"""The first weights, from a few pictures: what chance alone gives takes hundreds of steps to get to where this begins."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from training.student import Student, thinned
from training.teachers import Response

SLIGHT = 0.01  # of the mean energy of what is read, where many more positions than inputs are seen
FAINT = 1e-4  # the same for heads, and for what is known to be made of the inputs, or nearly so
RAISED = 3.0  # deviations that the main directions of a tap are raised by: a ReLU then cuts one value in a thousand
IDLE = 0.02  # of what half of a layer's channels count for at least, see `counts`
RARE = 2e-3  # of all positions
NULL = 1e-6  # of the energy of the main direction: fainter ones are noise
POSITIONS = 40_000  # at most so many are looked at to aim new filters
LEAST = 0.05  # of the mean size of a layer's channels: rarer ones are not made larger than this allows
WHITE = 1e-2  # of the mean energy of 3x3 patches: fainter frequencies are not raised further
TINY = 1e-12  # instead of a division by zero

Responses = Mapping[str, Response]


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
            _fit(layer, _rows(inputs[0]), _rows(targets[name]))
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


def _rows(x: Tensor) -> Tensor:
    """BxCxhxw features as MxC values in float64, a row for each position."""
    return x.permute(0, 2, 3, 1).flatten(0, 2).double()


def _ridge(rows: Tensor, wanted: Tensor, strength: float) -> Tensor:
    """The ridge regression of MxK values on MxC, both of mean 0: CxK. strength: of the mean energy of the columns."""
    products = rows.T @ rows
    ridge = strength * products.diagonal().mean() * torch.eye(len(products), dtype=products.dtype, device=products.device)
    found: Tensor = torch.linalg.solve(products + ridge, rows.T @ wanted)
    return found


@torch.no_grad()
def begin(
    student: Student,
    other: Student | None,
    image: Tensor,
    teacher: Sequence[Tensor],
    responses: Responses,
    layers: Collection[str],
) -> None:
    """First weights, from the pixels on, of layers that the network started from, if any, has not or that read another one there.

    image: Bx3xHxW, 0..1; teacher: its five taps; responses: what the teacher's filters respond, by name; layers: "conv2_3", ...
    A convolution begins as the teacher's filters at its place. As the only one that its block's head reads it begins as the teacher's
    at the tap if there is room for all, else as what tells most about the tap. Those up to the head that the other network has respond
    as they did. By chance begins what the teacher has nothing for, or where a convolution's input is added to what it responds.
    """
    left, old = {*layers}, {*other.shape.convolutions()} if other else set[str]()
    known = {} if student.shape.residual else responses
    for name in student.shape.convolutions():
        if name not in left:
            continue
        left.remove(name)
        head = f"head{name[len('conv')]}_1"
        read, wanted = [*student.shape.sources(head)], known.get(student.shape.place(name))
        if wanted and read == [name]:
            _become(student, name, head, image, wanted, responses[head].values)
            left.discard(head)
        elif wanted and not (name in old and name in read):
            _follow(student.get_submodule(name), _around(student, name, image)[0], wanted)
        elif other and name in old:
            _refit(student, other, image, name)
            continue
        else:
            settle(student, image, teacher, [name])
        left |= {*student.shape.followers(name)}
    if left:
        settle(student, image, teacher, left)


def _become(student: Student, name: str, head: str, image: Tensor, wanted: Response, tap: Tensor) -> None:
    """Turn a convolution, and the head that reads it alone, into the teacher's. tap: as it is before its ReLU, BxKxhxw."""
    layer = student.get_submodule(name)
    if len(wanted.heard) > layer.get_parameter("bias").numel():
        _compress(student, name, image, tap)
    else:
        _follow(layer, _around(student, name, image)[0], wanted)
    features, responses = _seen(functional.relu(_around(student, name, image)[1]), tap, 1)
    _fit(student.get_submodule(head), features, responses)


def _follow(layer: nn.Module, x: Tensor, wanted: Response) -> None:
    """Turn a convolution into those of VGG-19's filters that together tell most, as the ridge regression on what it sees.

    x: BxCx(h+2)x(w+2). Filters that there are no more of stay as they are.
    """
    patches, responses = _seen(x, wanted.values, 3)
    chosen = most_telling(torch.cov((responses.clamp_min(0) * wanted.heard).T), layer.get_parameter("bias").numel())
    _fit(layer, patches, responses[:, chosen])


def most_telling(covariance: Tensor, count: int) -> list[int]:
    """Which values to know so that the others are least uncertain: the pivots of a Cholesky decomposition. covariance: KxK."""
    left, chosen = covariance.clone(), list[int]()
    for _ in range(min(count, len(left))):
        spread = left.diagonal().clone()
        spread[chosen] = -1
        at = int(spread.argmax())
        left -= torch.outer(left[:, at], left[at]) / left[at, at].clamp_min(TINY)
        chosen.append(at)
    return chosen


def _compress(student: Student, name: str, image: Tensor, wanted: Tensor) -> None:
    """Turn a convolution into the main directions of a tap before its ReLU, BxKxhxw, as it can tell them.

    They are raised so far that the ReLU behind hardly cuts anything.
    """
    layer, x = student.get_submodule(name), _around(student, name, image)[0]
    fresh = nn.Conv2d(x.shape[1], layer.get_parameter("bias").numel(), 3).to(x.device)
    _aim(fresh, x, wanted)
    _scale(fresh, fresh(x))
    fresh.get_parameter("bias").add_(RAISED)
    layer.load_state_dict(fresh.state_dict())


def _fit(layer: nn.Module, rows: Tensor, wanted: Tensor, strength: float = FAINT) -> None:
    """Set a layer's first K filters to the ridge regression (`_ridge`) of MxK values on the MxC that it reads."""
    weight, bias = layer.get_parameter("weight"), layer.get_parameter("bias")
    centre, mean, count = rows.mean(0), wanted.mean(0), wanted.shape[1]
    found = _ridge(rows - centre, wanted - mean, strength).T
    weight[:count] = found.reshape(count, *weight.shape[1:]).to(weight.dtype)
    bias[:count] = (mean - found @ centre).to(bias.dtype)


def _refit(student: Student, other: Student, image: Tensor, name: str) -> None:
    """Set a convolution's first filters to the ridge regression of its responses in another network on the patches that it sees now."""
    x, wanted = _around(student, name, image)[0], _around(other, name, image)[1]
    layer = student.get_submodule(name)
    patches, responses = _seen(x, wanted[:, : layer.get_parameter("bias").numel()], 3)
    _fit(layer, patches, responses)


@torch.no_grad()
def revive(
    student: Student, image: Tensor, teacher: Sequence[Tensor], seed: int = 0, layers: Collection[str] | None = None
) -> dict[str, int]:
    """Begin channels anew that are hardly ever active in these pictures, or count for next to nothing. Returns how many, by layer.

    image: Bx3xHxW, 0..1; teacher: its five taps; layers: of which, None for all. Where the block's head reads them they become what it
    misses most (`_aim`), elsewhere they get He et al.'s weights. What reads them listens as far as it lacks something: a head for its
    tap, a convolution for what it was told before. A student with residuals is left alone: what its features count for is not what
    its convolutions respond.
    Of the first lite, trained at a rate of 2e-3, 523 of 1,344 channels had gone silent; in lite 5, a fifth of conv3_3's counted for
    nothing, because what begins by chance and unheard had learned next to nothing in 17,000 steps.
    """
    generator, found = torch.Generator().manual_seed(seed), dict[str, int]()
    for name in () if student.shape.residual else student.shape.convolutions():
        if layers is not None and name not in layers:
            continue
        x, y = _around(student, name, image)
        idle = ((counts(student, name, y) < IDLE) | ((y > 0).float().mean((0, 2, 3)) < RARE)).nonzero()[:, 0]
        if len(idle):
            fresh = _fresh(x.shape[1], len(idle), generator).to(x.device)
            _replace(student, name, idle, fresh, x, image, teacher)
            found[name] = len(idle)
    return found


def _replace(
    student: Student, name: str, idle: Tensor, fresh: nn.Conv2d, x: Tensor, image: Tensor, teacher: Sequence[Tensor]
) -> None:
    """Put fresh filters, aimed if there is a head to aim for, in the place of idle channels, and have their readers listen.

    x: what the convolution is given of these pictures, padded.
    """
    readers, block = dict(student.shape.readers(name)), int(name[len("conv")])
    heard = readers.pop(f"head{block}_1", None)
    told = {reader: _around(student, reader, image)[1] for reader in readers}
    for reader, inputs in student.shape.readers(name):
        student.get_submodule(reader).get_parameter("weight")[:, inputs][:, idle] = 0
    missed = _missed(student, block, image, teacher[block - 1].float()) if heard else None
    if missed is not None:
        _aim(fresh, x, missed)
    _scale(fresh, fresh(x))
    for part, values in fresh.named_parameters():
        student.get_submodule(name).get_parameter(part)[idle] = values
    if heard and missed is not None:
        _listen(student.get_submodule(f"head{block}_1"), heard, idle, functional.relu(fresh(x)), missed)
    for reader, inputs in readers.items():
        seen, now = _around(student, reader, image)
        _listen(student.get_submodule(reader), inputs, idle, seen[:, inputs][:, idle], told[reader] - now)


def counts(student: Student, name: str, y: Tensor) -> Tensor:
    """How much each channel of a convolution counts for where it is read, as a share of what half of them count for at least.

    y: its responses, BxCxHxW. Their root mean square once rectified, times the norm of what reads them: the same at any scale.
    """
    readers = [
        student.get_submodule(reader).get_parameter("weight")[:, inputs] for reader, inputs in student.shape.readers(name)
    ]
    heard = torch.stack([weight.square().sum((0, 2, 3)) for weight in readers]).sum(0)
    loud = functional.relu(y).square().mean((0, 2, 3)) * heard
    shares: Tensor = (loud / loud.median().clamp_min(1e-24)).sqrt()
    return shares


@torch.no_grad()
def rank(student: Student, image: Tensor) -> None:
    """Put the channels of every convolution in order, those that count for most first, as a narrower network keeps the first.

    image: Bx3xHxW, 0..1. It says the same; a student with residuals, where channels are added to each other, is left alone.
    """
    if student.shape.residual:
        return
    for name in student.shape.convolutions():
        order = counts(student, name, _around(student, name, image)[1]).argsort(descending=True)
        for part in student.get_submodule(name).parameters():
            part.copy_(part[order])
        for reader, inputs in student.shape.readers(name):
            weight = student.get_submodule(reader).get_parameter("weight")[:, inputs]
            weight.copy_(weight[:, order])


def _missed(student: Student, block: int, image: Tensor, T: Tensor) -> Tensor:
    """What would have to be added to a head's responses, BxKxhxw, for its tap to be the teacher's T."""
    features = student.trunk(image)[block - 1]
    response: Tensor = student.get_submodule(f"head{block}_1")(torch.cat(features, 1))
    return torch.where(T > 0, T, response.clamp_max(0)) - response


def _aim(layer: nn.Conv2d, x: Tensor, missed: Tensor) -> None:
    """Turn filters to what tells most about `missed`, BxKxhxw, in x, which is BxCx(h+2)x(w+2).

    By reduced-rank regression (Izenman 1975): the regression of what is missed on 3x3 patches, and of that the main directions.
    Filters stay as they are where nothing is missed, and so do those for which there is no direction left.
    """
    patches, wanted = _seen(x, missed, 3)
    patches -= patches.mean(0)
    weight = _ridge(patches, wanted - wanted.mean(0), SLIGHT)  # 9CxK
    energy, directions = torch.linalg.eigh((patches @ weight).T @ (patches @ weight))  # in rising order
    count = min(int((energy > NULL * energy[-1]).sum()), len(layer.weight))
    main = directions.flip(1)[:, :count]
    layer.weight[:count] = (weight @ main).T.reshape(count, *layer.weight.shape[1:]).to(layer.weight.dtype)


def _listen(layer: nn.Module, inputs: slice, channels: Tensor, features: Tensor, missed: Tensor) -> None:
    """Have a layer add to its responses what can be told about `missed` from channels that it has not listened to so far."""
    weight, bias = layer.get_parameter("weight"), layer.get_parameter("bias")
    rows, wanted = _seen(features, missed, weight.shape[-1])
    centre, mean = rows.mean(0), wanted.mean(0)
    found = _ridge(rows - centre, wanted - mean, SLIGHT).T
    weight[:, inputs][:, channels] = found.reshape(len(weight), len(channels), *weight.shape[2:]).to(weight.dtype)
    bias.add_(mean - found @ centre)


def _seen(x: Tensor, y: Tensor, side: int) -> tuple[Tensor, Tensor]:
    """What filters of so many pixels read at some of the positions, Mx(C side^2), and y, BxKxhxw, there: MxK."""
    stride = math.ceil(math.sqrt(y[:, 0].numel() / POSITIONS))
    rows = functional.unfold(x, side, stride=stride).transpose(1, 2).flatten(0, 1).double()
    return rows, thinned(y, stride, (0, 0)).permute(0, 2, 3, 1).flatten(0, 2).double()


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
