// RUN: plena-opt %s -p "limit-loop-depth{depth=1}" | filecheck %s

// The outer loop stays, whatever is in it is expanded; loops side by side are no deeper.
builtin.module {
  loop.for %i = 0 to 4 {
    %y = loop.affine 0 + 128 * %i
    plena_isa.v_reci_v dst(%y) a(%y)
    loop.for %k = 0 to 2 {
      %x = loop.affine 0 + 128 * %i + 64 * %k
      plena_isa.v_exp_v dst(%x) a(%x)
    }
  }
  loop.for %i = 0 to 3 {
    %x = loop.affine 0 + 64 * %i
    plena_isa.v_exp_v dst(%x) a(%x)
  }
}
// CHECK:      loop.for %i = 0 to 4
// CHECK:        plena_isa.v_reci_v
// CHECK:        loop.affine 0 + 128 * %i
// CHECK-NEXT:   plena_isa.v_exp_v
// CHECK:        loop.affine 64 + 128 * %i
// CHECK-NEXT:   plena_isa.v_exp_v
// CHECK-NEXT: }
// CHECK-NEXT: loop.for %i{{.*}} = 0 to 3
// CHECK-NOT:  loop.for
