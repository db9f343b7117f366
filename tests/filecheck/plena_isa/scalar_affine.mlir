// RUN: PLENA_ROUNDTRIP

// The scalar instructions in affine form, without and with sticky state, immediates and flags.

builtin.module {
  %0 = plena_isa.register : !plena_isa.f
  %1 = plena_isa.register : !plena_isa.f
  %2 = plena_isa.register : !plena_isa.f
  loop.for %3 = 0 to 4 {
    %4 = loop.affine 192 + 52 * %3
    %5 = loop.affine 128 + 36 * %3
    plena_isa.s_add_fp dst(%0 : !plena_isa.f) a(%1 : !plena_isa.f) b(%2 : !plena_isa.f)
    plena_isa.s_add_fp dst(%0 : !plena_isa.f) a(%1 : !plena_isa.f) b(%2 : !plena_isa.f)
    plena_isa.s_sub_fp dst(%0 : !plena_isa.f) a(%1 : !plena_isa.f) b(%2 : !plena_isa.f)
    plena_isa.s_sub_fp dst(%0 : !plena_isa.f) a(%1 : !plena_isa.f) b(%2 : !plena_isa.f)
    plena_isa.s_max_fp dst(%0 : !plena_isa.f) a(%1 : !plena_isa.f) b(%2 : !plena_isa.f)
    plena_isa.s_max_fp dst(%0 : !plena_isa.f) a(%1 : !plena_isa.f) b(%2 : !plena_isa.f)
    plena_isa.s_mul_fp dst(%0 : !plena_isa.f) a(%1 : !plena_isa.f) b(%2 : !plena_isa.f)
    plena_isa.s_mul_fp dst(%0 : !plena_isa.f) a(%1 : !plena_isa.f) b(%2 : !plena_isa.f)
    plena_isa.s_exp_fp dst(%0 : !plena_isa.f) a(%1 : !plena_isa.f)
    plena_isa.s_exp_fp dst(%0 : !plena_isa.f) a(%1 : !plena_isa.f)
    plena_isa.s_reci_fp dst(%0 : !plena_isa.f) a(%1 : !plena_isa.f)
    plena_isa.s_reci_fp dst(%0 : !plena_isa.f) a(%1 : !plena_isa.f)
    plena_isa.s_sqrt_fp dst(%0 : !plena_isa.f) a(%1 : !plena_isa.f)
    plena_isa.s_sqrt_fp dst(%0 : !plena_isa.f) a(%1 : !plena_isa.f)
    plena_isa.s_ld_fp dst(%0 : !plena_isa.f) base(%4)
    plena_isa.s_ld_fp dst(%0 : !plena_isa.f) base(%4) imm = 5
    plena_isa.s_st_fp src(%0 : !plena_isa.f) base(%4)
    plena_isa.s_st_fp src(%0 : !plena_isa.f) base(%4) imm = 5
    plena_isa.s_map_v_fp dst(%5) base(%4)
    plena_isa.s_map_v_fp dst(%5) base(%4) imm = 5
    %6 = plena_isa.s_ld_int base(%4)
    %7 = plena_isa.s_ld_int base(%4) imm = 5
    plena_isa.s_st_int src(%5) base(%4)
    plena_isa.s_st_int src(%5) base(%4) imm = 5
  }
}

// CHECK:      builtin.module {
// CHECK-NEXT:   %0 = plena_isa.register : !plena_isa.f
// CHECK-NEXT:   %1 = plena_isa.register : !plena_isa.f
// CHECK-NEXT:   %2 = plena_isa.register : !plena_isa.f
// CHECK-NEXT:   loop.for %3 = 0 to 4 {
// CHECK-NEXT:     %4 = loop.affine 192 + 52 * %3
// CHECK-NEXT:     %5 = loop.affine 128 + 36 * %3
// CHECK-NEXT:     plena_isa.s_add_fp dst(%0 : !plena_isa.f) a(%1 : !plena_isa.f) b(%2 : !plena_isa.f)
// CHECK-NEXT:     plena_isa.s_add_fp dst(%0 : !plena_isa.f) a(%1 : !plena_isa.f) b(%2 : !plena_isa.f)
// CHECK-NEXT:     plena_isa.s_sub_fp dst(%0 : !plena_isa.f) a(%1 : !plena_isa.f) b(%2 : !plena_isa.f)
// CHECK-NEXT:     plena_isa.s_sub_fp dst(%0 : !plena_isa.f) a(%1 : !plena_isa.f) b(%2 : !plena_isa.f)
// CHECK-NEXT:     plena_isa.s_max_fp dst(%0 : !plena_isa.f) a(%1 : !plena_isa.f) b(%2 : !plena_isa.f)
// CHECK-NEXT:     plena_isa.s_max_fp dst(%0 : !plena_isa.f) a(%1 : !plena_isa.f) b(%2 : !plena_isa.f)
// CHECK-NEXT:     plena_isa.s_mul_fp dst(%0 : !plena_isa.f) a(%1 : !plena_isa.f) b(%2 : !plena_isa.f)
// CHECK-NEXT:     plena_isa.s_mul_fp dst(%0 : !plena_isa.f) a(%1 : !plena_isa.f) b(%2 : !plena_isa.f)
// CHECK-NEXT:     plena_isa.s_exp_fp dst(%0 : !plena_isa.f) a(%1 : !plena_isa.f)
// CHECK-NEXT:     plena_isa.s_exp_fp dst(%0 : !plena_isa.f) a(%1 : !plena_isa.f)
// CHECK-NEXT:     plena_isa.s_reci_fp dst(%0 : !plena_isa.f) a(%1 : !plena_isa.f)
// CHECK-NEXT:     plena_isa.s_reci_fp dst(%0 : !plena_isa.f) a(%1 : !plena_isa.f)
// CHECK-NEXT:     plena_isa.s_sqrt_fp dst(%0 : !plena_isa.f) a(%1 : !plena_isa.f)
// CHECK-NEXT:     plena_isa.s_sqrt_fp dst(%0 : !plena_isa.f) a(%1 : !plena_isa.f)
// CHECK-NEXT:     plena_isa.s_ld_fp dst(%0 : !plena_isa.f) base(%4)
// CHECK-NEXT:     plena_isa.s_ld_fp dst(%0 : !plena_isa.f) base(%4) imm = 5
// CHECK-NEXT:     plena_isa.s_st_fp src(%0 : !plena_isa.f) base(%4)
// CHECK-NEXT:     plena_isa.s_st_fp src(%0 : !plena_isa.f) base(%4) imm = 5
// CHECK-NEXT:     plena_isa.s_map_v_fp dst(%5) base(%4)
// CHECK-NEXT:     plena_isa.s_map_v_fp dst(%5) base(%4) imm = 5
// CHECK-NEXT:     %6 = plena_isa.s_ld_int base(%4)
// CHECK-NEXT:     %7 = plena_isa.s_ld_int base(%4) imm = 5
// CHECK-NEXT:     plena_isa.s_st_int src(%5) base(%4)
// CHECK-NEXT:     plena_isa.s_st_int src(%5) base(%4) imm = 5
// CHECK-NEXT:   }
// CHECK-NEXT: }
