"""Compare impasto's L-BFGS with torch.optim.LBFGS by the lowest loss after the same number of evaluations.

    python benchmarks/optimiser.py [--evaluations 120] [--size 160]

Rows: the default method from the photograph, and the published method from white noise with three style weights, on the sample images
with encoder lite at one scale in fp32. Columns: impasto with 5, 10, 20 and 50 pairs of history, torch without line search and with
strong Wolfe. Losses are comparable only within a row.
"""

from __future__ import annotations

import argparse

import torch
from machine import PAINTING, PHOTO
from rich.console import Console
from rich.table import Table

import impasto
from impasto import lbfgs, optimize
from impasto.compute.memory import Plan
from impasto.objective.evaluate import Evaluate

PROBLEMS = {
    "impasto, from the photograph": {"method": "impasto"},
    "gatys, noise, beta 1e3": {"method": "gatys", "style_weight": 1e3},
    "gatys, noise, beta 1e7": {"method": "gatys", "style_weight": 1e7},
    "gatys, noise, beta 1e9": {"method": "gatys", "style_weight": 1e9},
}


def ours(objective: Evaluate, start: torch.Tensor, evaluations: int, history: int) -> float:
    """The lowest loss of impasto's L-BFGS with this length of history."""
    before, lbfgs.HISTORY = lbfgs.HISTORY, history
    try:
        return min(state.lowest for state in optimize.minimize(objective, start, evaluations))
    finally:
        lbfgs.HISTORY = before


def torchs(objective: Evaluate, start: torch.Tensor, evaluations: int, line_search: str | None) -> float:
    """The lowest loss of torch.optim.LBFGS with 20 pairs."""
    picture = start.clone().requires_grad_()
    solver = torch.optim.LBFGS(
        [picture], max_iter=1, history_size=20, tolerance_grad=0, tolerance_change=-1, line_search_fn=line_search
    )
    seen: list[float] = []

    def closure() -> torch.Tensor:
        losses, gradient = objective(picture)
        picture.grad = gradient.contiguous()
        seen.append(sum(losses.values()))
        return torch.tensor(seen[-1])

    while len(seen) < evaluations:
        solver.step(closure)
    return min(seen[:evaluations])


def main() -> None:
    """Run every optimizer on every problem and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--evaluations", type=int, default=120)
    parser.add_argument("--size", type=int, default=160)
    arguments = parser.parse_args()
    table = Table("problem", "start", "5 pairs", "10 pairs", "20 pairs", "50 pairs", "torch", "torch, strong Wolfe")
    for name, options in PROBLEMS.items():
        stylizer = impasto.Stylizer(encoder="lite", size=arguments.size, precision="fp32", **options)
        run = stylizer.run(PHOTO, PAINTING)
        size = run.problem.size
        objective, start = run.problem.objective(size, Plan()), run.problem.start(size)
        losses = [sum(objective(start)[0].values())]
        losses += [ours(objective, start, arguments.evaluations, history) for history in (5, 10, 20, 50)]
        losses += [torchs(objective, start, arguments.evaluations, search) for search in (None, "strong_wolfe")]
        table.add_row(name, *(f"{loss:.4g}" for loss in losses))
    Console(width=120).print(table)


if __name__ == "__main__":
    main()
