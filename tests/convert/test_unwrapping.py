"""State_dicts as they lie in checkpoints: wrappers, prefixes, averages, and nothing lost or guessed on the way."""

import collections

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from flax_dynconv.convert import ConversionError, from_torch, to_torch, unwrap
from tests.golden.loader import Golden

OD = 'odconv.ODConv2d'
ARGUMENTS = {'in_planes': 8, 'out_planes': 12, 'kernel_size': 3, 'padding': 1}
STATE = dict(Golden('odconv_k3_n4').state)
# Another set of the same shapes: a copy that was taken is told from one that was not.
OTHER = {key: value + 1 for key, value in STATE.items()}
KEYS = list(STATE)
COUNTER = 'attention.bn.num_batches_tracked'


def prefixed(prefix, state=STATE):
    return {f'{prefix}{key}': value for key, value in state.items()}


STATISTICS = {key: value for key, value in OTHER.items() if key.startswith('attention.bn.running') or key == COUNTER}


def mmcv(averages, weights, prefix=''):
    """A state_dict of mmcv: its hook keeps parameters under names without dots and swaps them before saving."""
    parameters = {key: value for key, value in weights.items() if key not in STATISTICS}
    kept = {f'ema_{prefix}{key}'.replace('.', '_'): value for key, value in parameters.items()}
    return prefixed(prefix, averages) | kept


def mmengine(averages, weights):
    return {
        'meta': {'epoch': 3},
        'state_dict': averages,
        'ema_state_dict': {'steps': np.asarray(7), **prefixed('module.', weights)},
        'optimizer': {'state': {}},
    }


def same(a, b):
    assert a.keys() == b.keys()
    for key, value in b.items():
        x, y = np.asarray(a[key]), np.asarray(value)
        assert (x.dtype, x.shape, x.tobytes()) == (y.dtype, y.shape, np.ascontiguousarray(y).tobytes())


WRAPPED = {
    'as it is': STATE,
    'ordered': collections.OrderedDict(STATE),
    'state_dict': {'state_dict': STATE, 'epoch': 3, 'arch': 'od', 'best': 0.7, 'args': object(), 'ema': None},
    'model': {'model': STATE, 'optimizer': {'state': {0: {'exp_avg': np.ones(3)}}, 'param_groups': [{'lr': 0.1}]}},
    'net': {'net': STATE},
    'a name of its own': {'generator_weights': STATE},
    'nested': {'checkpoint': {'model': {'state_dict': STATE}, 'epoch': 1}, 'args': {'lr': 0.1}},
    'DataParallel': prefixed('module.'),
    'compiled': prefixed('_orig_mod.'),
    'chain': prefixed('module._orig_mod.model.backbone.'),
    'Lightning': {'state_dict': prefixed('model.'), 'hyper_parameters': {'lr': 0.1}, 'loops': {'epoch': [1, 2]}},
    'an optimizer by names': {'model': STATE, 'optimizer': {'exp_avg': OTHER}, 'scaler': {'_': OTHER}},
    'AveragedModel': {'n_averaged': np.asarray(4), **prefixed('module.')},
    'only an EMA copy': {'state_dict_ema': STATE},
}


@pytest.mark.parametrize('name', WRAPPED)
def test_round_trip_gives_the_unwrapped_state_dict(name):
    _, variables = from_torch(OD, WRAPPED[name], ARGUMENTS)
    same(to_torch(OD, variables, ARGUMENTS), STATE)


@pytest.mark.parametrize('dtype', [jnp.bfloat16, np.float16, np.float64])
def test_round_trip_keeps_dtypes(dtype):
    state = {key: value.astype(dtype) if value.dtype == np.float32 else value for key, value in STATE.items()}
    state[COUNTER] = np.asarray(2**40 + 1)
    _, variables = from_torch(OD, {'model': prefixed('module.', state)}, ARGUMENTS)
    same(to_torch(OD, variables, ARGUMENTS), state)


# Checkpoints with both, OTHER being the average.
BOTH = {
    'timm': {'state_dict': STATE, 'state_dict_ema': OTHER, 'epoch': 9},
    'torchvision': {'model': STATE, 'model_ema': {'n_averaged': np.asarray(4), **prefixed('module.', OTHER)}},
    'ema': {'ema': OTHER, 'model': STATE},
    'ema_state_dict': {'state_dict': STATE, 'ema_state_dict': OTHER},
    'nested': {'ema': {'decay': 0.99, 'model': prefixed('module.', OTHER)}, 'net': {'weights': STATE}},
    'one table': prefixed('model.') | prefixed('ema_model.', OTHER),
    'one table of Lightning': {'state_dict': prefixed('net.') | prefixed('model_ema.module.', OTHER)},
    'ema_pytorch': {'initted': np.ones(1, bool), 'step': np.ones(1), **prefixed('online_model.')}
    | prefixed('ema_model.', OTHER),
    'beside the keys': STATE | prefixed('ema.', OTHER),
    'inside the table': STATE | {'ema': OTHER},
    'swa': {'model': STATE, 'swa_model': {'n_averaged': np.asarray(4), **prefixed('module.', OTHER)}},
    'mmengine': mmengine(averages=OTHER, weights=STATE),
}


@pytest.mark.parametrize('name', BOTH)
def test_the_ema_copy_unless_told_otherwise(name):
    same(unwrap(BOTH[name], KEYS).state, OTHER)
    same(unwrap(BOTH[name], KEYS, ema=True).state, OTHER)
    same(unwrap(BOTH[name], KEYS, ema=False).state, STATE)
    assert not unwrap(BOTH[name], KEYS).leftovers and not unwrap(BOTH[name], KEYS, ema=False).leftovers


@pytest.mark.parametrize(
    'state',
    [mmcv(OTHER, STATE), mmcv(OTHER, STATE, 'backbone.'), prefixed('module.', mmcv(OTHER, STATE, 'backbone.'))],
)
def test_mmcv_saves_the_averages_under_the_plain_names(state):
    taken = unwrap({'state_dict': state}, KEYS)
    same(taken.state, OTHER)
    assert taken.averaged and taken.other and not taken.leftovers
    # Statistics are of no parameter: there is one set of them for both.
    same(unwrap({'state_dict': state}, KEYS, ema=False).state, STATE | STATISTICS)


def test_a_parameter_missing_among_mmcvs():
    state = mmcv(OTHER, STATE)
    del state['ema_attention_fc_weight']
    with pytest.raises(ConversionError, match=r"1 problem.*not the EMA copy.*\n.*missing key 'attention\.fc\.weight'"):
        from_torch(OD, state, ARGUMENTS, ema=False)


def test_from_torch_takes_the_copy_that_was_asked_for():
    for ema, expected in ((None, OTHER), (True, OTHER), (False, STATE)):
        _, variables = from_torch(OD, BOTH['timm'], ARGUMENTS, ema=ema)
        same(to_torch(OD, variables, ARGUMENTS), expected)


def test_a_copy_that_is_not_there():
    with pytest.raises(ConversionError, match=r"ema=True: the checkpoint has no EMA copy that fits.*\['model'\]"):
        from_torch(OD, {'model': STATE}, ARGUMENTS, ema=True)
    with pytest.raises(ConversionError, match=r'ema=True: the checkpoint has no EMA copy that fits.*its top level'):
        from_torch(OD, STATE, ARGUMENTS, ema=True)
    with pytest.raises(ConversionError, match=r"ema=False: .*no weights that fit but an EMA copy.*\['model_ema'\]"):
        from_torch(OD, {'model_ema': STATE}, ARGUMENTS, ema=False)
    with pytest.raises(ConversionError, match='ema=True: the checkpoint has no EMA copy that fits'):
        from_torch(OD, {'model': {}}, ARGUMENTS, ema=True)
    with pytest.raises(ConversionError, match="ema: expected None, True or False, got 'yes'"):
        from_torch(OD, STATE, ARGUMENTS, ema='yes')


@pytest.mark.parametrize(
    ('checkpoint', 'places'),
    [
        ({'student': STATE, 'teacher': OTHER}, r"\['student'\], \['teacher'\]|\['student'\]; \['teacher'\]"),
        (prefixed('a.') | prefixed('b.'), r"keys that begin with 'a\.'.*keys that begin with 'b\.'"),
        ({'ema': STATE, 'ema_best': OTHER, 'model': STATE}, r"\['ema'\]; \['ema_best'\]"),
    ],
)
def test_several_copies_are_an_error_that_names_them(checkpoint, places):
    with pytest.raises(ConversionError, match=f'ambiguous: 2 sets of weights fit, .*{places}.*give one alone'):
        from_torch(OD, checkpoint, ARGUMENTS)


def test_what_fits_as_it_is_is_never_unwrapped():
    keys = ['weight', 'module.weight', 'model.weight', 'ema.weight', 'n_averaged']
    state = dict.fromkeys(keys, np.ones(1))
    taken = unwrap(state, keys)
    same(taken.state, state)
    assert (taken.path, taken.prefix, taken.averaged) == ((), '', False)
    same(unwrap({'model': prefixed('model.', state)}, keys).state, state)


@pytest.mark.parametrize(
    ('extra', 'key'),
    [
        (prefixed('module.') | {'module.head.weight': np.ones(2)}, 'head.weight'),
        (prefixed('module.') | {'head.weight': np.ones(2)}, 'head.weight'),
        (prefixed('module.') | {'weight': np.ones(2)}, 'weight'),
        (STATE | {'module.weight': np.ones(2)}, 'module.weight'),
        (prefixed('model.') | prefixed('model_ema.') | {'head.weight': np.ones(2)}, 'head.weight'),
        ({'n_averaged': np.ones(2), **prefixed('module.')}, 'n_averaged'),
        (STATE | {'n_averaged': np.asarray(1)}, 'n_averaged'),
        (mmcv(STATE, OTHER) | {'ema_head_weight': np.ones(2)}, 'ema_head_weight'),
        (STATE | {'optimizer': {'lr': 0.1}}, 'optimizer'),
        (STATE | {'teacher': OTHER}, 'teacher'),
        (STATE | {7: np.ones(2)}, 7),
    ],
)
@pytest.mark.parametrize('wrapper', [None, 'state_dict'])
def test_nothing_in_the_table_is_lost(extra, key, wrapper):
    checkpoint = {wrapper: extra, 'epoch': 3} if wrapper else extra
    with pytest.raises(ConversionError, match=f'1 problem.*\n  unused key {key!r}'):
        from_torch(OD, checkpoint, ARGUMENTS)


def test_what_is_missing_in_a_wrapped_table_is_listed_with_its_place():
    state = prefixed('module.')
    del state['module.attention.fc.weight']
    state['module.weight'] = np.ones(3, np.float32)
    with pytest.raises(ConversionError) as caught:
        from_torch(OD, {'state_dict': state, 'epoch': 3}, ARGUMENTS)
    message = str(caught.value)
    assert "2 problem(s) in ['state_dict'], without the prefix 'module.':" in message
    assert "missing key 'attention.fc.weight' (for params/routing/hidden/kernel)" in message
    assert "'weight': expected shape (4, 12, 8, 3, 3), got (3,)" in message


def test_an_ema_copy_that_does_not_fit_is_not_passed_over():
    parameters = {key: value for key, value in OTHER.items() if 'running' not in key}
    with pytest.raises(ConversionError, match=r"2 problem.*\['ema'\], the EMA copy \(ema=False takes the ordinary"):
        from_torch(OD, {'model': STATE, 'ema': parameters}, ARGUMENTS)
    from_torch(OD, {'model': STATE, 'ema': parameters}, ARGUMENTS, ema=False)


def test_a_checkpoint_of_something_else():
    with pytest.raises(ConversionError) as caught:
        from_torch(OD, {'epoch': 1, 'state_dict': {'fc.weight': np.ones(3), 'b': np.ones(3)}}, ARGUMENTS)
    assert "in ['state_dict']:" in str(caught.value) and "unused key 'fc.weight'" in str(caught.value)
    with pytest.raises(ConversionError, match=r"unused key 'epoch'.*\n.*missing key 'attention"):
        from_torch(OD, {'epoch': 1}, ARGUMENTS)
    with pytest.raises(ConversionError, match="missing key 'weight'"):
        from_torch(OD, {}, ARGUMENTS)


def test_a_table_that_holds_itself():
    checkpoint = {'model': STATE}
    checkpoint['self'] = checkpoint
    same(unwrap(checkpoint, KEYS).state, STATE)


def test_counters_of_batches_are_all_there_or_none():
    keys = ['a.weight', 'a.num_batches_tracked', 'b.weight', 'b.num_batches_tracked']
    old = {'a.weight': 1, 'b.weight': 2}
    # PyTorch itself reads such files; two copies of them are two all the same.
    assert unwrap({'state_dict': prefixed('module.', old)}, keys).state == old
    with pytest.raises(ConversionError, match='ambiguous'):
        unwrap({'a': old, 'b': dict(old)}, keys)
    with pytest.raises(ConversionError, match=r"1 problem.*\n.*missing key 'attention.bn.num_batches_tracked'"):
        from_torch(OD, {key: value for key, value in STATE.items() if key != COUNTER}, ARGUMENTS)


def test_tensors_of_every_precision():
    torch = pytest.importorskip('torch', reason='tensors as they are in a checkpoint')
    for dtype in (torch.bfloat16, torch.float16, torch.float64):
        state = {k: torch.tensor(np.array(v)) for k, v in STATE.items()}
        state = {k: v.to(dtype) if v.is_floating_point() else v for k, v in state.items()}
        model = torch.nn.ParameterDict({})  # a wrapper may be any mapping's neighbour
        _, variables = from_torch(OD, {'net': state, 'ema': None, 'other': model}, ARGUMENTS)
        back = to_torch(OD, variables, ARGUMENTS)
        for key, tensor in state.items():
            bits = tensor.view(torch.int16).numpy() if dtype == torch.bfloat16 and tensor.is_floating_point() else None
            expected = tensor.numpy() if bits is None else bits.view(jnp.bfloat16)
            assert back[key].dtype == expected.dtype and back[key].tobytes() == expected.tobytes()


def test_averages_as_pytorch_saves_them():
    torch = pytest.importorskip('torch', reason="PyTorch's own AveragedModel, DataParallel and compile write the keys")
    layer = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.BatchNorm1d(3))
    plain = layer.state_dict()
    averaged = torch.optim.swa_utils.AveragedModel(layer).state_dict()
    assert 'n_averaged' in averaged
    taken = unwrap({'model': plain, 'model_ema': averaged}, plain)
    assert taken.averaged and not taken.leftovers and taken.state.keys() == plain.keys()
    for wrapper in (torch.nn.DataParallel, torch.compile):
        taken = unwrap(wrapper(layer).state_dict(), plain)
        assert taken.state.keys() == plain.keys() and taken.prefix in ('module.', '_orig_mod.')


def test_variables_are_trees_of_arrays():
    _, variables = from_torch(OD, BOTH['torchvision'], ARGUMENTS)
    assert all(isinstance(leaf, np.ndarray) for leaf in jax.tree.leaves(variables))
