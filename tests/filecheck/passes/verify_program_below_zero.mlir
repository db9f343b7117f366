// RUN: not plena-opt %s -p verify-program 2>&1 | filecheck %s

// An address below zero is one behind the end of every memory once it is in a register.
builtin.module {
  %a = plena_isa.register : !plena_isa.a<a0>
  %zero = loop.affine 0
  %0 = loop.affine -64
  plena_isa.v_exp_v dst(%zero) a(%0)
  loop.for %i = 0 to 4 {
    %1 = loop.affine 128 + -64 * %i
    plena_isa.v_exp_v dst(%1) a(%zero)
    plena_isa.m_mm_wo dst(%1) stride(%zero)
    plena_isa.h_prefetch_v dst(%zero) off(%1) base(%a : !plena_isa.a<a0>)
    plena_isa.h_store_v src(%zero) off(%1) base(%a : !plena_isa.a<a0>)
  }
  loop.for %j = 0 to 3 {
    %2 = loop.affine 128 + -64 * %j
    plena_isa.v_exp_v dst(%2) a(%zero)
  }
  %3 = loop.affine -1
  %4 = plena_isa.s_ld_int base(%3)
}

// CHECK:      verify-program: the program would abort:
// CHECK-NEXT: plena_isa.v_exp_v{{.*}}: error: a: -64 is below zero [vram-range]
// CHECK-NEXT: plena_isa.v_exp_v{{.*}}: error: dst: down to -64: it is below zero [vram-range]
// CHECK-NEXT: plena_isa.m_mm_wo{{.*}}: error: dst: down to -64: it is below zero [vram-range]
// CHECK-NEXT: plena_isa.h_store_v{{.*}}: error: off: down to -64: it is below zero [hbm-write-range]
// CHECK-NEXT: plena_isa.s_ld_int{{.*}}: error: base: -1 is below zero [int-sram-range]
// CHECK-NEXT: plena_isa.h_prefetch_v{{.*}}: error: off: down to -64: it is below zero [hbm-read-range]
// CHECK-NOT:  error
