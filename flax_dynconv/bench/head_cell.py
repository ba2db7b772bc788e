"""CondInst's mask head as a cell: three generated 1x1 layers for each of 100 instances."""

import dataclasses
import functools
import math

from flax_dynconv.bench import arrays

INSTANCES, HEIGHT, WIDTH, FEATURES, PARAMETERS, STRIDE = 100, 100, 168, 8, 169, 8


@dataclasses.dataclass(frozen=True)
class HeadCell:
    """Features at stride 8 of images of 800 x 1344 pixels, one vector of parameters per instance."""

    name = 'condinst_head'
    suite = 'ops'
    batches = (1, 8)

    def shapes(self, batch: int) -> dict:
        """Operands by name."""
        return {
            'features': (batch, HEIGHT, WIDTH, FEATURES),
            'vector': (batch, INSTANCES, PARAMETERS),
            'locations': (batch, INSTANCES, 2),
            'scales': (batch, INSTANCES),
        }

    def facts(self, batch: int) -> dict:
        """What the tables ask of a cell; the form is that of `implementation=None`."""
        from flax_dynconv import ops

        form = ops.explain(ops.instance_head, **self._call(batch)).here
        operands = 4 * sum(math.prod(shape) for shape in self.shapes(batch).values())
        return {'kind': 'head', 'form': form, 'operand_bytes': operands, 'mixed_kernel_bytes': 0}

    def case(self, batch: int):
        """The static case of the call, of which the choice is made."""
        from flax_dynconv import ops
        from flax_dynconv.ops.explain import case_of

        return case_of(ops.instance_head, **self._call(batch))[0]

    def _call(self, batch):
        """The arguments of the operator, without arrays."""
        import jax

        from flax_dynconv import ops

        arrays = {name: jax.ShapeDtypeStruct(shape, 'float32') for name, shape in self.shapes(batch).items()}
        weights, biases = jax.eval_shape(ops.split_parameters, arrays.pop('vector'))
        return {'weights': weights, 'biases': biases, 'stride': STRIDE, **arrays}

    def draw(self, batch: int) -> dict:
        """Arrays by name and the cotangent; locations within the image, scales of the levels of the pyramid."""
        drawn = arrays.draw(
            self.shapes(batch) | {'cotangent': (batch, INSTANCES, HEIGHT, WIDTH)}, f'{self.name} {batch}'
        )
        drawn['vector'] /= 3
        drawn['locations'] = (drawn['locations'] * 200 + 400).astype('float32')
        drawn['scales'] = (64 * 2 ** (abs(drawn['scales']) * 2 // 1)).astype('float32')
        return drawn

    def jax_programs(self, batch: int, forms: str):
        """The choice, and with forms='all' every form."""
        from flax_dynconv.bench.jax_programs import both_directions
        from flax_dynconv.ops.instance_head.api import IMPLEMENTATIONS

        drawn, taken = self.draw(batch), self.facts(batch)['form']
        others = [form for form in IMPLEMENTATIONS if form != taken] if forms == 'all' else ['reference']
        for name, implementation in [('chosen', None), *((form, form) for form in others)]:
            function = functools.partial(_head, implementation)
            operands, fixed = (drawn['features'], drawn['vector']), (drawn['locations'], drawn['scales'])
            yield from both_directions(name, function, operands, drawn['cotangent'], fixed)

    def torch_programs(self, batch: int):
        """The form of AdelaiDet: one convolution per layer with a group per instance."""
        from flax_dynconv.bench.peers import instance_head

        return instance_head.programs(self.draw(batch), STRIDE)


def _head(implementation, features, vector, locations, scales):
    from flax_dynconv import ops

    weights, biases = ops.split_parameters(vector)
    return ops.instance_head(features, weights, biases, locations, scales, stride=STRIDE, implementation=implementation)
