// RUN: PLENA_ROUNDTRIP

// The vector instructions in affine form, without and with sticky state, immediates and flags.

builtin.module {
  %0 = plena_isa.register : !plena_isa.f
  %1 = plena_isa.register : !plena_isa.f
  loop.for %2 = 0 to 4 {
    %3 = loop.affine 128 + 36 * %2
    %4 = loop.affine 192 + 52 * %2
    %5 = loop.affine 256 + 68 * %2
    %6 = loop.affine 320 + 84 * %2
    plena_isa.v_add_vv dst(%3) a(%4) b(%5)
    plena_isa.v_add_vv dst(%3) a(%4) b(%5) v_mask(%6) mask = 1
    plena_isa.v_add_vf dst(%3) a(%4) b(%0 : !plena_isa.f)
    plena_isa.v_add_vf dst(%3) a(%4) b(%0 : !plena_isa.f) v_mask(%6) mask = 1
    plena_isa.v_sub_vv dst(%3) a(%4) b(%5)
    plena_isa.v_sub_vv dst(%3) a(%4) b(%5) v_mask(%6) mask = 1
    plena_isa.v_sub_vf dst(%3) a(%4) b(%0 : !plena_isa.f)
    plena_isa.v_sub_vf dst(%3) a(%4) b(%0 : !plena_isa.f) v_mask(%6) mask = 1 order = 1
    plena_isa.v_mul_vv dst(%3) a(%4) b(%5)
    plena_isa.v_mul_vv dst(%3) a(%4) b(%5) v_mask(%6) mask = 1
    plena_isa.v_mul_vf dst(%3) a(%4) b(%0 : !plena_isa.f)
    plena_isa.v_mul_vf dst(%3) a(%4) b(%0 : !plena_isa.f) v_mask(%6) mask = 1
    plena_isa.v_exp_v dst(%3) a(%4)
    plena_isa.v_exp_v dst(%3) a(%4) v_mask(%5) mask = 1
    plena_isa.v_reci_v dst(%3) a(%4)
    plena_isa.v_reci_v dst(%3) a(%4) v_mask(%5) mask = 1
    plena_isa.v_red_sum acc(%1 : !plena_isa.f) a(%4)
    plena_isa.v_red_sum acc(%1 : !plena_isa.f) a(%4) v_mask(%5) mask = 1
    plena_isa.v_red_max acc(%1 : !plena_isa.f) a(%4)
    plena_isa.v_red_max acc(%1 : !plena_isa.f) a(%4) v_mask(%5) mask = 1
    plena_isa.v_ps_v dst(%3) a(%4) b(%5)
    plena_isa.v_ps_v dst(%3) a(%4) b(%5)
    plena_isa.v_shft_v dst(%3) a(%4) amount(%5)
    plena_isa.v_shft_v dst(%3) a(%4) amount(%5)
    plena_isa.v_max_vf dst(%3) a(%4) b(%0 : !plena_isa.f)
    plena_isa.v_max_vf dst(%3) a(%4) b(%0 : !plena_isa.f) v_mask(%6) mask = 1
    plena_isa.v_min_vf dst(%3) a(%4) b(%0 : !plena_isa.f)
    plena_isa.v_min_vf dst(%3) a(%4) b(%0 : !plena_isa.f) v_mask(%6) mask = 1
    plena_isa.v_topk fp_base(%3) logits(%4) int_base(%5)
    plena_isa.v_topk fp_base(%3) logits(%4) int_base(%5) policy = 1
  }
}

// CHECK:      builtin.module {
// CHECK-NEXT:   %0 = plena_isa.register : !plena_isa.f
// CHECK-NEXT:   %1 = plena_isa.register : !plena_isa.f
// CHECK-NEXT:   loop.for %2 = 0 to 4 {
// CHECK-NEXT:     %3 = loop.affine 128 + 36 * %2
// CHECK-NEXT:     %4 = loop.affine 192 + 52 * %2
// CHECK-NEXT:     %5 = loop.affine 256 + 68 * %2
// CHECK-NEXT:     %6 = loop.affine 320 + 84 * %2
// CHECK-NEXT:     plena_isa.v_add_vv dst(%3) a(%4) b(%5)
// CHECK-NEXT:     plena_isa.v_add_vv dst(%3) a(%4) b(%5) v_mask(%6) mask = 1
// CHECK-NEXT:     plena_isa.v_add_vf dst(%3) a(%4) b(%0 : !plena_isa.f)
// CHECK-NEXT:     plena_isa.v_add_vf dst(%3) a(%4) b(%0 : !plena_isa.f) v_mask(%6) mask = 1
// CHECK-NEXT:     plena_isa.v_sub_vv dst(%3) a(%4) b(%5)
// CHECK-NEXT:     plena_isa.v_sub_vv dst(%3) a(%4) b(%5) v_mask(%6) mask = 1
// CHECK-NEXT:     plena_isa.v_sub_vf dst(%3) a(%4) b(%0 : !plena_isa.f)
// CHECK-NEXT:     plena_isa.v_sub_vf dst(%3) a(%4) b(%0 : !plena_isa.f) v_mask(%6) mask = 1 order = 1
// CHECK-NEXT:     plena_isa.v_mul_vv dst(%3) a(%4) b(%5)
// CHECK-NEXT:     plena_isa.v_mul_vv dst(%3) a(%4) b(%5) v_mask(%6) mask = 1
// CHECK-NEXT:     plena_isa.v_mul_vf dst(%3) a(%4) b(%0 : !plena_isa.f)
// CHECK-NEXT:     plena_isa.v_mul_vf dst(%3) a(%4) b(%0 : !plena_isa.f) v_mask(%6) mask = 1
// CHECK-NEXT:     plena_isa.v_exp_v dst(%3) a(%4)
// CHECK-NEXT:     plena_isa.v_exp_v dst(%3) a(%4) v_mask(%5) mask = 1
// CHECK-NEXT:     plena_isa.v_reci_v dst(%3) a(%4)
// CHECK-NEXT:     plena_isa.v_reci_v dst(%3) a(%4) v_mask(%5) mask = 1
// CHECK-NEXT:     plena_isa.v_red_sum acc(%1 : !plena_isa.f) a(%4)
// CHECK-NEXT:     plena_isa.v_red_sum acc(%1 : !plena_isa.f) a(%4) v_mask(%5) mask = 1
// CHECK-NEXT:     plena_isa.v_red_max acc(%1 : !plena_isa.f) a(%4)
// CHECK-NEXT:     plena_isa.v_red_max acc(%1 : !plena_isa.f) a(%4) v_mask(%5) mask = 1
// CHECK-NEXT:     plena_isa.v_ps_v dst(%3) a(%4) b(%5)
// CHECK-NEXT:     plena_isa.v_ps_v dst(%3) a(%4) b(%5)
// CHECK-NEXT:     plena_isa.v_shft_v dst(%3) a(%4) amount(%5)
// CHECK-NEXT:     plena_isa.v_shft_v dst(%3) a(%4) amount(%5)
// CHECK-NEXT:     plena_isa.v_max_vf dst(%3) a(%4) b(%0 : !plena_isa.f)
// CHECK-NEXT:     plena_isa.v_max_vf dst(%3) a(%4) b(%0 : !plena_isa.f) v_mask(%6) mask = 1
// CHECK-NEXT:     plena_isa.v_min_vf dst(%3) a(%4) b(%0 : !plena_isa.f)
// CHECK-NEXT:     plena_isa.v_min_vf dst(%3) a(%4) b(%0 : !plena_isa.f) v_mask(%6) mask = 1
// CHECK-NEXT:     plena_isa.v_topk fp_base(%3) logits(%4) int_base(%5)
// CHECK-NEXT:     plena_isa.v_topk fp_base(%3) logits(%4) int_base(%5) policy = 1
// CHECK-NEXT:   }
// CHECK-NEXT: }
