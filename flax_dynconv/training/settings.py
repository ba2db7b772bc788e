"""Every choice of a training run in frozen records; command line and recipes fill them, `config.json` keeps them.

Longer than other files: it is one table, whose texts are the help of the command line.
"""

import dataclasses
import json
import math
from typing import Literal

INF = math.inf


def _check(record, **ranges):
    """ValueError unless each named field is None or a finite number from low (included) to high (included)."""
    for name, (low, high) in ranges.items():
        value = getattr(record, name)
        for number in value if isinstance(value, tuple) else (value,):
            if number is not None and not (math.isfinite(number) and low <= number <= high):
                bounds = f'>= {low}' if high == INF else f'from {low} to {high}'
                raise ValueError(f'{name} must be a number {bounds}, got {number}')


def _check_positive(record, *names):
    for name in names:
        value = getattr(record, name)
        if value is not None and not (math.isfinite(value) and value > 0):
            raise ValueError(f'{name} must be a number > 0, got {value}')


@dataclasses.dataclass(frozen=True)
class Network:
    """The network: a name of `create_model` and its arguments."""

    model: str = 'odconv_resnet8_4x'
    """network, by name (`flax-dynconv models` lists them)"""
    width: float = 1.0
    """multiplies the channels"""
    num_kernels: int | None = None
    """kernels of each bank; None: as many as the network has"""
    dropout: float | None = None
    """rate before the classifier, or in the heads; None: 0 for classifiers, the network's own for segmentation"""
    drop_path: float = 0.0
    """stochastic depth: rate of the last block, rising linearly from 0"""
    dtype: Literal['float32', 'bfloat16', 'float16'] = 'float32'
    """of the computation; the state, routing and loss stay in float32; float16 has no loss scaling"""
    remat: bool = False
    """compute the blocks' activations again in the backward pass instead of keeping them"""
    arguments: str = '{}'
    """further constructor arguments, as JSON"""

    def __post_init__(self):
        _check_positive(self, 'width')
        _check(self, num_kernels=(1, INF), dropout=(0, 0.999), drop_path=(0, 0.999))
        try:
            arguments = json.loads(self.arguments)
        except json.JSONDecodeError as error:
            raise ValueError(f'arguments must be JSON, got {self.arguments!r}: {error}') from error
        if not isinstance(arguments, dict):
            raise ValueError(f'arguments must be a JSON object, got {self.arguments!r}')

    @property
    def model_dtype(self):
        """The argument `dtype` of `create_model`: None, which follows float32 parameters, for float32."""
        return None if self.dtype == 'float32' else self.dtype


@dataclasses.dataclass(frozen=True)
class Images:
    """The images and how they are read."""

    data: str = 'digits'
    """digits, FOLDER, .zip, .tar, arrayrecord:DIR, hf:NAME, tfds:NAME; or noise, bouncing, shapes, scenes, PATH"""
    batch_size: int = 32
    """images per step, on all devices and hosts together"""
    evaluation_batch_size: int | None = None
    """images per step of an evaluation; None: batch_size"""
    image_size: int | None = None
    """pixels of an input; None: what the network's published weights expect"""
    resize: int | None = None
    """pixels of the shorter side before the central crop of an evaluation; None: as published"""
    interpolation: Literal['bilinear', 'bicubic'] | None = None
    """PIL's filter; None: as published"""
    mean: tuple[float, float, float] | None = None
    """of red, green and blue, from 0 to 1: what is subtracted; None: as published"""
    std: tuple[float, float, float] | None = None
    """of red, green and blue: what the difference is divided by; None: as published"""
    reader_threads: int = 4
    """threads that read and decode, on each host"""
    reader_processes: int = 0
    """processes with such threads; 0: in the training process"""

    def __post_init__(self):
        # Batch norm of a single example is its bias.
        _check(self, batch_size=(2, INF), evaluation_batch_size=(1, INF), image_size=(1, INF), resize=(1, INF))
        _check(self, reader_threads=(1, INF), reader_processes=(0, INF), mean=(0, 1), std=(1e-6, INF))

    @property
    def test_batch_size(self):
        """Images per step of an evaluation."""
        return self.batch_size if self.evaluation_batch_size is None else self.evaluation_batch_size


# The fields that say what an image becomes before it is an input: what weights are published for.
INPUTS = ('image_size', 'resize', 'interpolation', 'mean', 'std')


@dataclasses.dataclass(frozen=True)
class Augmentation:
    """What happens to training images, in this order, and to their labels."""

    crop: Literal['none', 'random-resized', 'padded'] = 'none'
    """none: as in an evaluation; random-resized: a random part, scaled; padded: a shift within a black margin"""
    crop_scale: tuple[float, float] = (0.08, 1.0)
    """share of the area that random-resized keeps"""
    crop_ratio: tuple[float, float] = (3 / 4, 4 / 3)
    """width to height of what it keeps"""
    crop_padding: int = 4
    """pixels of the margin of padded"""
    flip: float = 0.0
    """probability of a mirror image"""
    randaugment: int = 0
    """RandAugment: operations per image"""
    randaugment_magnitude: float = 9.0
    """RandAugment: strength, from 0 to 10"""
    randaugment_deviation: float = 0.5
    """RandAugment: standard deviation of the strength"""
    color_jitter: float = 0.0
    """largest relative change of brightness, contrast and saturation"""
    erasing: float = 0.0
    """probability that a rectangle is replaced by noise"""
    mixup: float = 0.0
    """alpha of the Beta law of mixup; 0: off"""
    cutmix: float = 0.0
    """alpha of the Beta law of CutMix; 0: off; with mixup: one or the other, evenly"""
    mixing_probability: float = 1.0
    """probability that mixup or CutMix is applied"""
    label_smoothing: float = 0.0
    """share of the label that all classes divide evenly"""

    def __post_init__(self):
        _check(self, crop_padding=(0, INF), randaugment=(0, INF), randaugment_magnitude=(0, 10))
        _check(self, randaugment_deviation=(0, INF), color_jitter=(0, 1), mixup=(0, INF), cutmix=(0, INF))
        _check(self, flip=(0, 1), erasing=(0, 1), mixing_probability=(0, 1), label_smoothing=(0, 0.999))
        for name, most in (('crop_scale', 1.0), ('crop_ratio', INF)):
            low, high = getattr(self, name)
            if not 0 < low <= high <= most:
                raise ValueError(f'{name} must be two numbers, 0 < low <= high <= {most}, got {(low, high)}')


@dataclasses.dataclass(frozen=True)
class Segmentation:
    """Labels of pixels: which count, how training cuts images to one size, and how whole images are computed."""

    ignore_label: int = 255
    """the label of pixels that count nowhere"""
    reduce_zero_label: bool = False
    """labels in files begin at 1, and 0 is no class but ignored"""
    class_names: str = ''
    """file with the names of the classes, a line for each label; '': classes.txt of the data, or numbers"""
    pixel_average: Literal['all', 'valid'] = 'all'
    """the loss is divided by the number of all pixels, also ignored ones, or of those that are not ignored (in each
    part of the batch by itself, whose means are averaged, under --accumulate or --batch-statistics device)"""
    auxiliary_weight: float = 0.4
    """of the loss of the auxiliary head"""
    scale_range: tuple[float, float] = (0.5, 2.0)
    """by how much training images are scaled, at random"""
    crop_size: tuple[int, int] | None = None
    """height and width of the part of a training image that is an input; None: a square of image_size"""
    crop_share: float = 0.75
    """largest share of a crop that one class may have, if ten attempts find such a crop; 1: any crop"""
    inference: Literal['whole', 'slide'] = 'whole'
    """test images as a whole, or window by window, averaged where windows overlap"""
    window: tuple[int, int] | None = None
    """slide: height and width of the windows; None: crop_size"""
    window_stride: tuple[int, int] | None = None
    """slide: pixels from window to window, down and across; None: two thirds of the window"""

    def __post_init__(self):
        _check(self, ignore_label=(0, 65535), auxiliary_weight=(0, INF), crop_share=(0, 1))
        _check(self, crop_size=(1, INF), window=(1, INF), window_stride=(1, INF))
        low, high = self.scale_range
        if not 0 < low <= high < INF:
            raise ValueError(f'scale_range must be two numbers, 0 < low <= high, got {(low, high)}')


@dataclasses.dataclass(frozen=True)
class Instances:
    """Objects with masks: sizes of images, how many objects and locations there are room for, and what is detected."""

    canvas: tuple[int, int] | None = None
    """height and width of an input, multiples of 32; images lie in its corner; None: a square of image_size"""
    shorter_sides: tuple[int, ...] = ()
    """pixels of the shorter side of training images, one of them at random; none: that of test images, --resize"""
    longer_side: int = 1333
    """most pixels of the longer side of a scaled image"""
    skip_empty: bool = False
    """leave out polygons, masks and boxes without an extent, with a warning, instead of refusing the file"""
    max_instances: int = 100
    """objects of a training image that there is room for; of more the largest are taken"""
    max_positives: int = 64
    """locations of a training image whose masks are trained; the best of each object, in equal shares"""
    mask_loss: Literal['dice', 'boxinst'] = 'dice'
    """of masks, or of boxes and colours alone (BoxInst): masks of the data are then for the figures"""
    pairwise_warmup: int = 10000
    """boxinst: steps in which the weight of what neighbouring pixels have in common grows from 0 to 1"""
    bottom_rows: int = 10
    """boxinst: last rows of an image, before it is scaled, whose colours are not compared"""
    semantic_weight: float = 1.0
    """of the loss of the class of every pixel, where the network has such an output"""
    score_threshold: float = 0.05
    """least probability of a class, times that of being central, of a detection"""
    nms_threshold: float = 0.6
    """overlap (IoU) beyond which the less probable of two detections of a class is dropped"""
    detections: int = 100
    """most detections of an image"""

    def __post_init__(self):
        _check(self, canvas=(32, INF), shorter_sides=(1, INF), longer_side=(1, INF), semantic_weight=(0, INF))
        _check(self, max_instances=(1, INF), max_positives=(1, INF), detections=(1, INF), pairwise_warmup=(1, INF))
        _check(self, score_threshold=(0, 1), nms_threshold=(0, 1), bottom_rows=(0, INF))


@dataclasses.dataclass(frozen=True)
class Saliency:
    """Salient objects in images with depth: the loss, rotation, and which depth is seen."""

    enhanced_weight: float = 1.0
    """of the enhanced loss (edges, foreground and background, each with its own mean) beside cross-entropy"""
    rotation: float = 0.0
    """largest angle, in degrees, by which training images are turned, at random, with their depth and masks"""
    depth_from: Literal['own', 'other', 'flat'] = 'own'
    """depth that images come with: their own; that of another image; none, 0.5 in every pixel"""

    def __post_init__(self):
        _check(self, enhanced_weight=(0, INF), rotation=(0, 180))


@dataclasses.dataclass(frozen=True)
class Drawn:
    """How many examples there are of data that are drawn (shapes, for instance) or held out of one array."""

    train_examples: int = 1600
    """drawn data: examples of an epoch; every epoch has others"""
    test_examples: int = 160
    """drawn data: test examples, the same in every run; data without a test set: as many, their last, are held out"""

    def __post_init__(self):
        _check(self, train_examples=(2, INF), test_examples=(1, INF))


@dataclasses.dataclass(frozen=True)
class Frames:
    """Videos: what is seen, what is predicted, how that is judged, and how digits move."""

    input_frames: int = 10
    """frames that are seen; of stereo pairs 1, the left image"""
    output_frames: int = 10
    """frames that are predicted; of stereo pairs 1, the right image"""
    frame_loss: Literal['bce', 'mse'] = 'bce'
    """of a pixel: binary cross-entropy or squared error"""
    moving_digits: int = 2
    """bouncing: digits in a video"""
    digit_step: float = 0.1
    """bouncing: what a digit moves from frame to frame; 1 is from edge to edge"""

    def __post_init__(self):
        _check(self, input_frames=(1, INF), output_frames=(1, INF), moving_digits=(1, INF), digit_step=(0, 1))


@dataclasses.dataclass(frozen=True)
class Optimization:
    """Optimiser and schedules; lengths of time are in epochs."""

    optimizer: Literal['sgd', 'adamw', 'rmsprop', 'lamb'] = 'sgd'
    """rmsprop is TensorFlow's: epsilon inside the root, momentum of the scaled steps"""
    learning_rate: float = 0.1
    """where the schedule starts after warm-up"""
    learning_rate_batch: int | None = None
    """the batch size that learning_rate is for: it is scaled in proportion; None: no scaling"""
    momentum: float = 0.9
    """of sgd and rmsprop; the first beta of adamw and lamb"""
    nesterov: bool = False
    """of sgd"""
    second_moment: float | None = None
    """decay of squared gradients; None: 0.9 for rmsprop, 0.999 for adamw and lamb"""
    epsilon: float | None = None
    """of the optimiser; None: 1e-3 for rmsprop, 1e-8 for adamw, 1e-6 for lamb"""
    weight_decay: float = 1e-4
    """sgd, rmsprop: added to the gradient; adamw, lamb: decoupled"""
    no_decay: tuple[Literal['attention', 'kernel_bank', 'norm', 'bias'], ...] = ()
    """parameters without weight decay, by label; bias: all that is no kernel"""
    clip_norm: float | None = None
    """largest norm of the whole gradient"""
    accumulate: int = 1
    """parts into which a batch is divided to save memory; one update for all of them"""
    ema: float | None = None
    """decay of an average of parameters and statistics, which is what is evaluated"""
    schedule: Literal['cosine', 'step', 'exponential', 'polynomial', 'compound-polynomial', 'constant'] = 'cosine'
    """of the learning rate, after warm-up"""
    warmup_epochs: float = 1.0
    """epochs of linear growth from 0"""
    milestones: tuple[float, ...] = (30.0, 60.0, 90.0)
    """step: epochs of the run, from its start, at which the learning rate is multiplied by gamma"""
    gamma: float = 0.1
    """step, exponential: the factor"""
    decay_epochs: float = 2.4
    """exponential: epochs until one factor"""
    staircase: bool = False
    """exponential: in whole steps"""
    power: float = 1.0
    """polynomial, compound-polynomial: the exponent"""
    final_learning_rate: float = 0.0
    """cosine, polynomial, compound-polynomial: where they end"""
    per_epoch: bool = False
    """after warm-up the learning rate changes between epochs only"""
    temperature: float = 30.0
    """where the attention temperature starts; it ends at 1"""
    temperature_epochs: float | None = None
    """epochs of annealing, in every step; None: a third of the run"""

    def __post_init__(self):
        _check_positive(self, 'learning_rate', 'learning_rate_batch', 'epsilon', 'clip_norm', 'decay_epochs', 'gamma')
        _check(self, momentum=(0, 1), second_moment=(0, 1), ema=(0, 1), weight_decay=(0, INF), accumulate=(1, INF))
        _check(self, warmup_epochs=(0, INF), milestones=(0, INF), power=(0, INF), final_learning_rate=(0, INF))
        _check(self, temperature=(1, INF), temperature_epochs=(0, INF))


@dataclasses.dataclass(frozen=True)
class Parallel:
    """Devices and hosts."""

    sharding: Literal['replicate', 'fsdp', 'expert'] = 'replicate'
    """how parameters lie on the devices; see `flax_dynconv.training.sharding.presets`"""
    mesh: tuple[int, int, int] | None = None
    """devices along the axes data, fsdp and model; one may be -1: what is left; None: as --sharding needs"""
    batch_statistics: Literal['global', 'device'] = 'global'
    """whose mean and variance batch norm takes: the whole batch's, or those of each device's part of it"""
    distributed: Literal['auto', 'on', 'off'] = 'auto'
    """several hosts: auto, if the flags below, JAX_COORDINATOR_ADDRESS, SLURM or a TPU pod say so"""
    coordinator: str | None = None
    """address:port of the first host"""
    num_processes: int | None = None
    """number of hosts' processes"""
    process_id: int | None = None
    """which of them this is, from 0"""

    def __post_init__(self):
        _check(self, num_processes=(1, INF), process_id=(0, INF))
        if self.mesh is not None and (self.mesh.count(-1) > 1 or any(n < 1 and n != -1 for n in self.mesh)):
            raise ValueError(f'mesh must be three sizes >= 1, of which one may be -1, got {self.mesh}')


@dataclasses.dataclass(frozen=True)
class Saving:
    """Checkpoints, logs, and what to do when a loss is no number."""

    checkpoint_every: int | None = None
    """steps between checkpoints within an epoch; None: only after each epoch"""
    keep: int = 2
    """newest checkpoints that are kept, besides the best"""
    nonfinite: Literal['stop', 'skip'] = 'stop'
    """a NaN or infinite loss or gradient: stop with an error, or skip the update and count it"""
    log_every: int = 50
    """steps between lines in the logs"""
    tensorboard: bool = False
    """write TensorBoard events too"""

    def __post_init__(self):
        _check(self, checkpoint_every=(1, INF), keep=(1, INF), log_every=(1, INF))


@dataclasses.dataclass(frozen=True)
class Settings:
    """What `flax-dynconv train` trains, and how; the defaults are its defaults.

    Raises ValueError for a value out of range.

    >>> Settings(epochs=30).annealed_epochs
    10.0
    """

    task: Literal['classify', 'steerable', 'video', 'segment', 'instances', 'saliency'] = 'classify'
    """classify images; learn filters of any angle; predict frames; label every pixel; find objects and their masks;
    mark salient objects in images with depth: each with defaults of its own"""
    epochs: int = 30
    """passes over the training images"""
    seed: int = 0
    """of weights, shuffling and augmentation; the test images never change"""
    twin: bool = True
    """train the static twin of a dynamic network too"""
    network: Network = Network()
    images: Images = Images()
    augmentation: Augmentation = Augmentation()
    segmentation: Segmentation = Segmentation()
    instances: Instances = Instances()
    saliency: Saliency = Saliency()
    drawn: Drawn = Drawn()
    frames: Frames = Frames()
    optimization: Optimization = Optimization()
    parallel: Parallel = Parallel()
    saving: Saving = Saving()

    def __post_init__(self):
        _check(self, epochs=(1, INF), seed=(0, INF))
        if self.images.batch_size % self.optimization.accumulate:
            raise ValueError(
                f'accumulate must divide batch_size = {self.images.batch_size}, got {self.optimization.accumulate}'
            )

    @property
    def annealed_epochs(self):
        """Epochs until the attention temperature is 1: ODConv's ImageNet recipes take 10 of 100 or 150."""
        epochs = self.optimization.temperature_epochs
        return self.epochs / 3 if epochs is None else epochs

    def updated(self, **values):
        """A copy with fields set by their own names, in whichever record they are; ValueError for an unknown one.

        >>> Settings().updated(batch_size=64, learning_rate=0.2).images.batch_size
        64
        """
        groups, own = {}, {}
        for name, value in values.items():
            if name in OWNERS:
                groups.setdefault(OWNERS[name], {})[name] = value
            elif name in _TOP:
                own[name] = value
            else:
                raise ValueError(f'settings must be among {sorted((*OWNERS, *_TOP))}, got {name!r}')
        changed = {group: dataclasses.replace(getattr(self, group), **part) for group, part in groups.items()}
        return dataclasses.replace(self, **(own | changed))

    def flat(self):
        """{field name: value} of all records.

        >>> Settings(seed=3).flat()['seed']
        3
        """
        own = {name: getattr(self, name) for name in _TOP if name not in GROUPS}
        return own | {name: getattr(getattr(self, group), name) for name, group in OWNERS.items()}

    @classmethod
    def from_json(cls, flat):
        """The settings that `flat()` gave, after a passage through JSON; ValueError for unknown names.

        What is missing was written before there was such a setting, and has the default, which changes nothing.

        >>> Settings.from_json({'epochs': 3}) == Settings(epochs=3)
        True
        """
        if unknown := sorted(set(flat) - set(cls().flat())):
            raise ValueError(f'settings: unknown names {unknown}')
        return cls().updated(**{name: tuple(v) if isinstance(v, list) else v for name, v in flat.items()})


_TOP = tuple(field.name for field in dataclasses.fields(Settings))
GROUPS = {
    'network': Network,
    'images': Images,
    'augmentation': Augmentation,
    'segmentation': Segmentation,
    'instances': Instances,
    'saliency': Saliency,
    'drawn': Drawn,
    'frames': Frames,
    'optimization': Optimization,
    'parallel': Parallel,
    'saving': Saving,
}
# Which record a field is in; names are unique, so that they are flags of the command line without a prefix.
OWNERS = {field.name: group for group, record in GROUPS.items() for field in dataclasses.fields(record)}
