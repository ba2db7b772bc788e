"""Constructing a network from a table of fields, with an error that names what it does not know."""

import dataclasses
import difflib


def construct(network, fields):
    """`network(**fields)`; TypeError for a name that is no field of it, with the closest one.

    >>> from flax_dynconv.models.resnet import ResNet
    >>> construct(ResNet, {'stage_sizes': (1, 1), 'drop_out': 0.1})  # doctest: +IGNORE_EXCEPTION_DETAIL
    Traceback (most recent call last):
        ...
    TypeError: a ResNet has no field 'drop_out'; did you mean 'dropout'? (fields: ...)
    """
    known = {field.name for field in dataclasses.fields(network)} - {'parent'}
    for name in fields:
        if name not in known:
            close = difflib.get_close_matches(name, known, n=1)
            hint = f'; did you mean {close[0]!r}?' if close else ''
            kind = network.__name__
            article = 'an' if kind[0] in 'AEIOU' else 'a'
            raise TypeError(f'{article} {kind} has no field {name!r}{hint} (fields: {", ".join(sorted(known))})')
    return network(**fields)
