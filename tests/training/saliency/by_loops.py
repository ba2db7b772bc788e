"""The measures of saliency in plain loops over pixels; they share no code with the package."""

from math import exp, sqrt


def pixels(image):
    return [(i, j) for i in range(len(image)) for j in range(len(image[0]))]


def mean(values):
    values = list(values)
    return sum(values) / len(values)


def variance(values):
    values = list(values)
    centre = mean(values)
    return mean((v - centre) ** 2 for v in values)


def threshold(p):
    return min(1.0, 2 * mean(p[at] for at in pixels(p)))


def adaptive_f(p, g):
    found = {at for at in pixels(p) if p[at] >= threshold(p)}
    true = {at for at in pixels(g) if g[at]}
    hits = len(found & true)
    if hits == 0:
        return 0.0
    precision, recall = hits / len(found), hits / len(true)
    return 1.3 * precision * recall / (0.3 * precision + recall)


def precision_recall(p, g):
    curve = []
    true = {at for at in pixels(g) if g[at]}
    for level in range(254, -1, -1):
        found = {at for at in pixels(p) if int(255 * p[at]) >= level}
        curve.append((len(found & true) / (len(found) + 1e-8), len(found & true) / len(true)) if true else (0, 0))
    return [precision for precision, _ in curve], [recall for _, recall in curve]


def weighted_f(p, g):
    """Where several pixels of the foreground are nearest, they must have the same error."""
    true = [at for at in pixels(g) if g[at]]
    if not true:
        return 0.0
    error = {at: abs(p[at] - g[at]) for at in pixels(g)}
    squared, spread = {}, {}
    for i, j in pixels(g):
        squares = {(y, x): (y - i) ** 2 + (x - j) ** 2 for y, x in true}
        squared[i, j] = min(squares.values())
        nearest = {error[at] for at, square in squares.items() if square == squared[i, j]}
        assert len(nearest) == 1, 'several pixels are nearest: their errors must not differ'
        (spread[i, j],) = nearest
    window = [(y, x) for y in range(-3, 4) for x in range(-3, 4)]
    total = sum(exp(-(y * y + x * x) / 50) for y, x in window)
    missed = false = 0.0
    for i, j in pixels(g):
        if g[i, j]:
            blurred = sum(exp(-(y * y + x * x) / 50) / total * spread.get((i + y, j + x), 0.0) for y, x in window)
            missed += min(error[i, j], blurred)
        else:
            false += error[i, j] * (2 - 0.5 ** (sqrt(squared[i, j]) / 5))
    hits = len(true) - missed
    recall, precision = 1 - missed / len(true), hits / (1e-6 + hits + false)
    return 2 * recall * precision / (1e-6 + recall + precision)


def structure_measure(p, g, alpha=0.5):
    true, false = [at for at in pixels(g) if g[at]], [at for at in pixels(g) if not g[at]]
    if not true or not false:
        return mean(1 - p[at] for at in false) if false else mean(p[at] for at in true)

    def alike(values):
        centre = mean(values)
        return 2 * centre / (centre * centre + 1 + sqrt(variance(values)) + 1e-8)

    share = len(true) / (len(true) + len(false))
    objects = share * alike([p[at] for at in true]) + (1 - share) * alike([1 - p[at] for at in false])
    row, column = round(mean(i for i, _ in true)), round(mean(j for _, j in true))
    regions = 0.0
    for above in (True, False):
        for left in (True, False):
            part = [(i, j) for i, j in pixels(g) if (i <= row) == above and (j <= column) == left]
            if part:
                regions += len(part) / (len(true) + len(false)) * similarity([p[a] for a in part], [g[a] for a in part])
    return alpha * objects + (1 - alpha) * regions


def similarity(p, g):
    x, y = mean(p), mean(g)
    shared = sum((a - x) * (b - y) for a, b in zip(p, g, strict=True)) / max(1, len(p) - 1)
    above, below = 4 * x * y * shared, (x * x + y * y) * (variance(p) + variance(g))
    if above:
        return above / (below + 1e-8)
    return 0.0 if below else 1.0


def alignment_measure(p, g):
    found = {at: float(p[at] >= threshold(p)) for at in pixels(p)}
    true = {at: float(g[at]) for at in pixels(g)}
    x, y = mean(found.values()), mean(true.values())
    total = 0.0
    for at in pixels(g):
        if y == 0 or y == 1:
            total += found[at] == y
        else:
            a, b = found[at] - x, true[at] - y
            total += (2 * a * b / (a * a + b * b + 1e-8) + 1) ** 2 / 4
    return total / (len(true) - 1 + 1e-8)
