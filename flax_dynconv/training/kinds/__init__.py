"""The kinds of problems that `flax-dynconv train` knows: one file each.

A kind says `create_task(settings)`, `networks(settings)` (role -> name), `build(name, num_outputs, settings)` (the
module), `unused_by_data(settings)`, names of settings that its task has a use for, but not with these data, and
`RECIPE` and `FULL`, the names of the recipes that `--task` alone and `--task` with `--full` stand for.
"""
