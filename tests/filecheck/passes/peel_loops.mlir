// RUN: plena-opt %s --pass-pipeline "peel-loops{first=1 last=2}" | filecheck %s

loop.for %i = 0 to 8 {
  %row = loop.affine 0 + 64 * %i
  plena_isa.v_exp_v dst(%row) a(%row)
}

// CHECK:         loop.affine 0
// CHECK:         loop.for %i = 0 to 5 {
// CHECK-NEXT:      %{{.*}} = loop.affine 64 + 64 * %i
// CHECK:         }
// CHECK-NEXT:    %{{.*}} = loop.affine 384
// CHECK:         %{{.*}} = loop.affine 448
