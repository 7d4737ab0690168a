"""Writes the golden ratings of PyPI `openskill` 6 that the tests of `rating` compare with.

    pip install openskill==6.2.0 && python golden/ratings.py > golden/ratings.csv

Each row: case, step, beta, tau, then for each player rank, mu and sigma before, mu and sigma after.
"""

import random

from openskill.models import PlackettLuce


def row(case, step, model, players, ranks):
    before = [(p.mu, p.sigma) for p in players]
    teams = model.rate([[p] for p in players], ranks=ranks)
    after = [team[0] for team in teams]
    cells = [case, step, model.beta, model.tau]
    for rank, (mu, sigma), player in zip(ranks, before, after):
        cells += [int(rank), mu, sigma, player.mu, player.sigma]
    print(",".join(repr(cell) if isinstance(cell, float) else str(cell) for cell in cells))
    return after


def main():
    print("case,step,beta,tau,(rank,mu,sigma,mu,sigma)...")
    ours = PlackettLuce(beta=7.0, tau=0.1)
    fixed = {
        "pair": [0, 1],
        "upset": [1, 0],
        "draw": [0, 0],
        "six": [0, 1, 2, 3, 4, 5],
        "ties": [0, 1, 1, 1, 4, 4],
        "all tied": [2, 2, 2, 2],
        "unordered": [3, 0, 2, 1, 2],
    }
    for case, ranks in fixed.items():
        players = [ours.rating() for _ in ranks]
        for step in range(3):
            players = row(case, step, ours, players, ranks)
    chance = random.Random(7)
    for model, case in [(ours, "random"), (PlackettLuce(), "defaults")]:
        players = [model.rating(mu=chance.uniform(0, 50), sigma=chance.uniform(0.5, 10)) for _ in range(7)]
        for step in range(12):
            players = row(case, step, model, players, [chance.randrange(5) for _ in players])


main()
