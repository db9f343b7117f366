// RUN: plena-opt %s --pass-pipeline "schedule-transfers{timing=rtl-v1}" | filecheck %s

// The loads go beside the rows before the loop: those of the first three iterations into tiles that nothing else uses,
// the last one into its own.

%a = plena_isa.register : !plena_isa.a<a0>
loop.for %row = 0 to 64 {
  %x = loop.affine 0 + 64 * %row
  plena_isa.v_exp_v dst(%x) a(%x)
}
loop.for %i = 0 to 4 {
  %tile = loop.affine 4096
  %weights = loop.affine 0 + 4096 * %i
  %scale = loop.affine 16384
  plena_isa.h_prefetch_m dst(%tile) off(%weights) base(%a : !plena_isa.a<a0>) scale(%scale)
  %x = loop.affine 0
  plena_isa.m_btmm mat(%tile) vec(%x)
  %y = loop.affine 8192 + 16384 * %i
  plena_isa.m_bmm_wo dst(%y)
}

// CHECK:       loop.for %{{.*}} = 0 to 3 {
// CHECK-NEXT:    %[[TO:.*]] = loop.affine 8192 + 4096 * %[[I:.*]]
// CHECK-NEXT:    %[[FROM:.*]] = loop.affine 0 + 4096 * %[[I]]
// CHECK:         plena_isa.h_prefetch_m dst(%[[TO]]) off(%[[FROM]])
// CHECK-NEXT:    loop.for
// CHECK:         plena_isa.v_exp_v
// CHECK:       %[[OWN:.*]] = loop.affine 4096
// CHECK:       plena_isa.h_prefetch_m dst(%[[OWN]])
// CHECK:       loop.for %[[J:.*]] = 0 to 3 {
// CHECK:         %[[MAT:.*]] = loop.affine 8192 + 4096 * %[[J]]
// CHECK-NEXT:    plena_isa.m_btmm mat(%[[MAT]])
// CHECK-NOT:   plena_isa.h_prefetch_m
