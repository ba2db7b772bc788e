"""Which locations get a mask, against loops over objects."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from flax_dynconv.training.instances.positives import best_positives, random_positives


def drawn(batch=6, places=80, objects=7, seed=0):
    random = np.random.default_rng(seed)
    index = random.integers(-1, objects, (batch, places)) * random.integers(0, 2, (batch, places))
    index = np.where(random.random((batch, places)) < 0.5, -1, index)
    index[1], index[2, 1:] = -1, -1
    # Few values, so that many are equal.
    return index.astype(np.int32), (random.integers(0, 12, (batch, places)) / 12).astype(np.float32)


def by_loops(index, scores, slots):
    objects = sorted(set(index[index >= 0].tolist()))
    chosen = []
    for owner in objects:
        places = sorted(np.flatnonzero(index == owner).tolist(), key=lambda p: -scores[p])
        chosen += places[: max(slots // len(objects), 1)]
    return sorted(chosen, key=lambda p: -scores[p])[:slots]


@pytest.mark.parametrize('slots', [1, 5, 16, 64, 200])
def test_the_best_of_every_object(slots):
    index, scores = drawn()
    places, used = best_positives(jnp.asarray(index), jnp.asarray(scores), slots)
    assert places.shape == used.shape == (6, min(slots, 80)) and places.dtype == jnp.int32
    for row in range(6):
        expected, found = by_loops(index[row], scores[row], slots), np.asarray(places[row])[np.asarray(used[row])]
        if slots < len(set(index[row][index[row] >= 0].tolist())):
            # Which of equal ones is left open between objects.
            assert scores[row][found].tolist() == scores[row][expected].tolist()
        else:
            assert sorted(found.tolist()) == sorted(expected)
    assert not used[1].any() and used[2].sum() == int(index[2, 0] >= 0)


def test_objects_have_equal_shares():
    """The first has many good locations, the second few bad ones."""
    index = jnp.array([[0] * 10 + [3] * 3 + [-1] * 5])
    scores = jnp.array([[0.9] * 10 + [0.1, 0.3, 0.2] + [1.0] * 5])
    places, used = best_positives(index, scores, 4)
    assert used.all() and sorted(places[0].tolist()) == [0, 1, 11, 12]
    places, used = best_positives(index, scores, 9)
    assert sorted(places[0][used[0]].tolist()) == [0, 1, 2, 3, 10, 11, 12]


@pytest.mark.parametrize('slots', [5, 100])
def test_random_locations_have_an_object(slots):
    index, _ = drawn()
    draw = jax.jit(jax.vmap(lambda key: random_positives(jnp.asarray(index), key, slots)))
    seen = set()
    for places, used in zip(*map(np.asarray, draw(jax.random.split(jax.random.key(0), 200))), strict=True):
        for row in range(6):
            found, possible = places[row][used[row]].tolist(), np.flatnonzero(index[row] >= 0).tolist()
            assert len(found) == len(set(found)) == min(slots, len(possible)) and set(found) <= set(possible)
        seen |= set(places[0][used[0]].tolist())
    assert seen == set(np.flatnonzero(index[0] >= 0).tolist())


def test_scores_have_no_gradient():
    index, scores = drawn()

    def total(scores):
        places, used = best_positives(jnp.asarray(index), scores, 4)
        return jnp.sum(jnp.where(used, jnp.take_along_axis(scores, places, axis=1), 0))

    # What is chosen is constant, what is taken is not.
    assert set(np.unique(jax.grad(total)(jnp.asarray(scores)))) == {0.0, 1.0}


def test_mistakes_are_named():
    index = jnp.zeros((2, 5), jnp.int32)
    with pytest.raises(ValueError, match=r'same shape \(B, P\), got \(2, 5\) and \(2, 4\)'):
        best_positives(index, jnp.zeros((2, 4)), 3)
    with pytest.raises(ValueError, match='slots must be at least 1, got 0'):
        random_positives(index, jax.random.key(0), 0)
