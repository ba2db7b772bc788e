"""Training: tasks, state, pure steps, schedules, the loop, checkpoints, pictures and their command lines."""
