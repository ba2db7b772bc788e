"""A network as a cell: a training step and an inference batch beside those of its static twin."""

import dataclasses
import math

import numpy as np

SIZE, CLASSES = 64, 1000
# The static twin of networks with depthwise layers as the library computes them; 'static' is what Flax itself computes.
LIBRARY_TWIN = 'library_twin'


@dataclasses.dataclass(frozen=True)
class NetworkCell:
    """One network of the registry on random images of `SIZE` pixels."""

    name: str
    suite = 'models'
    batches = (16,)

    def data(self, batch: int):
        """Images (B, H, W, 3) and labels (B,)."""
        generator = np.random.default_rng(0)
        images = generator.standard_normal((batch, SIZE, SIZE, 3), np.float32)
        return images, generator.integers(0, CLASSES, batch).astype(np.int32)

    def facts(self, batch: int) -> dict:
        """Bytes of the parameters and images, and of the largest layer's mixed kernels."""
        import jax

        from flax_dynconv.bench import network_programs
        from flax_dynconv.models import create_model

        images, _ = self.data(batch)
        leaves = jax.tree.leaves(network_programs.shapes(create_model(self.name), images)['params'])
        # One 1x1 kernel is never mixed: it stays static between scales.
        banks = [leaf.shape for leaf in leaves if leaf.ndim == 5 and leaf.shape[:3] != (1, 1, 1)]
        mixed = max((math.prod(shape[1:]) for shape in banks), default=0)
        return {
            'kind': 'network', 'form': '', 'parameters': sum(leaf.size for leaf in leaves),
            'operand_bytes': 4 * sum(leaf.size for leaf in leaves) + images.nbytes,
            'mixed_kernel_bytes': 4 * batch * mixed,
        }  # fmt: skip

    def jax_programs(self, batch: int, forms: str):
        """The network and its static twin, if any: in plain `nn.Conv`, and as the library has it where that differs."""
        from flax_dynconv.bench import network_programs
        from flax_dynconv.models import create_model
        from flax_dynconv.models.registry import static_twin

        data = self.data(batch)
        yield from network_programs.programs('chosen', create_model(self.name), *data)
        try:
            twin = create_model(static_twin(self.name))
        except ValueError:
            return  # The network has none.
        yield from network_programs.programs('static', network_programs.plain(twin), *data)
        if network_programs.is_depthwise(twin, data[0]):
            yield from network_programs.programs(LIBRARY_TWIN, twin, *data)

    def torch_programs(self, batch: int):
        """The same network in PyTorch, and its static twin there."""
        from flax_dynconv.bench.peers import networks

        yield from networks.programs(self.name, *self.data(batch))
