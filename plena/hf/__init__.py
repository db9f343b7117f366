"""Language models of transformers as programs with a KV cache (extra `hf`; docs/language_models.md)."""

from plena.hf.causal_lm import PlenaForCausalLM
from plena.hf.report import LanguageReport
from plena.hf.teacher_forced import LanguageCheck

__all__ = ["LanguageCheck", "LanguageReport", "PlenaForCausalLM"]
