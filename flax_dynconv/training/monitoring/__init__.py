"""What one sees of a training run: progress, logs, curves; each observer is one file."""

from flax_dynconv.training.monitoring.attention_entropy import attention_entropy
from flax_dynconv.training.monitoring.observer import Observer, Observers, Watcher

__all__ = ['Observer', 'Observers', 'Watcher', 'attention_entropy']
