// RUN: plena-opt %s --pass-pipeline 'apply-loop-choices{choices="0 jam 2x1","2 unroll 2","3 expand"}' | filecheck %s
// RUN: plena-opt %s --pass-pipeline 'apply-loop-choices{choices="0 keep flat"}' | filecheck %s --check-prefix FLAT

builtin.module {
  loop.for %i = 0 to 4 {
    loop.for %j = 0 to 3 {
      %x = loop.affine 0 + 192 * %i + 64 * %j
      plena_isa.v_exp_v dst(%x) a(%x)
    }
  }
  loop.for %k = 0 to 5 {
    %y = loop.affine 4096 + 64 * %k
    plena_isa.v_exp_v dst(%y) a(%y)
  }
  loop.for %n = 0 to 2 {
    %z = loop.affine 8192 + 64 * %n
    plena_isa.v_exp_v dst(%z) a(%z)
  }
}

// CHECK:      builtin.module {
// CHECK-NEXT:   loop.for %i = 0 to 2 {
// CHECK-NEXT:     loop.for %j = 0 to 3 {
// CHECK-NEXT:       %{{.*}} = loop.affine 0 + 384 * %i + 64 * %j
// CHECK-NEXT:       plena_isa.v_exp_v
// CHECK-NEXT:       %{{.*}} = loop.affine 192 + 384 * %i + 64 * %j
// CHECK-NEXT:       plena_isa.v_exp_v
// CHECK-NEXT:     }
// CHECK-NEXT:   }
// CHECK-NEXT:   loop.for %k = 0 to 2 {
// CHECK-NEXT:     %{{.*}} = loop.affine 4096 + 128 * %k
// CHECK-NEXT:     plena_isa.v_exp_v
// CHECK-NEXT:     %{{.*}} = loop.affine 4160 + 128 * %k
// CHECK-NEXT:     plena_isa.v_exp_v
// CHECK-NEXT:   }
// CHECK-NEXT:   %{{.*}} = loop.affine 4352
// CHECK-NEXT:   plena_isa.v_exp_v
// CHECK-NEXT:   %{{.*}} = loop.affine 8192
// CHECK-NEXT:   plena_isa.v_exp_v
// CHECK-NEXT:   %{{.*}} = loop.affine 8256
// CHECK-NEXT:   plena_isa.v_exp_v
// CHECK-NEXT: }

// FLAT:         loop.for %i = 0 to 4 {
// FLAT-COUNT-3:   plena_isa.v_exp_v
// FLAT-NEXT:    }
// FLAT:         loop.for %k = 0 to 5 {
