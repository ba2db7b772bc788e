"""Print the table of docs/models.md: every network's parameters, multiply-adds and PyTorch reference."""

import jax
import jax.numpy as jnp

from flax_dynconv import count, create_model, list_models, preprocessing
from flax_dynconv.convert import PRETRAINED


def main():
    """Count every network at its image size."""
    print('| name | pixels | parameters | multiply-adds | PyTorch reference |')
    print('|---|---:|---:|---:|---|')
    for name in list_models():
        size = preprocessing(name).image_size
        report = count(create_model(name), jax.ShapeDtypeStruct((1, size, size, 3), jnp.float32))
        reference = f'`{PRETRAINED[name][0]}`' if name in PRETRAINED else ''
        print(f'| `{name}` | {size} | {report.parameters:,} | {report.multiply_adds / 1e6:,.1f} M | {reference} |')


if __name__ == '__main__':
    main()
