"""load_pretrained: the network of a name with the weights of a file, for other classes, as features, and strictly."""

import dataclasses
import functools
import socket
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import traverse_util

from flax_dynconv import SEGMENTERS, create_model, list_models, load_pretrained
from flax_dynconv.convert import (
    PRETRAINED,
    REFERENCES,
    CaseError,
    ConversionError,
    from_torch,
    get_reference,
    hub,
    save_variables,
    save_weights,
    to_torch,
)
from flax_dynconv.convert.references import NETWORKS

NAME, REFERENCE = 'mobilenetv3_small', 'torchvision.mobilenet_v3_small'
ARGUMENTS = {'num_classes': 3}
SMALL = 'odconv_resnet8_4x'


def flat(variables):
    return traverse_util.flatten_dict(variables, sep='/')


def shapes(variables):
    return {path: np.shape(leaf) for path, leaf in flat(variables).items()}


def init_shapes(model, channels=3):
    images = jax.ShapeDtypeStruct((1, 64, 64, channels), jnp.float32)
    return shapes(jax.eval_shape(lambda x: model.init(jax.random.key(0), x), images))


def numbers(leaves, seed=0):
    """Something else at every place."""
    rng = np.random.default_rng(seed)
    return {path: rng.uniform(0.5, 1.5, shape).astype(np.float32) for path, shape in leaves.items()}


def same(a, b):
    assert a.keys() == b.keys()
    for path, leaf in b.items():
        np.testing.assert_array_equal(a[path], leaf, err_msg=path)


def fields(model, free=()):
    """The class and the fields of a network as something that can be compared."""
    names = [field.name for field in dataclasses.fields(model) if field.name not in {'parent', 'name', *free}]
    return type(model), {name: plain(getattr(model, name), bool(free)) for name in names}


def plain(value, without_momentum):
    """Partials by what they bind: two of the same are not equal."""
    if not isinstance(value, functools.partial):
        return value
    settings = {key: plain(x, without_momentum) for key, x in value.keywords.items()}
    if without_momentum:
        settings.pop('momentum', None)
    return plain(value.func, without_momentum), value.args, settings


@pytest.fixture(scope='module')
def leaves():
    """Variables of the network for PyTorch's weights."""
    found = numbers(init_shapes(create_model(NAME, 3)))
    return {path: np.ones((), np.float32) if 'temperature' in path else leaf for path, leaf in found.items()}


@pytest.fixture(scope='module')
def weights(tmp_path_factory, leaves):
    """A file of PyTorch's weights, an EMA copy beside them."""
    folder = tmp_path_factory.mktemp('weights')
    state = to_torch(REFERENCE, traverse_util.unflatten_dict(leaves, sep='/'), ARGUMENTS)
    save_weights(folder / 'plain.safetensors', {f'module.{key}': value for key, value in state.items()})
    both = {f'model.{key}': value for key, value in state.items()}
    both |= {f'ema_model.{key}': value + 1 for key, value in state.items()}
    save_weights(folder / 'both.safetensors', both)
    headless = {key: value for key, value in state.items() if not key.startswith('classifier.3.')}
    save_weights(folder / 'headless.npz', headless)
    save_weights(
        folder / 'broken.npz', headless | {'classifier.3.weight': np.ones((3, 4), np.float32), 'x': np.ones(1)}
    )
    return folder


@pytest.fixture(scope='module')
def digits(tmp_path_factory):
    """Variables of a network for pictures of one channel, and a file of them."""
    path = tmp_path_factory.mktemp('digits') / 'digits.npz'
    variables = numbers(init_shapes(create_model(SMALL, 10), channels=1))
    save_variables(path, traverse_util.unflatten_dict(variables, sep='/'))
    return path, variables


def is_body(path):
    return '/classifier' not in path and '/fc' not in path


def test_pytorch_weights(weights, leaves):
    model, variables = load_pretrained(NAME, weights / 'plain.safetensors', dropout=0.2)
    assert fields(model) == fields(create_model(NAME, 3, dropout=0.2))
    counters = variables.pop('torch_buffers')
    assert all(count == 0 for count in jax.tree.leaves(counters))
    same(flat(variables), leaves)
    assert shapes(variables) == init_shapes(model)
    _, converted = from_torch(REFERENCE, to_torch(REFERENCE, variables, ARGUMENTS), ARGUMENTS)
    same(flat(converted), flat(variables) | flat({'torch_buffers': counters}))


def test_the_ema_copy(weights, leaves):
    path, kernel = weights / 'both.safetensors', 'params/classifier/kernel'
    for ema, added in ((None, 1), (False, 0)):
        _, variables = load_pretrained(NAME, path, ema=ema, num_classes=3)
        np.testing.assert_array_equal(flat(variables)[kernel], leaves[kernel] + added)
    with pytest.raises(ConversionError, match=r'plain\.safetensors: ema=True: the checkpoint has no EMA copy'):
        load_pretrained(NAME, weights / 'plain.safetensors', ema=True)


def test_another_number_of_classes(weights, leaves):
    model, variables = load_pretrained(NAME, weights / 'plain.safetensors', num_classes=5, dtype=jnp.bfloat16)
    assert fields(model) == fields(create_model(NAME, 5, jnp.bfloat16))
    variables.pop('torch_buffers')
    variables = flat(variables)
    assert {path: np.shape(leaf) for path, leaf in variables.items()} == init_shapes(model)
    same({p: x for p, x in variables.items() if is_body(p)}, {p: x for p, x in leaves.items() if is_body(p)})
    head = [path for path in variables if not is_body(path)]
    assert len(head) == 2 and not any(leaf.shape == leaves[path].shape for path in head for leaf in [variables[path]])


def test_a_new_classifier_is_that_of_init(digits):
    path, old = digits
    drawn = []
    for rng in (None, jax.random.key(0), jax.random.key(7)):
        model, variables = load_pretrained(SMALL, path, num_classes=4, rng=rng)
        drawn.append(variables['params']['fc']['kernel'])
        same(
            {p: x for p, x in flat(variables).items() if is_body(p)},
            {p: x for p, x in old.items() if is_body(p)},
        )
    # Compiled is only what the kernel depends on.
    kernel = jax.jit(lambda rng: model.init(rng, jnp.zeros((1, 8, 8, 1)))['params']['fc']['kernel'])
    np.testing.assert_array_equal(drawn[0], drawn[1])
    np.testing.assert_array_equal(drawn[2], kernel(jax.random.key(7)))
    assert not np.array_equal(drawn[1], drawn[2])


def test_pooled_features_and_maps(weights, leaves):
    body = {path: leaf for path, leaf in leaves.items() if is_body(path) and '/hidden' not in path}
    model, variables = load_pretrained(NAME, weights / 'plain.safetensors', num_classes=0)
    assert fields(model) == fields(create_model(NAME, 0))
    same({p: x for p, x in flat(variables).items() if not p.startswith('torch_buffers')}, body)
    model, variables = load_pretrained(NAME, weights / 'plain.safetensors', features_only=True)
    assert model.features_only and model.num_classes == 3
    variables.pop('torch_buffers')
    assert shapes(variables) == init_shapes(model)
    assert all(np.array_equal(leaf, leaves[path]) for path, leaf in flat(variables).items())


def test_a_file_without_a_classifier(weights, leaves):
    path = weights / 'headless.npz'
    with pytest.raises(ConversionError, match=r'headless\.npz: num_classes: .*no classifier.*0 gives pooled features'):
        load_pretrained(NAME, path)
    model, variables = load_pretrained(NAME, path, num_classes=7)
    variables.pop('torch_buffers')
    assert shapes(variables) == init_shapes(model)


def test_everything_wrong_with_pytorch_weights_is_one_error(weights):
    with pytest.raises(ConversionError) as caught:
        load_pretrained(NAME, weights / 'broken.npz', num_classes=3)
    message = str(caught.value)
    assert 'broken.npz: the state_dict does not fit, 3 problem(s)' in message
    assert "unused key 'x'" in message and "missing key 'classifier.3.bias'" in message
    assert "'classifier.3.weight': expected shape (3, 1024), got (3, 4)" in message


def one_channel(key, array):
    return array[:, :1] if key == 'conv1.weight' else array


def two_experts(key, array):
    """Flat banks have a row for each expert, and so have the routers."""
    dynamic = (array.ndim == 2 and key.startswith('blocks.')) or '.routing_fn.' in key
    return array[:2] if dynamic else array


# Overrides, the arguments of PyTorch's constructor for them, and what to do to its arrays where it has none.
OVERRIDES = [
    ('mobilenetv2_100', {'width': 0.35}, {'width_mult': 0.35}, None),
    ('mobilenetv3_small', {'width': 0.5}, {'width_mult': 0.5}, None),
    ('odconv_mobilenetv2_050_4x', {'num_kernels': 2, 'reduction': 0.125}, {'kernel_num': 2, 'reduction': 0.125}, None),
    ('condconv_efficientnet_b0_4e', {'in_channels': 1}, {'in_chans': 1}, None),
    ('condconv_efficientnet_b0_4e', {'num_kernels': 2}, {}, two_experts),
    ('resnet18', {'in_channels': 1}, {}, one_channel),
]


@pytest.mark.parametrize(('name', 'overrides', 'arguments', 'cut'), OVERRIDES)
def test_overrides_reach_the_shapes_of_pytorch_weights(tmp_path, name, overrides, arguments, cut):
    reference, settings = PRETRAINED[name]
    arguments = {**settings, **arguments, 'num_classes': 3}
    record = get_reference(reference)
    bound = record.signature.bind(reference, arguments)
    built, channels = record.build(bound, None, None), bound.get('in_chans', 3)
    state = to_torch(reference, traverse_util.unflatten_dict(numbers(init_shapes(built, channels)), sep='/'), arguments)
    before = flat(from_torch(reference, state, arguments)[1])
    if cut:
        state = {key: cut(key, array) for key, array in state.items()}
    save_weights(tmp_path / 'weights.npz', state)
    model, variables = load_pretrained(name, tmp_path / 'weights.npz', **overrides)
    assert fields(model) == fields(create_model(name, 3, **overrides))
    assert {p: s for p, s in shapes(variables).items() if 'torch_buffers' not in p} == init_shapes(
        model, overrides.get('in_channels', 3)
    )
    for path, leaf in flat(variables).items():
        # What was cut off came last.
        np.testing.assert_array_equal(leaf, before[path][tuple(slice(n) for n in leaf.shape)], err_msg=path)


def test_a_width_that_the_reference_does_not_have(tmp_path):
    name = 'condconv_efficientnet_b0_4e'
    expected = init_shapes(create_model(name, 3, width=0.5))
    flax, torch = 'params/blocks_4_0/project/kernel', 'blocks.4.0.conv_pwl.weight'
    save_weights(tmp_path / 'narrow.npz', {torch: np.ones((4, int(np.prod(expected[flax][1:]))), np.float32)})
    with pytest.raises(ConversionError, match=rf"'{torch}': the reference's networks have no leaf of shape \(4, 1, 1"):
        load_pretrained(name, tmp_path / 'narrow.npz', width=0.5)


def test_flax_variables(digits):
    path, old = digits
    model, variables = load_pretrained(SMALL, path)
    assert fields(model) == fields(create_model(SMALL, 10))
    same(flat(variables), old)
    images = jax.ShapeDtypeStruct((2, 8, 8, 1), jnp.float32)
    assert jax.eval_shape(model.apply, variables, images).shape == (2, 10)
    model, variables = load_pretrained(SMALL, path, num_classes=0, in_channels=1)
    assert jax.eval_shape(model.apply, variables, images).shape == (2, 64)


def test_dtypes_of_parameters(digits, tmp_path):
    path, old = digits
    _, variables = load_pretrained(SMALL, path, num_classes=2, param_dtype=jnp.bfloat16)
    assert {leaf.dtype for leaf in jax.tree.leaves(variables['params'])} == {jnp.dtype(jnp.bfloat16)}
    assert {leaf.dtype for leaf in jax.tree.leaves(variables['batch_stats'])} == {np.dtype(np.float32)}
    half = {key: leaf.astype(np.float16) for key, leaf in old.items() if key.startswith('params/')}
    save_weights(tmp_path / 'half.npz', old | half)
    _, variables = load_pretrained(SMALL, tmp_path / 'half.npz')
    assert {leaf.dtype for leaf in jax.tree.leaves(variables['params'])} == {np.dtype(np.float16)}


def test_headless_flax_variables(digits, tmp_path):
    _, old = digits
    body = {path: leaf for path, leaf in old.items() if is_body(path) and not path.startswith('temperature/')}
    save_weights(tmp_path / 'body.npz', body)
    model, variables = load_pretrained(SMALL, tmp_path / 'body.npz', num_classes=0)
    assert shapes(variables) == init_shapes(model, channels=1)
    # Without any temperature it is a trained network's.
    assert all(value == 1 for value in jax.tree.leaves(variables['temperature']))
    _, variables = load_pretrained(SMALL, tmp_path / 'body.npz', features_only=True)
    assert not any(path.startswith('params/fc') for path in flat(variables))


def test_everything_wrong_with_flax_variables_is_one_error(digits, tmp_path):
    _, old = digits
    broken = old | {'params/head/kernel': np.ones(3), 'opt_state/mu': np.ones(2)}
    broken['params/layer1_0/conv1/kernel'] = np.ones((4, 3, 3, 16, 15), np.float32)
    broken['params/bn1/scale'] = np.full(16, np.nan, np.float32)
    broken['params/bn1/bias'] = np.ones(16, np.int32)
    del broken['batch_stats/bn1/mean'], broken['temperature/layer1_0/conv1/routing/value']
    save_weights(tmp_path / 'broken.safetensors', broken)
    for num_classes in (None, 0, 4):
        with pytest.raises(ConversionError) as caught:
            load_pretrained(SMALL, tmp_path / 'broken.safetensors', num_classes=num_classes)
        message = str(caught.value)
        for part in (
            'broken.safetensors: the variables do not fit, 7 problem(s)',
            "unused leaf 'params/head/kernel'",
            "unused leaf 'opt_state/mu'",
            "missing leaf 'batch_stats/bn1/mean'",
            "missing leaf 'temperature/layer1_0/conv1/routing/value'",
            "'params/layer1_0/conv1/kernel': expected shape (4, 3, 3, 16, 16), got (4, 3, 3, 16, 15)",
            "'params/bn1/scale': 16 of 16 values are NaN or infinite",
            "'params/bn1/bias': expected floating-point values, got dtype int32",
        ):
            assert part in message


def test_classifiers_that_disagree(digits, tmp_path):
    _, old = digits
    save_weights(tmp_path / 'x.npz', old | {'params/fc/bias': np.ones(11, np.float32)})
    with pytest.raises(ConversionError, match="'params/fc/kernel' says 10, 'params/fc/bias' says 11"):
        load_pretrained(SMALL, tmp_path / 'x.npz')


def test_mistakes_are_said_before_anything_is_read(digits):
    path, _ = digits
    with pytest.raises(ValueError, match='did you mean odconv_resnet8_4x'):
        load_pretrained('odconv_resnet9_4x', 'none.npz')
    with pytest.raises(TypeError, match="no field 'drop_out'; did you mean 'dropout'"):
        load_pretrained(SMALL, 'none.npz', drop_out=0.1)
    with pytest.raises(ValueError, match='num_classes must be an integer >= 0, got -1'):
        load_pretrained(SMALL, 'none.npz', num_classes=-1)
    with pytest.raises(CaseError, match=r'none\.npz: no such file'):
        load_pretrained(SMALL, 'none.npz')
    with pytest.raises(ConversionError, match=r'digits\.npz: ema=True: a file of Flax variables has no EMA copy'):
        load_pretrained(SMALL, path, ema=True)


def test_a_network_without_pytorch_weights(weights):
    with pytest.raises(
        ConversionError, match=r'odconv_resnet8_4x has no reference for PyTorch weights.*odconv_resnet18'
    ):
        load_pretrained(SMALL, weights / 'plain.safetensors')


def test_weights_of_another_network(digits, weights):
    path, _ = digits
    with pytest.raises(
        ConversionError, match=r"the variables do not fit, 90 problem(?s:.*)unused leaf 'params/layer1_0/conv1/routing"
    ):
        load_pretrained('resnet8', path)
    with pytest.raises(ConversionError, match=r"the state_dict does not fit, .*without the prefix 'module\.'"):
        load_pretrained('mobilenetv3_large', weights / 'plain.safetensors')


def test_the_network_computes_what_pytorchs_does(tmp_path):
    torch = pytest.importorskip('torch', reason='compares with a live PyTorch network')
    from tests.torch_mirrors.registry import MIRRORS

    torch.manual_seed(0)
    module = MIRRORS['torchvision.resnet18'](num_classes=4).eval()
    averaged = torch.optim.swa_utils.AveragedModel(module)
    others = {key: torch.zeros_like(value) for key, value in torch.nn.DataParallel(module).state_dict().items()}
    torch.save({'model': others, 'model_ema': averaged.state_dict(), 'epoch': 3}, tmp_path / 'checkpoint.pth')
    model, variables = load_pretrained('resnet18', tmp_path / 'checkpoint.pth')
    images = np.random.default_rng(0).normal(size=(2, 32, 32, 3)).astype(np.float32)
    expected = module(torch.tensor(images.transpose(0, 3, 1, 2))).detach().numpy()
    with jax.default_matmul_precision('highest'):
        actual = jax.jit(model.apply)(variables, images)
    assert np.abs(actual - expected).max() <= 1e-5 * max(1, np.abs(expected).max())
    assert np.abs(expected).max() > 0.05


def test_every_reference_of_a_network_has_a_name():
    assert {reference for reference, _ in PRETRAINED.values()} == {*NETWORKS, 'dmnet.EncoderDecoder'}


@pytest.mark.parametrize('name', [name for name in PRETRAINED if name not in SEGMENTERS])
def test_the_reference_builds_the_network_of_the_name(name):
    reference, arguments = PRETRAINED[name]
    assert name in list_models() and reference in REFERENCES
    record = get_reference(reference)
    built = record.build(record.signature.bind(reference, {**arguments, 'num_classes': 7}), None, None)
    # Of no consequence for a trained network at work: rates, momenta, checks; a stride of 32 is what None means.
    free = {'dropout', 'in_channels', 'output_stride'}
    assert fields(built, free) == fields(create_model(name, 7), free)


# The hub: a cache made by hand, and no network.


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """cache(repository, files): puts files into a cache of huggingface_hub as a download leaves them."""
    pytest.importorskip('huggingface_hub', reason="reads huggingface_hub's cache")
    monkeypatch.setenv('HF_HUB_CACHE', str(tmp_path / 'hub'))
    monkeypatch.setenv('HF_HUB_OFFLINE', '1')

    def refuse(*args, **kwargs):
        raise AssertionError('asked the network')

    monkeypatch.setattr(socket.socket, 'connect', refuse)
    monkeypatch.setattr(socket, 'create_connection', refuse)

    def put(repository, files, revision='main', commit='0' * 40):
        folder = tmp_path / 'hub' / f'models--{repository.replace("/", "--")}'
        for name in ('refs', 'blobs', f'snapshots/{commit}'):
            (folder / name).mkdir(parents=True, exist_ok=True)
        (folder / 'refs' / revision).write_text(commit)
        for number, (name, content) in enumerate(files.items()):
            blob, link = folder / 'blobs' / f'{commit}{number}', folder / 'snapshots' / commit / name
            blob.write_bytes(content)
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(blob)
        return folder

    return put


def test_a_network_from_the_cache(cache, digits):
    path, old = digits
    cache('owner/digits', {'config.json': b'{}', 'weights/digits.npz': path.read_bytes()})
    _, variables = load_pretrained(SMALL, 'hf:owner/digits/weights/digits.npz')
    same(flat(variables), old)


@pytest.mark.parametrize(
    ('files', 'chosen'),
    [
        (['model.safetensors', 'other.safetensors', 'pytorch_model.bin'], 'model.safetensors'),
        (['config.json', 'resnet.safetensors', 'pytorch_model.bin'], 'resnet.safetensors'),
        (['config.json', 'sub/resnet.safetensors'], 'sub/resnet.safetensors'),
        (['config.json', 'pytorch_model.bin'], 'pytorch_model.bin'),
    ],
)
def test_the_file_with_the_weights(cache, files, chosen):
    cache('owner/repo', {name: name.encode() for name in files})
    assert hub.fetch('hf:owner/repo').read_text() == chosen
    assert hub.fetch(f'hf:owner/repo/{files[0]}').read_text() == files[0]


def test_revisions(cache):
    cache('owner/repo', {'model.safetensors': b'new'})
    cache('owner/repo', {'model.safetensors': b'old'}, revision='v1', commit='1' * 40)
    assert hub.fetch('hf:owner/repo').read_text() == 'new'
    assert hub.fetch('hf:owner/repo', 'v1').read_text() == 'old'
    assert hub.fetch('hf:owner/repo', '1' * 40).read_text() == 'old'


def test_what_the_cache_does_not_have(cache):
    cache('owner/many', {'a.safetensors': b'a', 'b.safetensors': b'b'})
    with pytest.raises(CaseError, match=r'expected one file of weights, found several, a\.safetensors, b\.s.*/FILE'):
        hub.fetch('hf:owner/many')
    cache('owner/none', {'config.json': b'{}'})
    for source in ('hf:owner/none', 'hf:owner/none/model.safetensors', 'hf:owner/repo', 'hf:owner/many/c.safetensors'):
        with pytest.raises(CaseError, match=f'{source}: not in the cache of huggingface_hub, and HF_HUB_OFFLINE'):
            hub.fetch(source)
    with pytest.raises(CaseError, match='hf:own er/repo: '):
        hub.fetch('hf:own er/repo')


def test_what_the_cache_lacks_is_asked_for(cache, monkeypatch):
    import huggingface_hub

    folder = cache('owner/repo', {'config.json': b'{}'}, revision='v1')
    monkeypatch.setenv('HF_HUB_OFFLINE', '0')
    asked = []

    def listed(self, repository, *, revision):
        asked.append((repository, revision))
        return ['config.json', 'a.safetensors']

    def downloaded(*, repo_id, filename, revision, cache_dir):
        asked.append((repo_id, filename, revision, cache_dir))
        return str(folder / 'refs/v1')

    monkeypatch.setattr(huggingface_hub.HfApi, 'list_repo_files', listed)
    monkeypatch.setattr(huggingface_hub, 'hf_hub_download', downloaded)
    assert hub.fetch('hf:owner/repo', 'v1') == folder / 'refs/v1'
    assert asked == [('owner/repo', 'v1'), ('owner/repo', 'a.safetensors', 'v1', str(folder.parent))]


def test_a_hub_that_does_not_answer(cache, monkeypatch):
    import huggingface_hub

    kinds = [kind for kind in huggingface_hub.errors.HfHubHTTPError.__mro__ if kind.__name__ == 'HTTPError']
    monkeypatch.setenv('HF_HUB_OFFLINE', '0')
    for kind in (*kinds, ConnectionError, ValueError):

        def failing(self, repository, *, revision, kind=kind):
            raise kind('no answer\nand more')

        monkeypatch.setattr(huggingface_hub.HfApi, 'list_repo_files', failing)
        with pytest.raises(CaseError, match=r'hf:owner/repo: neither in the cache nor on the hub: no answer$'):
            hub.fetch('hf:owner/repo')


@pytest.mark.parametrize('source', ['hf:', 'hf:owner', 'hf:owner/', 'hf:/repo', 'hf:owner/repo/../../x.npz'])
def test_sources_that_are_no_repository(source):
    with pytest.raises(CaseError, match='expected hf:owner/repo or hf:owner/repo/file'):
        hub.fetch(source)


def test_no_hub(monkeypatch):
    monkeypatch.setitem(sys.modules, 'huggingface_hub', None)
    with pytest.raises(ImportError, match=r'hf:owner/repo: huggingface_hub is not installed.*flax-dynconv\[hub\]'):
        load_pretrained(SMALL, 'hf:owner/repo')
