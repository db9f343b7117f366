// RUN: plena-opt %s --pass-pipeline "unroll-loops{factor=3}" | filecheck %s
// RUN: plena-opt %s --pass-pipeline "unroll-loops{factor=3 tail=true}" | filecheck %s --check-prefix TAIL
// RUN: plena-opt %s --pass-pipeline "unroll-loops{loop=1 full=true}" | filecheck %s --check-prefix INNER

loop.for %i = 0 to 2 {
  loop.for %j = 0 to 5 {
    %row = loop.affine 0 + 512 * %i + 64 * %j
    plena_isa.v_exp_v dst(%row) a(%row)
  }
}

// One outer trip over three and two inner iterations, twice.
// CHECK:       builtin.module {
// CHECK-NEXT:    loop.for %i = 0 to 2 {
// CHECK-NEXT:      %0 = loop.affine 0 + 512 * %i
// CHECK-NEXT:      plena_isa.v_exp_v dst(%0) a(%0)
// CHECK-NEXT:      %1 = loop.affine 64 + 512 * %i
// CHECK-NEXT:      plena_isa.v_exp_v dst(%1) a(%1)
// CHECK-NEXT:      %2 = loop.affine 128 + 512 * %i
// CHECK-NEXT:      plena_isa.v_exp_v dst(%2) a(%2)
// CHECK-NEXT:      loop.for %j = 0 to 2 {
// CHECK-NEXT:        %{{.*}} = loop.affine 192 + 512 * %i + 64 * %j

// TAIL-NOT:    loop.for %j
// TAIL:        loop.affine 768

// INNER:       loop.for %i = 0 to 2 {
// INNER-NOT:   loop.for
// INNER:         loop.affine 256 + 512 * %i
