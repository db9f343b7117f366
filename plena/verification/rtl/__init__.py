"""`verify(..., machine="rtl")`: the rules R01 to R38 for programs on the public RTL (plena_rtl.md section 7.3).

`rules.py` says what a rule is and lists them; `words.py`, `loops.py`, `addresses.py`, `distances.py` and `hazards.py`
hold them; `flow.py` follows a program in execution order. Nothing here was run on the RTL: the rules come from reading
its code and documents, and each finding says from which.
"""

from plena.verification.rtl.check import verify_rtl
from plena.verification.rtl.rules import RULES, Evidence, Rule

__all__ = ["RULES", "Evidence", "Rule", "verify_rtl"]
