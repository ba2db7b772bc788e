"""PyTorch state_dict <-> Flax variables as rule tables, and the proof that the outputs agree."""

from flax_dynconv.convert.api import from_torch, get_reference, to_torch
from flax_dynconv.convert.cases import Case, load_case, save_case
from flax_dynconv.convert.errors import CaseError, ConversionError
from flax_dynconv.convert.pretrained import load_pretrained
from flax_dynconv.convert.pretrained_names import PRETRAINED
from flax_dynconv.convert.reference import ModuleRule, Reference
from flax_dynconv.convert.references import REFERENCES
from flax_dynconv.convert.report import Comparison, Report
from flax_dynconv.convert.rules import Rule, RuleTable, mount
from flax_dynconv.convert.saving import save_reference_case
from flax_dynconv.convert.unwrapping import Unwrapped, unwrap
from flax_dynconv.convert.verifier import verify
from flax_dynconv.convert.weight_files import load_variables, load_weights, save_variables, save_weights

__all__ = [
    'PRETRAINED',
    'REFERENCES',
    'Case',
    'CaseError',
    'Comparison',
    'ConversionError',
    'ModuleRule',
    'Reference',
    'Report',
    'Rule',
    'RuleTable',
    'Unwrapped',
    'from_torch',
    'get_reference',
    'load_case',
    'load_pretrained',
    'load_variables',
    'load_weights',
    'mount',
    'save_case',
    'save_reference_case',
    'save_variables',
    'save_weights',
    'to_torch',
    'unwrap',
    'verify',
]
