// RUN: PLENA_ROUNDTRIP

// The scalar instructions in register form, immediates and flags at their limits.

builtin.module {
  %0 = plena_isa.register : !plena_isa.f<f1>
  %1 = plena_isa.register : !plena_isa.f<f2>
  %2 = plena_isa.register : !plena_isa.f<f3>
  %3 = plena_isa.register : !plena_isa.gp<gp2>
  %4 = plena_isa.register : !plena_isa.gp<gp1>
  %5 = plena_isa.register : !plena_isa.gp<gp3>
  plena_isa.s_add_fp dst(%0 : !plena_isa.f<f1>) a(%1 : !plena_isa.f<f2>) b(%2 : !plena_isa.f<f3>)
  plena_isa.s_sub_fp dst(%0 : !plena_isa.f<f1>) a(%1 : !plena_isa.f<f2>) b(%2 : !plena_isa.f<f3>)
  plena_isa.s_max_fp dst(%0 : !plena_isa.f<f1>) a(%1 : !plena_isa.f<f2>) b(%2 : !plena_isa.f<f3>)
  plena_isa.s_mul_fp dst(%0 : !plena_isa.f<f1>) a(%1 : !plena_isa.f<f2>) b(%2 : !plena_isa.f<f3>)
  plena_isa.s_exp_fp dst(%0 : !plena_isa.f<f1>) a(%1 : !plena_isa.f<f2>)
  plena_isa.s_reci_fp dst(%0 : !plena_isa.f<f1>) a(%1 : !plena_isa.f<f2>)
  plena_isa.s_sqrt_fp dst(%0 : !plena_isa.f<f1>) a(%1 : !plena_isa.f<f2>)
  plena_isa.s_ld_fp dst(%0 : !plena_isa.f<f1>) base(%3 : !plena_isa.gp<gp2>) imm = 262143
  plena_isa.s_st_fp src(%0 : !plena_isa.f<f1>) base(%3 : !plena_isa.gp<gp2>) imm = 262143
  plena_isa.s_map_v_fp dst(%4 : !plena_isa.gp<gp1>) base(%3 : !plena_isa.gp<gp2>) imm = 262143
  plena_isa.s_add_int dst(%4 : !plena_isa.gp<gp1>) a(%3 : !plena_isa.gp<gp2>) b(%5 : !plena_isa.gp<gp3>)
  plena_isa.s_addi_int dst(%4 : !plena_isa.gp<gp1>) a(%3 : !plena_isa.gp<gp2>) imm = 262143
  plena_isa.s_sub_int dst(%4 : !plena_isa.gp<gp1>) a(%3 : !plena_isa.gp<gp2>) b(%5 : !plena_isa.gp<gp3>)
  plena_isa.s_mul_int dst(%4 : !plena_isa.gp<gp1>) a(%3 : !plena_isa.gp<gp2>) b(%5 : !plena_isa.gp<gp3>)
  plena_isa.s_lui_int dst(%4 : !plena_isa.gp<gp1>) imm = 4194303
  plena_isa.s_ld_int dst(%4 : !plena_isa.gp<gp1>) base(%3 : !plena_isa.gp<gp2>) imm = 262143
  plena_isa.s_st_int src(%4 : !plena_isa.gp<gp1>) base(%3 : !plena_isa.gp<gp2>) imm = 262143
}

// CHECK:      builtin.module {
// CHECK-NEXT:   %0 = plena_isa.register : !plena_isa.f<f1>
// CHECK-NEXT:   %1 = plena_isa.register : !plena_isa.f<f2>
// CHECK-NEXT:   %2 = plena_isa.register : !plena_isa.f<f3>
// CHECK-NEXT:   %3 = plena_isa.register : !plena_isa.gp<gp2>
// CHECK-NEXT:   %4 = plena_isa.register : !plena_isa.gp<gp1>
// CHECK-NEXT:   %5 = plena_isa.register : !plena_isa.gp<gp3>
// CHECK-NEXT:   plena_isa.s_add_fp dst(%0 : !plena_isa.f<f1>) a(%1 : !plena_isa.f<f2>) b(%2 : !plena_isa.f<f3>)
// CHECK-NEXT:   plena_isa.s_sub_fp dst(%0 : !plena_isa.f<f1>) a(%1 : !plena_isa.f<f2>) b(%2 : !plena_isa.f<f3>)
// CHECK-NEXT:   plena_isa.s_max_fp dst(%0 : !plena_isa.f<f1>) a(%1 : !plena_isa.f<f2>) b(%2 : !plena_isa.f<f3>)
// CHECK-NEXT:   plena_isa.s_mul_fp dst(%0 : !plena_isa.f<f1>) a(%1 : !plena_isa.f<f2>) b(%2 : !plena_isa.f<f3>)
// CHECK-NEXT:   plena_isa.s_exp_fp dst(%0 : !plena_isa.f<f1>) a(%1 : !plena_isa.f<f2>)
// CHECK-NEXT:   plena_isa.s_reci_fp dst(%0 : !plena_isa.f<f1>) a(%1 : !plena_isa.f<f2>)
// CHECK-NEXT:   plena_isa.s_sqrt_fp dst(%0 : !plena_isa.f<f1>) a(%1 : !plena_isa.f<f2>)
// CHECK-NEXT:   plena_isa.s_ld_fp dst(%0 : !plena_isa.f<f1>) base(%3 : !plena_isa.gp<gp2>) imm = 262143
// CHECK-NEXT:   plena_isa.s_st_fp src(%0 : !plena_isa.f<f1>) base(%3 : !plena_isa.gp<gp2>) imm = 262143
// CHECK-NEXT:   plena_isa.s_map_v_fp dst(%4 : !plena_isa.gp<gp1>) base(%3 : !plena_isa.gp<gp2>) imm = 262143
// CHECK-NEXT:   plena_isa.s_add_int dst(%4 : !plena_isa.gp<gp1>) a(%3 : !plena_isa.gp<gp2>) b(%5 : !plena_isa.gp<gp3>)
// CHECK-NEXT:   plena_isa.s_addi_int dst(%4 : !plena_isa.gp<gp1>) a(%3 : !plena_isa.gp<gp2>) imm = 262143
// CHECK-NEXT:   plena_isa.s_sub_int dst(%4 : !plena_isa.gp<gp1>) a(%3 : !plena_isa.gp<gp2>) b(%5 : !plena_isa.gp<gp3>)
// CHECK-NEXT:   plena_isa.s_mul_int dst(%4 : !plena_isa.gp<gp1>) a(%3 : !plena_isa.gp<gp2>) b(%5 : !plena_isa.gp<gp3>)
// CHECK-NEXT:   plena_isa.s_lui_int dst(%4 : !plena_isa.gp<gp1>) imm = 4194303
// CHECK-NEXT:   plena_isa.s_ld_int dst(%4 : !plena_isa.gp<gp1>) base(%3 : !plena_isa.gp<gp2>) imm = 262143
// CHECK-NEXT:   plena_isa.s_st_int src(%4 : !plena_isa.gp<gp1>) base(%3 : !plena_isa.gp<gp2>) imm = 262143
// CHECK-NEXT: }
