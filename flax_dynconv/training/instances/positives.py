"""Which of the locations with an object get a mask in training: a fixed number of slots for each image."""

import jax
import jax.numpy as jnp
from jax import lax


def best_positives(index, scores, slots):
    """The best locations of every object: positions (B, K) int32 and whether a slot is used (B, K) bool, K <= `slots`.

    index (B, P) is the object of each location, -1 for none, scores (B, P) are floating, >= 0. Each object has its
    max(slots // objects, 1) locations of the largest scores, of equal ones the first, with as many objects of the image
    as have a location. So all of them are used if there are fewer; if there are more objects than slots, those with the
    best scores have one. K = min(slots, P).

    Raises ValueError for other shapes and for slots < 1.

    >>> index = jnp.array([[0, -1, 0, 0, 2]])
    >>> best_positives(index, jnp.array([[0.1, 0.9, 0.3, 0.2, 0.5]]), 4)
    (Array([[4, 2, 3, 0]], dtype=int32), Array([[ True,  True,  True, False]], dtype=bool))

    Source: `TOPK_PROPOSALS_PER_IM` of AdelaiDet's CondInst.
    """
    _check(index, scores, slots)
    scores = lax.stop_gradient(scores)
    none = jnp.iinfo(jnp.int32).max
    # Sorted by object, then from the best to the worst: a location's rank is how far it is from its object's first.
    place = lax.broadcasted_iota(jnp.int32, index.shape, 1)
    owner, worst, place = lax.sort((jnp.where(index < 0, none, index), -scores, place), dimension=1, num_keys=2)
    first = jnp.concatenate([jnp.ones_like(owner[:, :1], bool), owner[:, 1:] != owner[:, :-1]], axis=1)
    first &= owner != none
    objects = jnp.sum(first, axis=1, keepdims=True, dtype=jnp.int32)
    position = lax.broadcasted_iota(jnp.int32, index.shape, 1)
    rank = position - lax.cummax(jnp.where(first, position, 0), axis=1)
    kept = (owner != none) & (rank < jnp.maximum(slots // jnp.maximum(objects, 1), 1))
    return _first(jnp.where(kept, worst, jnp.inf), place, slots)


def random_positives(index, key, slots):
    """Locations with an object, drawn at random without replacement; results as `best_positives`.

    index (B, P) is the object of each location, -1 for none; all of an image are used if there are no more than slots.

    >>> positions, used = random_positives(jnp.array([[0, -1, 0, 1]]), jax.random.key(0), 4)
    >>> sorted(positions[0, :3].tolist()), used.tolist()
    ([0, 2, 3], [[True, True, True, False]])

    Source: `MAX_PROPOSALS` of AdelaiDet's CondInst, which is for all images of a GPU together.
    """
    _check(index, index, slots)
    order = jax.random.uniform(key, index.shape)
    place = lax.broadcasted_iota(jnp.int32, index.shape, 1)
    return _first(jnp.where(index < 0, jnp.inf, order), place, slots)


def _first(order, place, slots):
    order, place = lax.sort((order, place), dimension=1, num_keys=1)
    return place[:, :slots], order[:, :slots] < jnp.inf


def _check(index, scores, slots):
    if index.ndim != 2 or scores.shape != index.shape:
        raise ValueError(f'index and scores must have the same shape (B, P), got {index.shape} and {scores.shape}')
    if slots < 1:
        raise ValueError(f'slots must be at least 1, got {slots}')
