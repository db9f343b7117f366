// RUN: PLENA_ROUNDTRIP

// The vector instructions in register form, immediates and flags at their limits.

builtin.module {
  %0 = plena_isa.register : !plena_isa.gp<gp1>
  %1 = plena_isa.register : !plena_isa.gp<gp2>
  %2 = plena_isa.register : !plena_isa.gp<gp3>
  %3 = plena_isa.register : !plena_isa.f<f3>
  %4 = plena_isa.register : !plena_isa.f<f1>
  plena_isa.v_add_vv dst(%0 : !plena_isa.gp<gp1>) a(%1 : !plena_isa.gp<gp2>) b(%2 : !plena_isa.gp<gp3>) mask = 1
  plena_isa.v_add_vf dst(%0 : !plena_isa.gp<gp1>) a(%1 : !plena_isa.gp<gp2>) b(%3 : !plena_isa.f<f3>) mask = 1
  plena_isa.v_sub_vv dst(%0 : !plena_isa.gp<gp1>) a(%1 : !plena_isa.gp<gp2>) b(%2 : !plena_isa.gp<gp3>) mask = 1
  plena_isa.v_sub_vf dst(%0 : !plena_isa.gp<gp1>) a(%1 : !plena_isa.gp<gp2>) b(%3 : !plena_isa.f<f3>) mask = 1 order = 1
  plena_isa.v_mul_vv dst(%0 : !plena_isa.gp<gp1>) a(%1 : !plena_isa.gp<gp2>) b(%2 : !plena_isa.gp<gp3>) mask = 1
  plena_isa.v_mul_vf dst(%0 : !plena_isa.gp<gp1>) a(%1 : !plena_isa.gp<gp2>) b(%3 : !plena_isa.f<f3>) mask = 1
  plena_isa.v_exp_v dst(%0 : !plena_isa.gp<gp1>) a(%1 : !plena_isa.gp<gp2>) mask = 1
  plena_isa.v_reci_v dst(%0 : !plena_isa.gp<gp1>) a(%1 : !plena_isa.gp<gp2>) mask = 1
  plena_isa.v_red_sum acc(%4 : !plena_isa.f<f1>) a(%1 : !plena_isa.gp<gp2>) mask = 1
  plena_isa.v_red_max acc(%4 : !plena_isa.f<f1>) a(%1 : !plena_isa.gp<gp2>) mask = 1
  plena_isa.v_ps_v dst(%0 : !plena_isa.gp<gp1>) a(%1 : !plena_isa.gp<gp2>) b(%2 : !plena_isa.gp<gp3>)
  plena_isa.v_shft_v dst(%0 : !plena_isa.gp<gp1>) a(%1 : !plena_isa.gp<gp2>) amount(%2 : !plena_isa.gp<gp3>)
  plena_isa.v_max_vf dst(%0 : !plena_isa.gp<gp1>) a(%1 : !plena_isa.gp<gp2>) b(%3 : !plena_isa.f<f3>) mask = 1
  plena_isa.v_min_vf dst(%0 : !plena_isa.gp<gp1>) a(%1 : !plena_isa.gp<gp2>) b(%3 : !plena_isa.f<f3>) mask = 1
  plena_isa.v_topk fp_base(%0 : !plena_isa.gp<gp1>) logits(%1 : !plena_isa.gp<gp2>) int_base(%2 : !plena_isa.gp<gp3>) policy = 1
}

// CHECK:      builtin.module {
// CHECK-NEXT:   %0 = plena_isa.register : !plena_isa.gp<gp1>
// CHECK-NEXT:   %1 = plena_isa.register : !plena_isa.gp<gp2>
// CHECK-NEXT:   %2 = plena_isa.register : !plena_isa.gp<gp3>
// CHECK-NEXT:   %3 = plena_isa.register : !plena_isa.f<f3>
// CHECK-NEXT:   %4 = plena_isa.register : !plena_isa.f<f1>
// CHECK-NEXT:   plena_isa.v_add_vv dst(%0 : !plena_isa.gp<gp1>) a(%1 : !plena_isa.gp<gp2>) b(%2 : !plena_isa.gp<gp3>) mask = 1
// CHECK-NEXT:   plena_isa.v_add_vf dst(%0 : !plena_isa.gp<gp1>) a(%1 : !plena_isa.gp<gp2>) b(%3 : !plena_isa.f<f3>) mask = 1
// CHECK-NEXT:   plena_isa.v_sub_vv dst(%0 : !plena_isa.gp<gp1>) a(%1 : !plena_isa.gp<gp2>) b(%2 : !plena_isa.gp<gp3>) mask = 1
// CHECK-NEXT:   plena_isa.v_sub_vf dst(%0 : !plena_isa.gp<gp1>) a(%1 : !plena_isa.gp<gp2>) b(%3 : !plena_isa.f<f3>) mask = 1 order = 1
// CHECK-NEXT:   plena_isa.v_mul_vv dst(%0 : !plena_isa.gp<gp1>) a(%1 : !plena_isa.gp<gp2>) b(%2 : !plena_isa.gp<gp3>) mask = 1
// CHECK-NEXT:   plena_isa.v_mul_vf dst(%0 : !plena_isa.gp<gp1>) a(%1 : !plena_isa.gp<gp2>) b(%3 : !plena_isa.f<f3>) mask = 1
// CHECK-NEXT:   plena_isa.v_exp_v dst(%0 : !plena_isa.gp<gp1>) a(%1 : !plena_isa.gp<gp2>) mask = 1
// CHECK-NEXT:   plena_isa.v_reci_v dst(%0 : !plena_isa.gp<gp1>) a(%1 : !plena_isa.gp<gp2>) mask = 1
// CHECK-NEXT:   plena_isa.v_red_sum acc(%4 : !plena_isa.f<f1>) a(%1 : !plena_isa.gp<gp2>) mask = 1
// CHECK-NEXT:   plena_isa.v_red_max acc(%4 : !plena_isa.f<f1>) a(%1 : !plena_isa.gp<gp2>) mask = 1
// CHECK-NEXT:   plena_isa.v_ps_v dst(%0 : !plena_isa.gp<gp1>) a(%1 : !plena_isa.gp<gp2>) b(%2 : !plena_isa.gp<gp3>)
// CHECK-NEXT:   plena_isa.v_shft_v dst(%0 : !plena_isa.gp<gp1>) a(%1 : !plena_isa.gp<gp2>) amount(%2 : !plena_isa.gp<gp3>)
// CHECK-NEXT:   plena_isa.v_max_vf dst(%0 : !plena_isa.gp<gp1>) a(%1 : !plena_isa.gp<gp2>) b(%3 : !plena_isa.f<f3>) mask = 1
// CHECK-NEXT:   plena_isa.v_min_vf dst(%0 : !plena_isa.gp<gp1>) a(%1 : !plena_isa.gp<gp2>) b(%3 : !plena_isa.f<f3>) mask = 1
// CHECK-NEXT:   plena_isa.v_topk fp_base(%0 : !plena_isa.gp<gp1>) logits(%1 : !plena_isa.gp<gp2>) int_base(%2 : !plena_isa.gp<gp3>) policy = 1
// CHECK-NEXT: }
