// RUN: PLENA_ROUNDTRIP

// The control instructions in affine form, without and with sticky state, immediates and flags.

builtin.module {
  %0 = plena_isa.register : !plena_isa.a
  loop.for %1 = 0 to 4 {
    %2 = loop.affine 192 + 52 * %1
    %3 = loop.affine 256 + 68 * %1
    %4 = loop.affine 128 + 36 * %1
    plena_isa.c_set_addr_reg dst(%0 : !plena_isa.a) hi(%2) lo(%3)
    plena_isa.c_set_addr_reg dst(%0 : !plena_isa.a) hi(%2) lo(%3)
    plena_isa.c_set_scale_reg src(%4)
    plena_isa.c_set_scale_reg src(%4)
    plena_isa.c_set_stride_reg src(%4)
    plena_isa.c_set_stride_reg src(%4)
    plena_isa.c_set_v_mask_reg src(%4)
    plena_isa.c_set_v_mask_reg src(%4)
    plena_isa.c_hadamard_transform dst(%4) a(%2) b(%3)
    plena_isa.c_hadamard_transform dst(%4) a(%2) b(%3)
    plena_isa.c_break
    plena_isa.c_break
  }
}

// CHECK:      builtin.module {
// CHECK-NEXT:   %0 = plena_isa.register : !plena_isa.a
// CHECK-NEXT:   loop.for %1 = 0 to 4 {
// CHECK-NEXT:     %2 = loop.affine 192 + 52 * %1
// CHECK-NEXT:     %3 = loop.affine 256 + 68 * %1
// CHECK-NEXT:     %4 = loop.affine 128 + 36 * %1
// CHECK-NEXT:     plena_isa.c_set_addr_reg dst(%0 : !plena_isa.a) hi(%2) lo(%3)
// CHECK-NEXT:     plena_isa.c_set_addr_reg dst(%0 : !plena_isa.a) hi(%2) lo(%3)
// CHECK-NEXT:     plena_isa.c_set_scale_reg src(%4)
// CHECK-NEXT:     plena_isa.c_set_scale_reg src(%4)
// CHECK-NEXT:     plena_isa.c_set_stride_reg src(%4)
// CHECK-NEXT:     plena_isa.c_set_stride_reg src(%4)
// CHECK-NEXT:     plena_isa.c_set_v_mask_reg src(%4)
// CHECK-NEXT:     plena_isa.c_set_v_mask_reg src(%4)
// CHECK-NEXT:     plena_isa.c_hadamard_transform dst(%4) a(%2) b(%3)
// CHECK-NEXT:     plena_isa.c_hadamard_transform dst(%4) a(%2) b(%3)
// CHECK-NEXT:     plena_isa.c_break
// CHECK-NEXT:     plena_isa.c_break
// CHECK-NEXT:   }
// CHECK-NEXT: }
