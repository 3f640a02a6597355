"""What Numba compiles for: which vectors the compiler makes, and settings it cannot work with.

The host is not asked: NUMBA_CPU_NAME, NUMBA_CPU_FEATURES and NUMBA_ENABLE_AVX may say otherwise, a
name may imply features, and one feature another. So the compiler itself is: some lines are
compiled for the processor that Numba names, and the instructions are looked at.
"""

import functools
import re
import sys

import llvmlite.binding as llvm
from numba import config
from numba.core import codegen

# A feature is there if one of these functions is compiled to such an instruction.
_EVIDENCE = {"avx512f": "vaddps.*zmm", "avx2": "vpaddd.*ymm", "fma": "vfmadd", "neon": "fmla"}
_FUNCTIONS = """
define <16 x float> @wide(<16 x float> %a, <16 x float> %b) {
  %c = fadd <16 x float> %a, %b
  ret <16 x float> %c
}
define <8 x i32> @integers(<8 x i32> %a, <8 x i32> %b) {
  %c = add <8 x i32> %a, %b
  ret <8 x i32> %c
}
declare <4 x float> @llvm.fma.v4f32(<4 x float>, <4 x float>, <4 x float>)
define <4 x float> @fused(<4 x float> %a, <4 x float> %b, <4 x float> %c) {
  %d = call <4 x float> @llvm.fma.v4f32(<4 x float> %a, <4 x float> %b, <4 x float> %c)
  ret <4 x float> %d
}
define double @number(double %a, double %b) {
  %c = fadd double %a, %b
  ret double %c
}
"""
_TRIAL = """
import sys
import llvmlite.binding as llvm
llvm.initialize_native_target()
llvm.initialize_native_asmprinter()
name, features, functions = sys.argv[1:]
target = llvm.Target.from_triple(llvm.get_process_triple())
machine = target.create_target_machine(cpu=name, features=features, opt=2)
machine.emit_assembly(llvm.parse_assembly(functions))
"""


def check_settings() -> None:
    """Refuse settings that the compiler cannot work with, before the first one is made.

    Raises:
        ValueError: NUMBA_CPU_NAME or NUMBA_CPU_FEATURES.
    """
    if config.CPU_NAME is None and config.CPU_FEATURES is None:
        return
    wanted = config.CPU_FEATURES.split(",") if config.CPU_FEATURES else []
    if not all(feature[:1] in ("+", "-") and feature[1:].strip() for feature in wanted):
        raise _refusal("expected features with a + or a - before each, e.g. '+avx2,+fma'")
    lacking = {feature[1:] for feature in _host()[1].split(",") if feature.startswith("-")}
    for feature in wanted:
        if feature[0] == "+" and feature[1:] in lacking:
            raise _refusal(f"this processor has no {feature[1:]}")
    # What it cannot make anything of ends the process: so it is tried in another one.
    if sys.executable and not getattr(sys, "frozen", False):
        import subprocess  # seldom needed

        command = [sys.executable, "-P", "-c", _TRIAL, *_numbas(), _FUNCTIONS]
        if subprocess.run(command, check=False, capture_output=True).returncode:
            raise _refusal("the compiler cannot make code for such a 64-bit processor")


@functools.cache
def features() -> frozenset[str]:
    """Return which of avx512f, avx2, fma and neon Numba compiles for.

    Raises:
        ValueError: this processor lacks one of them.
    """
    found, here = _features(*_numbas()), _features(*_host())
    if not found <= here:
        raise _refusal(f"this processor has no {', '.join(sorted(found - here))}")
    return found


def _refusal(reason: str) -> ValueError:
    given = {"NUMBA_CPU_NAME": config.CPU_NAME, "NUMBA_CPU_FEATURES": config.CPU_FEATURES}
    said = " and ".join(
        f"{name} is {value!r}" for name, value in given.items() if value is not None
    )
    return ValueError(f"{said}: {reason}; correct it, or unset it.")


@functools.cache
def _features(name: str, features: str) -> frozenset[str]:
    codegen.initialize_llvm()
    target = llvm.Target.from_triple(llvm.get_process_triple())
    machine = target.create_target_machine(cpu=name, features=features, opt=2)
    assembly = machine.emit_assembly(llvm.parse_assembly(_FUNCTIONS))
    return frozenset(feature for feature, sign in _EVIDENCE.items() if re.search(sign, assembly))


def _host() -> tuple[str, str]:
    """Return the name of this processor, and its features."""
    try:
        return llvm.get_host_cpu_name(), llvm.get_host_cpu_features().flatten()
    except RuntimeError:  # the compiler cannot tell on this system; Numba goes by the name alone
        return llvm.get_host_cpu_name(), ""


def _numbas() -> tuple[str, str]:
    """Return the name of the processor that Numba compiles for, and the features: codegen's."""
    name = llvm.get_host_cpu_name() if config.CPU_NAME is None else config.CPU_NAME
    if config.CPU_FEATURES is not None:
        return name, config.CPU_FEATURES
    return name, codegen.get_host_cpu_features()
