// RUN: plena-opt %s -p verify-program | filecheck %s
// RUN: plena-opt %s -p set-state,materialize-addresses,allocate-registers,verify-program -t plena-asm | filecheck %s --check-prefix=ASM
// RUN: not plena-opt %s -p verify-program --set VECTOR_SRAM_SIZE=128 2>&1 | filecheck %s --check-prefix=SMALL

// 64 rows from row 64 on; then the numbers of a table, whose range the loading op declares.
builtin.module {
  %f = plena_isa.register : !plena_isa.f
  loop.for %i = 0 to 64 {
    %0 = loop.affine 4096 + 64 * %i
    plena_isa.v_exp_v dst(%0) a(%0)
  }
  %1 = loop.affine 5
  %2 = plena_isa.s_ld_int base(%1) attributes {plena.range = [#builtin.int<0>, #builtin.int<31>]}
  %3 = loop.affine 0 + 64 * %2
  plena_isa.v_exp_v dst(%3) a(%3)
  %4 = loop.affine 8192
  plena_isa.v_exp_v dst(%4) a(%4)
}

// CHECK:     loop.for
// CHECK:     plena_isa.s_ld_int
// ASM:       V_EXP_V
// SMALL:     verify-program: the program would abort:
// SMALL:     plena_isa.v_exp_v{{.*}}: error: a: 8192 is out of range, the last is 8128 [vram-range]
// SMALL:     error: dst: 8192 is out of range, the last is 8128 [vram-range]
// SMALL-NOT: vram-range
