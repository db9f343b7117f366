// RUN: plena-opt %s --pass-pipeline hoist-invariants | filecheck %s

%f = plena_isa.register : !plena_isa.f
%g = plena_isa.register : !plena_isa.f
loop.for %i = 0 to 4 {
  loop.for %j = 0 to 8 {
    %word = loop.affine 3
    plena_isa.s_ld_fp dst(%f : !plena_isa.f) base(%word)
    %pitch = loop.affine 64 + 64 * %i
    plena_isa.c_set_stride_reg src(%pitch)
    %max = loop.affine 0 + 64 * %j
    plena_isa.v_red_max acc(%g : !plena_isa.f) a(%max)
    plena_isa.v_sub_vf dst(%max) a(%max) b(%f : !plena_isa.f)
  }
}

// CHECK:         %word = loop.affine 3
// CHECK-NEXT:    plena_isa.s_ld_fp
// CHECK-NEXT:    loop.for %i = 0 to 4 {
// CHECK-NEXT:      %pitch = loop.affine 64 + 64 * %i
// CHECK-NEXT:      plena_isa.c_set_stride_reg
// CHECK-NEXT:      loop.for %j = 0 to 8 {
// CHECK-NEXT:        loop.affine
// CHECK-NEXT:        plena_isa.v_red_max
// CHECK-NEXT:        plena_isa.v_sub_vf
