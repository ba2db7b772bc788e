"""A named workload of one operator as a cell: its facts, its JAX programs, its PyTorch programs."""

import dataclasses
import math

from flax_dynconv.bench import arrays, choice
from flax_dynconv.ops.shapes import Workload

CHOSEN, PLAIN, STATIC, UNFOLD = 'chosen', 'plain', 'static', 'xla_unfold'


@dataclasses.dataclass(frozen=True)
class OperatorCell:
    """One workload; the batch is a parameter of every method."""

    workload: Workload
    suite = 'ops'
    batches = (1, 8, 32)

    @property
    def name(self) -> str:
        """The workload's name."""
        return self.workload.name

    def shapes(self, batch: int) -> dict:
        """Operands by name; the static kernel and the cotangent are drawn with them but are no operands."""
        return self.workload.shapes(batch)

    def operand_bytes(self, batch: int) -> int:
        """Bytes of all operands in float32."""
        return sum(4 * math.prod(shape) for shape in self.shapes(batch).values())

    def facts(self, batch: int) -> dict:
        """What the marks ask of a cell."""
        work, spec = self.workload, choice.conv_spec(self.workload)
        kind = 'depthwise' if spec.depthwise and spec.in_features > 1 else 'dense'
        if work.operator == 'per_position_conv':
            kind = 'per_position'
        elif work.operator == 'per_sample_conv' and kind == 'dense':
            kind = 'depthwise' if spec.in_features == 1 else 'instances'
        form, backward = choice.chosen(work, batch)
        mixed = batch * work.instances * math.prod(spec.kernel_shape) * 4
        return {
            'kind': kind, 'operator': work.operator, 'kernel_size': list(work.kernel_size),
            'num_kernels': work.num_kernels, 'positions': spec.num_positions, 'scales': list(work.scales),
            'operand_bytes': self.operand_bytes(batch), 'mixed_kernel_bytes': mixed,
            'multiply_adds': work.multiply_adds(batch), 'form': form, 'backward': backward,
            'x_bytes': 4 * math.prod(self.shapes(batch)['x']),
        }  # fmt: skip

    def case(self, batch: int):
        """The static case of the call, of which the choice is made."""
        return choice.case(self.workload, batch)

    def jax_programs(self, batch: int, forms: str):
        """The choice, the static convolution, the unfold that one would write, and with forms='all' every form."""
        from flax_dynconv.bench import operator_programs

        return operator_programs.programs(self.workload, batch, self.draw(batch), forms)

    def torch_programs(self, batch: int):
        """PyTorch's static convolution and the forms of the published codes."""
        from flax_dynconv.bench.peers import operators

        return operators.programs(self.workload, self.draw(batch))

    def draw(self, batch: int) -> dict:
        """The arrays, in the layouts of JAX: operands, 'static_kernel' and 'cotangent'."""
        spec = choice.conv_spec(self.workload)
        batch_size = batch * self.workload.instances
        out = (batch_size, *spec.out_spatial, spec.out_features)
        extra = {'static_kernel': spec.kernel_shape, 'cotangent': out}
        return arrays.draw(self.shapes(batch) | extra, f'{self.name} {batch}')
