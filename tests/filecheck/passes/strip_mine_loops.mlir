// RUN: plena-opt %s --pass-pipeline "strip-mine-loops{factor=4}" | filecheck %s

loop.for %i = 0 to 11 {
  %row = loop.affine 0 + 64 * %i
  plena_isa.v_exp_v dst(%row) a(%row)
}

// CHECK:         loop.for %i = 0 to 2 {
// CHECK-NEXT:      loop.for %{{.*}} = 0 to 4 {
// CHECK-NEXT:        %{{.*}} = loop.affine 0 + 256 * %i + 64 * %{{.*}}
// CHECK:         loop.for %{{.*}} = 0 to 3 {
// CHECK-NEXT:      %{{.*}} = loop.affine 512 + 64 * %{{.*}}
