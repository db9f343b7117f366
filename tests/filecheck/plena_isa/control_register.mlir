// RUN: PLENA_ROUNDTRIP

// The control instructions in register form, immediates and flags at their limits.

builtin.module {
  %0 = plena_isa.register : !plena_isa.a<a1>
  %1 = plena_isa.register : !plena_isa.gp<gp2>
  %2 = plena_isa.register : !plena_isa.gp<gp3>
  %3 = plena_isa.register : !plena_isa.gp<gp1>
  plena_isa.c_set_addr_reg dst(%0 : !plena_isa.a<a1>) hi(%1 : !plena_isa.gp<gp2>) lo(%2 : !plena_isa.gp<gp3>)
  plena_isa.c_set_scale_reg src(%3 : !plena_isa.gp<gp1>)
  plena_isa.c_set_stride_reg src(%3 : !plena_isa.gp<gp1>)
  plena_isa.c_set_v_mask_reg src(%3 : !plena_isa.gp<gp1>)
  plena_isa.c_loop_start counter(%3 : !plena_isa.gp<gp1>) count = 4194303
  plena_isa.c_loop_end counter(%3 : !plena_isa.gp<gp1>)
  plena_isa.c_hadamard_transform dst(%3 : !plena_isa.gp<gp1>) a(%1 : !plena_isa.gp<gp2>) b(%2 : !plena_isa.gp<gp3>)
  plena_isa.c_break
}

// CHECK:      builtin.module {
// CHECK-NEXT:   %0 = plena_isa.register : !plena_isa.a<a1>
// CHECK-NEXT:   %1 = plena_isa.register : !plena_isa.gp<gp2>
// CHECK-NEXT:   %2 = plena_isa.register : !plena_isa.gp<gp3>
// CHECK-NEXT:   %3 = plena_isa.register : !plena_isa.gp<gp1>
// CHECK-NEXT:   plena_isa.c_set_addr_reg dst(%0 : !plena_isa.a<a1>) hi(%1 : !plena_isa.gp<gp2>) lo(%2 : !plena_isa.gp<gp3>)
// CHECK-NEXT:   plena_isa.c_set_scale_reg src(%3 : !plena_isa.gp<gp1>)
// CHECK-NEXT:   plena_isa.c_set_stride_reg src(%3 : !plena_isa.gp<gp1>)
// CHECK-NEXT:   plena_isa.c_set_v_mask_reg src(%3 : !plena_isa.gp<gp1>)
// CHECK-NEXT:   plena_isa.c_loop_start counter(%3 : !plena_isa.gp<gp1>) count = 4194303
// CHECK-NEXT:   plena_isa.c_loop_end counter(%3 : !plena_isa.gp<gp1>)
// CHECK-NEXT:   plena_isa.c_hadamard_transform dst(%3 : !plena_isa.gp<gp1>) a(%1 : !plena_isa.gp<gp2>) b(%2 : !plena_isa.gp<gp3>)
// CHECK-NEXT:   plena_isa.c_break
// CHECK-NEXT: }
