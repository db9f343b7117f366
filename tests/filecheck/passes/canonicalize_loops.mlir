// RUN: plena-opt %s --pass-pipeline canonicalize-loops | filecheck %s

loop.for %i = 0 to 8 {
  %a = loop.affine 0 + 64 * %i
  loop.for %k = 0 to 1 {
    %b = loop.affine 4096 + 1 * %a + 64 * %k
    %c = loop.affine 4096 + 64 * %i
    %unused = loop.affine 7
    plena_isa.v_exp_v dst(%b) a(%c)
  }
  loop.for %empty = 0 to 5 {
    %d = loop.affine 1 + 1 * %empty
  }
}

// CHECK:       builtin.module {
// CHECK-NEXT:    loop.for %i = 0 to 8 {
// CHECK-NEXT:      %0 = loop.affine 4096 + 64 * %i
// CHECK-NEXT:      plena_isa.v_exp_v dst(%0) a(%0)
// CHECK-NEXT:    }
// CHECK-NEXT:  }
